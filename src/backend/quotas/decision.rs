//! What quotas answer.

use std::{sync::Arc, time::Duration};

use super::{Acquire, Limit};
use crate::{clock::Timestamp, key::Key};

/// What a call to [`Quotas::acquire`](super::Quotas::acquire) decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the cost was admitted: with [`Take::UpTo`](super::Take::UpTo) whether anything
    /// was, or nothing was asked.
    pub admitted: bool,
    /// How much was taken from each limit, before its weight.
    pub taken: u64,
    /// The backend's time of the decision.
    pub now: Timestamp,
    /// Where each limit stands afterwards, in the order of the request.
    pub limits: Vec<LimitState>,
    /// How much longer the subject is banned, whatever its limits say; `None` if it is not.
    pub banned: Option<Duration>,
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
            banned: None,
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
            banned: None,
        }
    }

    /// The subject is banned for this much longer, if it is.
    #[must_use]
    pub const fn with_banned(mut self, left: Option<Duration>) -> Self {
        self.banned = left;
        self
    }

    /// How long to wait until the cost is admitted: the longest wait of any limit, and a ban's
    /// rest, also where nothing was asked for.
    #[must_use]
    pub fn retry(&self) -> Retry {
        let limits = self.limits.iter().map(|limit| limit.retry);
        let ban = self.banned.map(Retry::After);
        limits.chain(ban).max().unwrap_or(Retry::Now)
    }

    /// The same, with what is left of its waits after this time.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn told_later(mut self, passed: Duration) -> Self {
        self.now = self.now + passed;
        self.banned = self.banned.map(|left| left.saturating_sub(passed));
        for state in &mut self.limits {
            if let Retry::After(wait) = state.retry {
                let left = wait.saturating_sub(passed);
                state.retry = if left.is_zero() {
                    Retry::Now
                } else {
                    Retry::After(left)
                };
            }
            state.reset = state.reset.map(|reset| reset.saturating_sub(passed));
        }
        self
    }

    /// What to hand to [`Quotas::refund`](super::Quotas::refund) to give back what was taken.
    #[must_use]
    pub fn receipt(&self, request: &Acquire) -> Receipt {
        Receipt {
            subject: request.subject.clone(),
            limits: self.applied(&request.limits),
            taken: self.taken,
            marks: self.limits.iter().map(|limit| limit.mark).collect(),
        }
    }

    /// The limits of a request, with the sizes that were applied.
    fn applied(&self, limits: &Arc<[Limit]>) -> Arc<[Limit]> {
        let pairs = || limits.iter().zip(&self.limits);
        if pairs().all(|(limit, state)| limit.quota().limit() == state.limit) {
            return Arc::clone(limits);
        }
        pairs()
            .map(|(limit, state)| limit.resized(state.limit))
            .collect()
    }
}

/// Where one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitState {
    /// The limit's size that was applied, in units: the request's, unless this
    /// subject has another one.
    pub limit: u64,
    /// How many calls of cost one it would admit now, were it alone.
    pub remaining: u64,
    /// How long to wait until it admits the cost that was asked for; [`Retry::Now`] if it did.
    pub retry: Retry,
    /// How long until `remaining` grows by one; `None` if nothing is taken.
    pub reset: Option<Duration>,
    /// Which window or moment the cost was written to, for [`Receipt`]; its
    /// meaning is the algorithm's.
    pub mark: u64,
}

impl LimitState {
    /// A limit's state.
    #[must_use]
    pub const fn new(
        limit: u64,
        remaining: u64,
        retry: Retry,
        reset: Option<Duration>,
        mark: u64,
    ) -> Self {
        Self {
            limit,
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
    /// What it was taken from, in the sizes that were applied.
    pub limits: Arc<[Limit]>,
    /// How much was taken from each, before its weight.
    pub taken: u64,
    /// [`LimitState::mark`] of each.
    pub marks: Vec<u64>,
}
