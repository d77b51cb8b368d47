//! Tokens in headers of their own.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Presented;
use crate::{error::ConfigError, session::token::Token};

/// Sessions of clients that keep no cookies: gRPC and native ones.
///
/// A request brings its token in `x-session`. A response tells a new one in `x-session-set`, which
/// the client sends from then on; if that is empty, the client drops its token. Without
/// `x-session-set` nothing changes. In gRPC both are metadata of these names.
///
/// A token is 64 characters of `A-Z a-z 0-9 - _`, and a secret as a password is. Browsers should
/// have a [`SessionCookie`](super::SessionCookie): a script can steal what a script must keep.
///
/// ```
/// use tower_stash::session::HeaderTransport;
///
/// let transport = HeaderTransport::default()
///     .with_request_header("x-shop-session")?
///     .with_response_header("x-shop-session-set")?;
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTransport {
    request: HeaderName,
    response: HeaderName,
}

impl HeaderTransport {
    /// The header in which requests bring their token; by default `x-session`.
    ///
    /// # Errors
    ///
    /// What is no header name, means something else in HTTP, or cannot hold text in gRPC.
    pub fn with_request_header(self, name: &str) -> Result<Self, ConfigError> {
        let request = header_name(name, "x-session")?;
        Ok(Self { request, ..self })
    }

    /// The header in which responses tell a token; by default `x-session-set`.
    ///
    /// # Errors
    ///
    /// What is no header name, means something else in HTTP, or cannot hold text in gRPC.
    pub fn with_response_header(self, name: &str) -> Result<Self, ConfigError> {
        let response = header_name(name, "x-session-set")?;
        Ok(Self { response, ..self })
    }

    pub(super) fn request_header(&self) -> &HeaderName {
        &self.request
    }

    /// The token; none if there are two, of which somebody on the way may have added one.
    pub(super) fn read(&self, headers: &HeaderMap) -> Presented {
        let mut presented = Presented::default();
        for value in headers.get_all(&self.request) {
            if let Some(token) = Token::parse(value.as_bytes()) {
                presented.add(token);
            }
        }
        presented.or_none_of_several()
    }

    pub(super) fn issue(&self, token: &Token, headers: &mut HeaderMap) {
        let Ok(mut value) = HeaderValue::from_bytes(&token.text()) else {
            return;
        };
        value.set_sensitive(true);
        self.set(value, headers);
    }

    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        self.set(HeaderValue::from_static(""), headers);
    }

    fn set(&self, value: HeaderValue, headers: &mut HeaderMap) {
        // Fails only if there are more headers than a map can hold.
        let _ = headers.try_insert(&self.response, value);
    }
}

impl Default for HeaderTransport {
    fn default() -> Self {
        Self {
            request: HeaderName::from_static("x-session"),
            response: HeaderName::from_static("x-session-set"),
        }
    }
}

/// The name of a header that is free for tokens.
fn header_name(name: &str, example: &str) -> Result<HeaderName, ConfigError> {
    let refused = |why: &str| {
        ConfigError::new(format!(
            "session header {name:?}: {why}; write one such as {example:?}"
        ))
    };
    let Ok(name) = HeaderName::try_from(name) else {
        return Err(refused("not a header name"));
    };
    if name.as_str().ends_with("-bin") {
        return Err(refused("gRPC encodes what is in a header of this name"));
    }
    if name.as_str().starts_with("grpc-") || is_known(&name) {
        return Err(refused("it has a meaning of its own"));
    }
    Ok(name)
}

/// Whether HTTP gives this name a meaning that a token would break.
fn is_known(name: &HeaderName) -> bool {
    KNOWN.contains(&name.as_str())
}

/// Headers that somebody else writes or reads.
const KNOWN: [&str; 24] = [
    "accept",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "origin",
    "proxy-authorization",
    "referer",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
];
