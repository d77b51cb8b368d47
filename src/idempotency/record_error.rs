//! Why what is recorded under a key could not be read or changed.

use std::{error::Error, fmt, sync::Arc};

use super::protocol::Unreadable;
use crate::backend::BackendError;

/// What is recorded under a key could not be read or changed.
///
/// The message says what was attempted. It never contains a key, an answer or anything that a
/// client sent.
#[derive(Clone)]
pub struct RecordError {
    kind: RecordErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why what is recorded under a key could not be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordErrorKind {
    /// The backend does not answer, and nothing was changed.
    Unavailable,
    /// Something is stored that this version of the crate cannot read: it is newer, or damaged.
    Unreadable,
    /// The change may have been made and may not; look at the record again.
    Indeterminate,
    /// The handler may be running: its lease is not over.
    Running,
    /// What became of the request is known, or the next request with the key may run it again, so
    /// there is nothing to settle.
    NotUnknown,
    /// The answer has more or longer headers than can be stored.
    TooLarge,
    /// The operating system gave no random numbers.
    NoRandomness,
}

impl RecordError {
    /// The backend did not say whether it was changed.
    pub(super) fn indeterminate(source: BackendError) -> Self {
        Self {
            kind: RecordErrorKind::Indeterminate,
            source: Some(Arc::new(source)),
        }
    }

    /// Why it could not be done.
    #[must_use]
    pub fn kind(&self) -> RecordErrorKind {
        self.kind
    }
}

impl From<RecordErrorKind> for RecordError {
    fn from(kind: RecordErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<BackendError> for RecordError {
    fn from(source: BackendError) -> Self {
        Self {
            kind: if source.is_outage() {
                RecordErrorKind::Unavailable
            } else {
                RecordErrorKind::Unreadable
            },
            source: Some(Arc::new(source)),
        }
    }
}

impl From<Unreadable> for RecordError {
    fn from(_: Unreadable) -> Self {
        RecordErrorKind::Unreadable.into()
    }
}

impl From<getrandom::Error> for RecordError {
    fn from(source: getrandom::Error) -> Self {
        Self {
            kind: RecordErrorKind::NoRandomness,
            source: Some(Arc::new(source)),
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RecordErrorKind::Unavailable => "could not reach what is recorded under keys",
            RecordErrorKind::Unreadable => {
                "could not read what is recorded under a key: it is damaged, or of a newer version"
            }
            RecordErrorKind::Indeterminate => {
                "could not find out whether what is recorded under a key was changed"
            }
            RecordErrorKind::Running => {
                "could not change what is recorded under a key: its handler may be running"
            }
            RecordErrorKind::NotUnknown => {
                "could not settle a key: only one of which nobody knows what became can be settled"
            }
            RecordErrorKind::TooLarge => {
                "could not settle a key: the answer has more or longer headers than can be stored"
            }
            RecordErrorKind::NoRandomness => "could not settle a key: there are no random numbers",
        })
    }
}

/// Shows the cause as well, because `fn main() -> Result<(), Box<dyn Error>>` prints this form.
impl fmt::Debug for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
