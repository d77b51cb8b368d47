//! Bans and sizes of one subject: what holds from one moment to another.
//!
//! Times are milliseconds on the backend's clock. `acquire/strikes.lua` and `acquire/size.lua` do
//! the same.

use std::time::Duration;

use super::{Algorithm, Quota, Strikes, bounds::millis};

/// The time from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    start: u64,
    end: u64,
}

impl Term {
    /// From now on, for this long, rounded up to milliseconds.
    pub(super) fn lasting(now: u64, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        Self {
            start: now,
            end: now.saturating_add(millis),
        }
    }

    /// How much of it is left, if it holds now.
    ///
    /// It does if it lies ahead by at most its own length, because the clock stepped back; not
    /// beyond that, so that nobody is locked out for the whole step.
    pub(super) fn left(self, now: u64) -> Option<u64> {
        let near = self.start <= now.saturating_add(self.end - self.start);
        self.end.checked_sub(now).filter(|left| *left > 0 && near)
    }

    pub(super) fn end(self) -> u64 {
        self.end
    }
}

/// The strikes of a subject, or its ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Struck {
    /// Denials since the term began, in which they count.
    Denied { times: u32, counting: Term },
    /// It is banned.
    Banned(Term),
}

impl Struck {
    /// A ban from now on, for this long.
    pub(super) fn banned(now: u64, lasting: Duration) -> Self {
        Self::Banned(Term::lasting(now, lasting))
    }

    /// How much of a ban is left.
    pub(super) fn ban_left(self, now: u64) -> Option<u64> {
        match self {
            Self::Banned(term) => term.left(now),
            Self::Denied { .. } => None,
        }
    }

    /// What one more denial makes of this.
    pub(super) fn strike(this: Option<Self>, strikes: &Strikes, now: u64) -> Self {
        let (times, counting) = match this {
            Some(Self::Denied { times, counting }) if counting.left(now).is_some() => {
                (times.saturating_add(1), counting)
            }
            _ => (1, Term::lasting(now, strikes.within())),
        };
        if times >= strikes.after() {
            return Self::banned(now, strikes.lasting());
        }
        Self::Denied { times, counting }
    }

    pub(super) fn end(self) -> u64 {
        match self {
            Self::Denied { counting: term, .. } | Self::Banned(term) => term.end(),
        }
    }
}

/// The size that a limit has for one subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    limit: u64,
    capacity: u64,
    term: Term,
}

impl Size {
    /// The size of this quota, from now on, for this long.
    pub(super) fn of(quota: &Quota, now: u64, lasting: Duration) -> Self {
        Self {
            limit: quota.limit(),
            capacity: quota.capacity(),
            term: Term::lasting(now, lasting),
        }
    }

    /// A quota in this size, while it has it.
    pub(super) fn apply(self, mut quota: Quota, now: u64) -> Quota {
        if self.term.left(now).is_none() {
            return quota;
        }
        quota.limit = self.limit;
        if let Algorithm::TokenBucket { burst } = &mut quota.algorithm {
            *burst = self.capacity;
        }
        quota
    }

    pub(super) fn end(self) -> u64 {
        self.term.end()
    }
}

/// What makes two rules share strikes: name, and in what time they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrikesId {
    name: u64,
    within: u64,
}

impl StrikesId {
    pub(super) fn of(strikes: &Strikes) -> Self {
        Self {
            name: strikes.id,
            within: millis(strikes.within()),
        }
    }
}
