//! Why a purge failed.

use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

use crate::backend::BackendError;

/// A purge that was not done, or of which nobody knows.
///
/// The message says what was attempted. It never contains a tag or a URL. With the feature `axum` it
/// is a response of its own, so that a handler can use `?`.
#[derive(Clone)]
pub struct PurgeError {
    kind: PurgeErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why a purge failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PurgeErrorKind {
    /// The backend does not answer: what was to be purged may be so and may not. Until it is known
    /// this instance asks the backend at each use of a tag's responses, for half a minute.
    Unavailable,
    /// A URL, or an origin, that does not begin with `http://` or `https://` and a host.
    NotAbsolute,
    /// The policy has no rule for a `GET` request of this URL, or the rule does not cache its host:
    /// no response of it is stored.
    NoRule,
}

impl PurgeError {
    /// Why it failed.
    #[must_use]
    pub fn kind(&self) -> PurgeErrorKind {
        self.kind
    }

    /// The HTTP status that says it best, to whoever asked for the purge.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            PurgeErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            PurgeErrorKind::NotAbsolute | PurgeErrorKind::NoRule => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        }
    }
}

impl From<PurgeErrorKind> for PurgeError {
    fn from(kind: PurgeErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<BackendError> for PurgeError {
    fn from(source: BackendError) -> Self {
        Self {
            kind: PurgeErrorKind::Unavailable,
            source: Some(Arc::new(source)),
        }
    }
}

impl fmt::Display for PurgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PurgeErrorKind::Unavailable => "could not find out whether it was purged",
            PurgeErrorKind::NotAbsolute => {
                "could not purge: write a URL with http:// or https:// and a host"
            }
            PurgeErrorKind::NoRule => "could not purge a URL: the policy has no rule for it",
        })
    }
}

/// Shows the cause as well, because `fn main() -> Result<(), Box<dyn Error>>` prints this form.
impl fmt::Debug for PurgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for PurgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The text of the error; where the backend is away, with `Retry-After: 1`.
#[cfg(feature = "axum")]
impl axum::response::IntoResponse for PurgeError {
    fn into_response(self) -> axum::response::Response {
        let mut response = (self.status(), self.to_string()).into_response();
        let headers = response.headers_mut();
        let no_store = http::HeaderValue::from_static("no-store");
        headers.insert(http::header::CACHE_CONTROL, no_store);
        if self.kind == PurgeErrorKind::Unavailable {
            let second = http::HeaderValue::from_static("1");
            headers.insert(http::header::RETRY_AFTER, second);
        }
        response
    }
}
