//! `Cache-Status` (RFC 9211).

use std::{fmt, io::Write as _, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::error::ConfigError;

/// What a cache calls itself in `Cache-Status`; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct CacheName {
    /// As it stands in the field: a token, or a string with its quotes.
    written: Arc<str>,
}

impl CacheName {
    /// The cache of this name.
    ///
    /// # Errors
    ///
    /// A name that is empty, longer than 64 bytes or not of printable ASCII.
    pub(in crate::cache) fn new(name: &str) -> Result<Self, ConfigError> {
        let is_printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !(1..=MAX_NAME).contains(&name.len()) || !is_printable {
            return Err(ConfigError::new(
                "the name of a cache is 1 to 64 printable ASCII characters; write such as \
                 \"tower-stash\" or a host name",
            ));
        }
        if is_token(name) {
            return Ok(Self {
                written: name.into(),
            });
        }
        let mut quoted = String::from("\"");
        for character in name.chars() {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted.push('"');
        Ok(Self {
            written: quoted.into(),
        })
    }
}

impl Default for CacheName {
    fn default() -> Self {
        Self {
            written: "tower-stash".into(),
        }
    }
}

/// How a request was handled (RFC 9211 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct CacheStatus {
    pub(in crate::cache) handling: Handling,
    /// How many seconds the response stays fresh; below zero for how many it is stale.
    pub(in crate::cache) ttl: Option<i64>,
    /// One word more, of a closed set.
    pub(in crate::cache) detail: Option<&'static str>,
}

/// Whether the handler was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Handling {
    /// It was not.
    Hit,
    /// It was.
    Forwarded(Forwarded),
}

/// What came of calling the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Forwarded {
    pub(in crate::cache) why: Forward,
    /// What it answered, if that is not what the client gets.
    pub(in crate::cache) status: Option<StatusCode>,
    pub(in crate::cache) is_stored: bool,
    /// Whether the request shared the call of another one.
    pub(in crate::cache) is_collapsed: bool,
}

/// Why the handler was called (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Forward {
    /// The cache is not for this request.
    Bypass,
    /// It is not for this method.
    Method,
    /// Nothing is stored of the URL.
    UriMiss,
    /// What is stored of the URL is for other headers.
    VaryMiss,
    /// Nothing is stored, of the URL or for the headers.
    Miss,
    /// What is stored is not for what the request's directives say.
    Request,
    /// What is stored is stale.
    Stale,
    /// Only a part of what is asked for is stored.
    Partial,
}

impl Forward {
    pub(in crate::cache) fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl CacheStatus {
    /// Appends what this cache did to what those nearer to the origin did.
    pub(in crate::cache) fn append_to(&self, headers: &mut HeaderMap, cache: &CacheName) {
        let mut room = [0; ROOM];
        let mut rest = room.as_mut_slice();
        let is_written = write!(rest, "{}{self}", cache.written).is_ok();
        let len = ROOM - rest.len();
        let line = room.get(..len).filter(|_| is_written);
        if let Some(Ok(line)) = line.map(HeaderValue::from_bytes) {
            headers.append(CACHE_STATUS, line);
        }
    }
}

/// The parameters, in the order in which RFC 9211 has them.
impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.handling {
            Handling::Hit => f.write_str("; hit")?,
            Handling::Forwarded(forwarded) => write!(f, "; fwd={}", forwarded.why.as_str())?,
        }
        if let Handling::Forwarded(Forwarded {
            status: Some(status),
            ..
        }) = self.handling
        {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={}", ttl.clamp(-MAX_INTEGER, MAX_INTEGER))?;
        }
        if let Handling::Forwarded(forwarded) = self.handling {
            if forwarded.is_stored {
                f.write_str("; stored")?;
            }
            if forwarded.is_collapsed {
                f.write_str("; collapsed")?;
            }
        }
        match self.detail {
            Some(detail) if is_token(detail) => write!(f, "; detail={detail}"),
            _ => Ok(()),
        }
    }
}

/// RFC 9651 §3.3.4.
fn is_token(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte))
}

pub(in crate::cache) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

const MAX_NAME: usize = 64;

/// For a name in which each character is escaped, all parameters and a detail of 64 characters.
const ROOM: usize = 320;

/// RFC 9651 §3.3.1.
const MAX_INTEGER: i64 = 999_999_999_999_999;
