//! Why a session could not be used.

use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

use super::record::Unreadable;
use crate::{backend::BackendError, respond::GrpcCode};

/// A session that could not be read or changed.
///
/// The message says what was attempted. It never contains a token, a value or anything that a
/// client sent. With the feature `axum` it is a response of its own, so that a handler can use `?`.
#[derive(Clone)]
pub struct SessionError {
    kind: SessionErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why a session could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionErrorKind {
    /// The backend does not answer. Nothing is known of the session, so nothing may be done as if
    /// there were none.
    Unavailable,
    /// Something is stored that this version of the crate cannot read: it is newer, or damaged.
    Unreadable,
    /// The write may have happened and may not.
    Indeterminate,
    /// Too many others wrote the session at the same time.
    Contended,
    /// The session ended, or its secret was replaced, before this request could write.
    Ended,
    /// A value that is not what the caller wants it to be, or that is no JSON.
    Json,
    /// A name that is not 1 to 64 bytes, or begins with `~`.
    InvalidName,
    /// A user that is not 1 to 256 bytes.
    InvalidUser,
    /// Text that is no [`SessionId`](super::SessionId).
    InvalidId,
    /// More than 64 attributes, or more than 62 KiB of them.
    TooLarge,
    /// The route's rule is [read-only](super::SessionRule::with_read_only).
    ReadOnly,
    /// There is no session, and the route's rule [sends no
    /// cookie](super::SessionRule::without_cookie) that could begin one.
    NoCookie,
    /// The response has left: what is written now would be lost.
    Sealed,
    /// The layer keeps no index of users; see
    /// [`with_users`](super::SessionLayer::with_users).
    NoUsers,
    /// The operating system gave no random numbers.
    NoRandomness,
}

impl SessionError {
    pub(super) const fn new(kind: SessionErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The error's text may show what is stored; where the mistake is says enough.
    pub(super) fn json(error: &serde_json::Error) -> Self {
        let place = format!("line {}, column {}", error.line(), error.column());
        let source: Box<dyn Error + Send + Sync> = place.into();
        Self {
            kind: SessionErrorKind::Json,
            source: Some(source.into()),
        }
    }

    /// The backend did not answer a write, however often it was sent.
    pub(super) fn indeterminate(source: BackendError) -> Self {
        Self {
            kind: SessionErrorKind::Indeterminate,
            source: Some(Arc::new(source)),
        }
    }

    /// Why it could not be done.
    #[must_use]
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }

    /// The HTTP status that says it best.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            SessionErrorKind::Unavailable
            | SessionErrorKind::Indeterminate
            | SessionErrorKind::Contended
            | SessionErrorKind::Unreadable => StatusCode::SERVICE_UNAVAILABLE,
            SessionErrorKind::Ended => StatusCode::UNAUTHORIZED,
            SessionErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            SessionErrorKind::InvalidUser | SessionErrorKind::InvalidId => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC status that says it best.
    #[must_use]
    pub fn grpc_code(&self) -> GrpcCode {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => GrpcCode::UNAVAILABLE,
            StatusCode::UNAUTHORIZED => GrpcCode::UNAUTHENTICATED,
            StatusCode::PAYLOAD_TOO_LARGE => GrpcCode::RESOURCE_EXHAUSTED,
            StatusCode::UNPROCESSABLE_ENTITY => GrpcCode::INVALID_ARGUMENT,
            _ => GrpcCode::INTERNAL,
        }
    }
}

impl From<SessionErrorKind> for SessionError {
    fn from(kind: SessionErrorKind) -> Self {
        Self::new(kind)
    }
}

impl From<BackendError> for SessionError {
    fn from(source: BackendError) -> Self {
        Self {
            kind: SessionErrorKind::Unavailable,
            source: Some(Arc::new(source)),
        }
    }
}

impl From<Unreadable> for SessionError {
    fn from(_: Unreadable) -> Self {
        Self::new(SessionErrorKind::Unreadable)
    }
}

impl From<getrandom::Error> for SessionError {
    fn from(source: getrandom::Error) -> Self {
        Self {
            kind: SessionErrorKind::NoRandomness,
            source: Some(Arc::new(source)),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SessionErrorKind::Unavailable => "could not reach the sessions",
            SessionErrorKind::Unreadable => {
                "could not read a session: it is damaged, or of a newer version"
            }
            SessionErrorKind::Indeterminate => "could not find out whether a session was written",
            SessionErrorKind::Contended => {
                "could not write a session: too many others wrote it at the same time"
            }
            SessionErrorKind::Ended => "could not use a session: it has ended",
            SessionErrorKind::Json => "could not turn a session's value from or into JSON",
            SessionErrorKind::InvalidName => {
                "could not use a name: an attribute's has 1 to 64 bytes and begins with no ~"
            }
            SessionErrorKind::InvalidId => "could not read the id of a session",
            SessionErrorKind::InvalidUser => "could not use a user: it has 1 to 256 bytes",
            SessionErrorKind::TooLarge => {
                "could not add to a session: it may have 64 attributes of 62 KiB in all"
            }
            SessionErrorKind::ReadOnly => "could not write a session: its route is read-only",
            SessionErrorKind::NoCookie => {
                "could not begin a session: its route sends no session cookie"
            }
            SessionErrorKind::Sealed => {
                "could not use a session: the response has left, so nothing can change any more"
            }
            SessionErrorKind::NoUsers => {
                "could not look up a user: give the layer an index with with_users(..)"
            }
            SessionErrorKind::NoRandomness => "could not make a secret",
        })
    }
}

/// Shows the cause as well, because `fn main() -> Result<(), Box<dyn Error>>` prints this form.
impl fmt::Debug for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
