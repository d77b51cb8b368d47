//! Counters that admit or deny.
//!
//! What is counted how is in [`Quota`]; the arithmetic, which is pure, has a file for each algorithm.

mod counter;
mod decide;
mod fixed;
mod limit;
mod log;
mod quota;

use std::{future::Future, sync::Arc, time::Duration};

pub(crate) use self::decide::{States, decide, refund};
pub use self::{
    limit::Limit,
    quota::{Algorithm, Quota},
};
use super::{BackendError, BackendErrorKind, Result};
use crate::{clock::Timestamp, key::Key};

/// Counts costs against limits, all of them or none.
///
/// # Contract
///
/// * Limits with the same name, algorithm and window share a counter under one subject; others never do.
///   The limit's size is not part of it: lowering a limit forgives nothing, raising it acts at once.
/// * A denied or cost-free call writes nothing.
/// * No limit admits more than [`Algorithm`] says, whatever runs concurrently.
/// * [`LimitState::retry`] is sufficient and minimal: nobody else coming, the same call is admitted after that
///   wait and not before. It is [`Retry::Never`] only if the cost is above the limit.
/// * State that lies ahead of the clock by more than a window counts as empty, as long as it does: a
///   clock that stepped back by more locks nobody out. One that stepped back by less than a window
///   makes waits longer by as much.
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

    /// Forgets what was taken from these limits of a subject.
    fn reset(&self, subject: &Key, limits: &[Limit]) -> impl Future<Output = Result<()>> + Send;
}

/// A request to take a cost from some limits of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acquire {
    /// Whose limits they are.
    pub subject: Key,
    /// What to take from, at most [`Acquire::MAX_LIMITS`].
    pub limits: Arc<[Limit]>,
    /// How much; zero only looks.
    pub cost: u64,
    /// What to do if not all of it fits.
    pub take: Take,
}

impl Acquire {
    /// The most limits that one call decides.
    pub const MAX_LIMITS: usize = 8;

    /// Whether a backend can decide this: each counter once, and not too many of them.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](super::BackendErrorKind::InvalidInput).
    pub fn check(&self) -> Result<()> {
        check(&self.limits)
    }

    /// Takes a cost of one, all or nothing.
    pub fn new(subject: Key, limits: impl Into<Arc<[Limit]>>) -> Self {
        Self {
            subject,
            limits: limits.into(),
            cost: 1,
            take: Take::All,
        }
    }

    /// Takes this cost.
    #[must_use]
    pub const fn with_cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// Takes what fits, up to the cost.
    #[must_use]
    pub const fn with_take(mut self, take: Take) -> Self {
        self.take = take;
        self
    }
}

/// What to do if not all of a cost fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// Take nothing.
    #[default]
    All,
    /// Take as much as fits all limits.
    UpTo,
}

/// What a call to [`Quotas::acquire`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the cost was admitted: with [`Take::UpTo`] whether anything was, or nothing was asked.
    pub admitted: bool,
    /// How much was taken from each limit, before its weight.
    pub taken: u64,
    /// The backend's time of the decision.
    pub now: Timestamp,
    /// Where each limit stands afterwards, in the order of the request.
    pub limits: Vec<LimitState>,
}

impl Decision {
    /// The request was admitted and this much taken, after which the limits stand so.
    #[must_use]
    pub const fn admitted(taken: u64, now: Timestamp, limits: Vec<LimitState>) -> Self {
        Self {
            admitted: true,
            taken,
            now,
            limits,
        }
    }

    /// The request was denied and nothing taken; the limits stand so.
    #[must_use]
    pub const fn denied(now: Timestamp, limits: Vec<LimitState>) -> Self {
        Self {
            admitted: false,
            taken: 0,
            now,
            limits,
        }
    }

    /// How long to wait until all limits admit the cost: the longest wait of any.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.limits
            .iter()
            .map(|limit| limit.retry)
            .max()
            .unwrap_or(Retry::Now)
    }

    /// What to hand to [`Quotas::refund`] to give back what was taken.
    #[must_use]
    pub fn receipt(&self, request: &Acquire) -> Receipt {
        Receipt {
            subject: request.subject.clone(),
            limits: Arc::clone(&request.limits),
            taken: self.taken,
            marks: self.limits.iter().map(|limit| limit.mark).collect(),
        }
    }
}

/// Where one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitState {
    /// How many calls of cost one it would admit now, were it alone.
    pub remaining: u64,
    /// How long to wait until it admits the cost that was asked for; [`Retry::Now`] if it did.
    pub retry: Retry,
    /// How long until `remaining` grows by one; `None` if nothing is taken.
    pub reset: Option<Duration>,
    /// Which window or moment the cost was written to, for [`Receipt`]; its meaning is the algorithm's.
    pub mark: u64,
}

impl LimitState {
    /// A limit's state.
    #[must_use]
    pub const fn new(remaining: u64, retry: Retry, reset: Option<Duration>, mark: u64) -> Self {
        Self {
            remaining,
            retry,
            reset,
            mark,
        }
    }
}

/// How long to wait until a cost is admitted; a longer wait is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// It is, or was, admitted.
    Now,
    /// It will be after this long, if nobody else comes.
    After(Duration),
    /// It never will be: the cost is above the limit.
    Never,
}

/// What a decision took, to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Whose limits they are.
    pub subject: Key,
    /// What it was taken from.
    pub limits: Arc<[Limit]>,
    /// How much was taken from each, before its weight.
    pub taken: u64,
    /// [`LimitState::mark`] of each.
    pub marks: Vec<u64>,
}

fn check(limits: &[Limit]) -> Result<()> {
    let refused = |why: String| Err(BackendError::new(BackendErrorKind::InvalidInput, why));
    if limits.len() > Acquire::MAX_LIMITS {
        return refused(format!(
            "take from {} limits in one call; at most {} are decided together",
            limits.len(),
            Acquire::MAX_LIMITS
        ));
    }
    let earlier = |index| limits.iter().take(index);
    let repeats = |(index, limit): (usize, &Limit)| {
        earlier(index).any(|other| other.shares_counter_with(limit))
    };
    if limits.iter().enumerate().any(repeats) {
        return refused("take twice from one counter; give each limit a name of its own".into());
    }
    Ok(())
}
