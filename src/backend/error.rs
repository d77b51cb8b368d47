//! What can go wrong between a layer and its store.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

/// What a call to a backend gives.
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

/// A call to a backend that brought no answer.
///
/// The message says what was attempted. It never contains keys, values or anything a client sent.
/// Cheap to clone, because one call may answer several requests.
#[derive(Clone)]
pub struct BackendError {
    kind: BackendErrorKind,
    attempted: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why a call to a backend brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// The backend was not reached: nothing was applied.
    Unavailable,
    /// No answer came in time. Whether the call was applied is unknown.
    TimedOut,
    /// The connection was lost before the answer came. Whether the call was applied is unknown.
    Disconnected,
    /// The backend refused and applied nothing: it is full, loading, read-only, or has no leader.
    Rejected,
    /// The backend refused and always will, until someone changes its configuration or ours:
    /// a missing permission, a wrong password, keys in different slots.
    Misconfigured,
    /// Something is stored there that cannot be read.
    Corrupt,
    /// The caller asked for something that no backend can do, such as a time to live of zero.
    InvalidInput,
}

impl BackendErrorKind {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] = [
        Self::Unavailable,
        Self::TimedOut,
        Self::Disconnected,
        Self::Rejected,
        Self::Misconfigured,
        Self::Corrupt,
        Self::InvalidInput,
    ];

    /// The kind as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Disconnected => "disconnected",
            Self::Rejected => "rejected",
            Self::Misconfigured => "misconfigured",
            Self::Corrupt => "corrupt",
            Self::InvalidInput => "invalid_input",
        }
    }
}

impl BackendError {
    /// An error of this kind; `attempted` completes "could not …":
    /// `"put a record: no answer in 250 ms"`.
    pub fn new(kind: BackendErrorKind, attempted: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            attempted: attempted.into(),
            source: None,
        }
    }

    /// The same error, caused by this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// Why there is no answer.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// Whether the call may have been applied although no answer came.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        matches!(
            self.kind,
            BackendErrorKind::TimedOut | BackendErrorKind::Disconnected
        )
    }

    /// Whether the backend, rather than this one call, is in trouble.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        !matches!(
            self.kind,
            BackendErrorKind::Corrupt | BackendErrorKind::InvalidInput
        )
    }

    pub(crate) fn zero_ttl() -> Self {
        Self::new(
            BackendErrorKind::InvalidInput,
            "store anything for no time: a time to live must be above zero",
        )
    }

    /// Too many want to write one record.
    #[cfg(any(feature = "cache", feature = "idempotency"))]
    pub(crate) fn contended() -> Self {
        Self::new(
            BackendErrorKind::Rejected,
            "put a record: it kept changing under the writer",
        )
    }

    /// What is stored is not what was stored.
    #[cfg(feature = "idempotency")]
    pub(crate) fn unreadable() -> Self {
        Self::new(
            BackendErrorKind::Corrupt,
            "read a record: it is of a format that is not known here",
        )
    }

    pub(crate) fn timed_out(attempted: &'static str, after: Duration) -> Self {
        Self::new(
            BackendErrorKind::TimedOut,
            format!("{attempted}: no answer in {} ms", after.as_millis()),
        )
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.attempted)
    }
}

/// Shows message, kind and cause, because
/// `fn main() -> Result<(), Box<dyn Error>>` prints this form.
impl fmt::Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.kind.as_str())?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
