//! Why nobody knows whether a key is free.

use crate::{
    backend::{BackendError, BackendErrorKind},
    idempotency::protocol::Unreadable,
};

/// Why a claim was neither granted nor refused.
#[derive(Clone, Debug)]
pub(in crate::idempotency) enum ClaimError {
    /// The backend does not answer, or the operating system gives no random numbers.
    Unavailable(BackendError),
    /// What is stored cannot be read here, and will not be.
    Corrupt,
    /// What is stored was written by a newer version, which may be running elsewhere.
    NewerFormat,
}

impl From<BackendError> for ClaimError {
    fn from(error: BackendError) -> Self {
        match error.kind() {
            BackendErrorKind::Corrupt => Self::Corrupt,
            _ => Self::Unavailable(error),
        }
    }
}

impl From<Unreadable> for ClaimError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Format => Self::NewerFormat,
            Unreadable::Corrupt => Self::Corrupt,
        }
    }
}
