//! What is asked of quotas.

use std::sync::Arc;

use super::{Limit, Strikes};
use crate::{
    backend::{BackendError, BackendErrorKind, Result},
    key::Key,
};

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
    /// What becomes of a subject that is denied again and again; `None` if nothing does.
    pub strikes: Option<Strikes>,
    /// Whether the size of each limit may have been changed for this subject alone.
    pub resizable: bool,
}

impl Acquire {
    /// The most limits that one call decides.
    pub const MAX_LIMITS: usize = 8;

    /// Takes a cost of one, all or nothing.
    pub fn new(subject: Key, limits: impl Into<Arc<[Limit]>>) -> Self {
        Self {
            subject,
            limits: limits.into(),
            cost: 1,
            take: Take::All,
            strikes: None,
            resizable: false,
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

    /// Counts denials as strikes, and denies everything while the subject is banned for them.
    #[must_use]
    pub const fn with_strikes(mut self, strikes: Strikes) -> Self {
        self.strikes = Some(strikes);
        self
    }

    /// Applies the sizes that limits were given for this subject alone, where they were.
    #[must_use]
    pub const fn with_resizing(mut self) -> Self {
        self.resizable = true;
        self
    }

    /// Whether a backend can decide this: each counter once, and not too many of them.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](BackendErrorKind::InvalidInput).
    pub fn check(&self) -> Result<()> {
        let refused = |why: String| Err(BackendError::new(BackendErrorKind::InvalidInput, why));
        let limits = &self.limits;
        if limits.len() > Self::MAX_LIMITS {
            return refused(format!(
                "take from {} limits in one call; at most {} are decided together",
                limits.len(),
                Self::MAX_LIMITS
            ));
        }
        let repeats = |(index, limit): (usize, &Limit)| {
            let mut earlier = limits.iter().take(index);
            earlier.any(|other| other.shares_counter_with(limit))
        };
        if limits.iter().enumerate().any(repeats) {
            return refused(
                "take twice from one counter; give each limit a name of its own".into(),
            );
        }
        Ok(())
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
