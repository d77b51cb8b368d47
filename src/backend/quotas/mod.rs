//! Counters that admit or deny.
//!
//! What is counted how is in [`Quota`]; the arithmetic, which is pure, has a
//! file for each algorithm.

mod acquire;
mod amendment;
mod ban;
mod bounds;
mod buckets;
mod counter;
mod decide;
mod decision;
mod fixed;
mod limit;
mod log;
mod quota;
mod state;
mod states;
mod term;
mod token_bucket;

use std::future::Future;

pub use self::{
    acquire::{Acquire, Take},
    amendment::Amendment,
    ban::{Ban, Strikes},
    decision::{Decision, LimitState, Receipt, Retry},
    limit::Limit,
    quota::{Algorithm, DAY, HOUR, MINUTE, Quota, SECOND},
};
pub(crate) use self::{decide::decide, states::States};
use super::Result;
use crate::key::Key;

/// Counts costs against limits, all of them or none.
///
/// # Contract
///
/// * Limits with the same name, algorithm and window share a counter under one subject; others
///   never do. The limit's size is not part of it: lowering a limit forgives nothing, raising it
///   acts at once. A token bucket stays as full as it is, in proportion (to a token, see
///   [`Limit::resized`]), and gains tokens at the new rate at once.
/// * A limit of size 0 ([`Limit::resized`]) admits nothing but calls that cost nothing.
/// * A denied or cost-free call writes nothing, with one exception: where the request has
///   [strikes](Acquire::strikes), a denied call with [`Take::All`] and a cost writes one. As many
///   strikes as its [`Ban`] says, within its time from the first one on, ban the subject; the call
///   that adds the last one is already told so.
/// * While a subject is banned every call that has the strikes and a cost is denied, and writes
///   nothing. [`Decision::banned`] says how much longer, and [`Decision::retry`] is no less. The
///   limits are told as they stand. A call without cost is admitted as ever, and told of the ban.
/// * A size that [`Quotas::amend`] gave a limit for one subject counts as if a
///   [resizable](Acquire::resizable) request named it; it and bans end by their own deadline.
/// * No limit admits more than [`Algorithm`] says, whatever runs concurrently.
/// * [`LimitState::retry`] is sufficient and minimal: nobody else coming, the same call is admitted
///   after that wait and not before. It is [`Retry::Never`] only if the cost is above the limit.
/// * State that lies ahead of the clock by more than a window, or a ban by more than it lasts,
///   counts as empty, as long as it does: a clock that stepped back by more locks nobody out. One
///   that stepped back by less than a window makes waits longer by as much.
/// * A call that names one counter twice, or more than [`Acquire::MAX_LIMITS`] limits, is
///   [`InvalidInput`](super::BackendErrorKind::InvalidInput): see [`Acquire::check`].
///
/// Errors and cancel safety are those of [`KeyValue`](super::KeyValue). A denial is not an error.
pub trait Quotas: Send + Sync + 'static {
    /// Takes a cost from all limits of a subject, or from none of them and says how long to wait.
    fn acquire(&self, request: &Acquire) -> impl Future<Output = Result<Decision>> + Send;

    /// Gives back what a decision took, where it still counts.
    ///
    /// It makes no counter and moves no deadline. Sent twice it may give back twice.
    fn refund(&self, receipt: &Receipt) -> impl Future<Output = Result<()>> + Send;

    /// Whether a call leaves this process. Then layers remember what they were told, to save calls.
    fn is_remote(&self) -> bool;

    /// Forgets what was taken from these limits of a subject.
    ///
    /// Strikes, bans and sizes stay.
    fn reset(&self, subject: &Key, limits: &[Limit]) -> impl Future<Output = Result<()>> + Send;

    /// Bans a subject or gives one of its limits another size, for some time, or ends that.
    ///
    /// Sent twice it begins anew.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](super::BackendErrorKind::InvalidInput) for what
    /// [`Amendment::check`] refuses.
    fn amend(
        &self,
        subject: &Key,
        amendment: &Amendment,
    ) -> impl Future<Output = Result<()>> + Send;
}
