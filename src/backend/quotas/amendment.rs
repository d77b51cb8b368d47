//! What an operator changes for one subject.

use std::time::Duration;

use super::{Limit, Strikes, bounds::MAX_WINDOW};
use crate::backend::{BackendError, BackendErrorKind, Result};

/// A change for one subject alone, which ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amendment {
    /// Bans it from now on for this long, in place of a ban that it may be under.
    ///
    /// It acts on calls that [count strikes](super::Acquire::with_strikes) of the same name.
    Ban {
        /// Whose ban it is.
        strikes: Strikes,
        /// For how long, rounded up to milliseconds; at most 366 days.
        lasting: Duration,
    },
    /// Ends its ban and forgets its strikes.
    Unban {
        /// Whose ban it is.
        strikes: Strikes,
    },
    /// Gives one of its limits another size, as [`Limit::resized`] does, whatever size calls name.
    ///
    /// It acts on calls that [may be resized](super::Acquire::with_resizing).
    Resize {
        /// Which limit, in the size it was constructed with.
        limit: Limit,
        /// Its size for this subject; 0 admits nothing.
        to: u64,
        /// For how long, rounded up to milliseconds; at most 366 days.
        lasting: Duration,
    },
    /// Gives a limit its size back.
    Restore {
        /// Which limit, of whatever size.
        limit: Limit,
    },
}

impl Amendment {
    /// Whether a backend can make it: it lasts for some time, and at most 366 days.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](BackendErrorKind::InvalidInput).
    pub fn check(&self) -> Result<()> {
        let lasting = match self {
            Self::Ban { lasting, .. } | Self::Resize { lasting, .. } => *lasting,
            Self::Unban { .. } | Self::Restore { .. } => return Ok(()),
        };
        if lasting.is_zero() || lasting > MAX_WINDOW {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                "amend a quota: a change lasts for some time, at most 366 days",
            ));
        }
        Ok(())
    }
}
