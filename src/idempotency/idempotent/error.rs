//! Why work came to no result.

use std::{error::Error, fmt, time::Duration};

use crate::idempotency::problem::Problem;

/// Why there is no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// Somebody is at work on it, and nobody may take over before this.
    Busy(Duration),
    /// The key was used for other work.
    Mismatch,
    /// It may have been done, and nobody knows what it came to.
    OutcomeUnknown,
    /// It was done before, and its result was too large to be kept.
    NotKept,
    /// The backend does not answer, what it holds cannot be read here, or no work may begin any more.
    /// Nothing was done now.
    Unavailable,
    /// The work panicked.
    Panicked,
    /// The work failed; the next one with the key tries again, unless the rule says
    /// [`Recovery::Never`](crate::idempotency::Recovery::Never).
    Failed(E),
}

impl<E> From<Problem> for RunError<E> {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::KeyReused => Self::Mismatch,
            Problem::InProgress { left } => Self::Busy(left),
            Problem::OutcomeUnknown => Self::OutcomeUnknown,
            Problem::HandlerPanicked => Self::Panicked,
            _ => Self::Unavailable,
        }
    }
}

impl<E> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(left) => write!(
                f,
                "could not begin: somebody is at work on it, for at least {} ms",
                left.as_millis()
            ),
            Self::Mismatch => f.write_str("could not begin: the key was used for other work"),
            Self::OutcomeUnknown => f.write_str("it is not known whether the work was done"),
            Self::NotKept => {
                f.write_str("the work was done before, and its result was too large to be kept")
            }
            Self::Unavailable => f.write_str(
                "could not begin: the backend does not answer, or no work may begin any more",
            ),
            Self::Panicked => f.write_str("the work panicked"),
            Self::Failed(_) => f.write_str("the work failed"),
        }
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}
