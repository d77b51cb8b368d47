//! `Cache-Status` (RFC 9211).

use std::sync::Arc;

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
        }
    }
}

impl CacheStatus {
    /// Appends what this cache did to what those nearer to the origin did.
    pub(in crate::cache) fn append_to(&self, headers: &mut HeaderMap, cache: &CacheName) {
        let mut line = Line::new();
        line.push(&cache.written);
        self.write(&mut line);
        if let Some(value) = line.value() {
            headers.append(CACHE_STATUS, value);
        }
    }

    /// The parameters, in the order in which RFC 9211 has them.
    fn write(&self, line: &mut Line) {
        let mut digits = itoa::Buffer::new();
        match self.handling {
            Handling::Hit => line.push("; hit"),
            Handling::Forwarded(Forwarded { why, status, .. }) => {
                line.push("; fwd=");
                line.push(why.as_str());
                if let Some(status) = status {
                    line.push("; fwd-status=");
                    line.push(status.as_str());
                }
            }
        }
        if let Some(ttl) = self.ttl {
            line.push("; ttl=");
            line.push(digits.format(ttl.clamp(-MAX_INTEGER, MAX_INTEGER)));
        }
        if let Handling::Forwarded(forwarded) = self.handling {
            if forwarded.is_stored {
                line.push("; stored");
            }
            if forwarded.is_collapsed {
                line.push("; collapsed");
            }
        }
        if let Some(detail) = self.detail.filter(|detail| is_token(detail)) {
            line.push("; detail=");
            line.push(detail);
        }
    }
}

/// A line as it is written; each response has one, so it is put together without formatting.
struct Line {
    room: [u8; ROOM],
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self {
            room: [0; ROOM],
            len: 0,
        }
    }

    /// What there is no room for makes the line too long.
    fn push(&mut self, text: &str) {
        let end = self.len.saturating_add(text.len());
        if let Some(room) = self.room.get_mut(self.len..end) {
            room.copy_from_slice(text.as_bytes());
        }
        self.len = end;
    }

    /// `None` for one that is too long.
    fn value(&self) -> Option<HeaderValue> {
        let line = self.room.get(..self.len)?;
        HeaderValue::from_bytes(line).ok()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(cache: &CacheName, status: CacheStatus) -> String {
        let mut headers = HeaderMap::new();
        status.append_to(&mut headers, cache);
        headers[CACHE_STATUS].to_str().unwrap().to_owned()
    }

    fn hit(ttl: Option<i64>) -> CacheStatus {
        CacheStatus {
            handling: Handling::Hit,
            ttl,
            detail: None,
        }
    }

    fn forwarded(why: Forward) -> Forwarded {
        Forwarded {
            why,
            status: None,
            is_stored: false,
            is_collapsed: false,
        }
    }

    #[test]
    fn a_hit_says_how_long_it_is_fresh_or_was_stale() {
        let cache = CacheName::default();
        assert_eq!(line(&cache, hit(Some(30))), "tower-stash; hit; ttl=30");
        assert_eq!(line(&cache, hit(Some(-5))), "tower-stash; hit; ttl=-5");
        assert_eq!(line(&cache, hit(None)), "tower-stash; hit");
    }

    #[test]
    fn a_call_says_why_and_what_came_of_it() {
        let status = CacheStatus {
            handling: Handling::Forwarded(Forwarded {
                status: Some(StatusCode::NOT_MODIFIED),
                is_stored: true,
                is_collapsed: true,
                ..forwarded(Forward::Stale)
            }),
            ttl: Some(60),
            detail: Some("set_cookie"),
        };
        assert_eq!(
            line(&CacheName::default(), status),
            "tower-stash; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; detail=set_cookie"
        );
    }

    #[test]
    fn each_reason_is_one_of_the_rfc() {
        for (why, word) in [
            (Forward::Bypass, "bypass"),
            (Forward::Method, "method"),
            (Forward::UriMiss, "uri-miss"),
            (Forward::VaryMiss, "vary-miss"),
            (Forward::Miss, "miss"),
            (Forward::Request, "request"),
            (Forward::Stale, "stale"),
        ] {
            let status = CacheStatus {
                handling: Handling::Forwarded(forwarded(why)),
                ..hit(None)
            };
            let expected = format!("tower-stash; fwd={word}");
            assert_eq!(line(&CacheName::default(), status), expected);
        }
    }

    #[test]
    fn what_caches_nearer_to_the_origin_said_stays_before() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_STATUS, HeaderValue::from_static("origin; hit"));
        hit(None).append_to(&mut headers, &CacheName::default());
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["origin; hit", "tower-stash; hit"]);
    }

    #[test]
    fn a_name_that_is_no_token_is_quoted() {
        let named = |name| line(&CacheName::new(name).unwrap(), hit(None));
        assert_eq!(named("cdn.example.com:80/a"), "cdn.example.com:80/a; hit");
        assert_eq!(named("my cache"), "\"my cache\"; hit");
        assert_eq!(named("1st"), "\"1st\"; hit");
        assert_eq!(named("a\"b\\c"), "\"a\\\"b\\\\c\"; hit");
    }

    #[test]
    fn what_no_field_can_hold_is_no_name() {
        for name in ["", "é", "a\nb", "\u{7f}", &"a".repeat(65)] {
            assert!(CacheName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_longest_line_is_written() {
        let cache = CacheName::new(&"\\".repeat(64)).unwrap();
        let status = CacheStatus {
            handling: Handling::Forwarded(Forwarded {
                status: Some(StatusCode::NOT_MODIFIED),
                is_stored: true,
                is_collapsed: true,
                ..forwarded(Forward::VaryMiss)
            }),
            ttl: Some(i64::MIN),
            detail: Some("a_word_of_sixty_four_characters_which_is_longer_than_any_of_ours"),
        };
        assert!(line(&cache, status).ends_with("than_any_of_ours"));
    }

    #[test]
    fn a_detail_that_is_no_word_is_left_out() {
        let status = CacheStatus {
            detail: Some("two words"),
            ..hit(None)
        };
        assert_eq!(line(&CacheName::default(), status), "tower-stash; hit");
    }

    #[test]
    fn a_line_is_written_with_one_allocation() {
        let (cache, mut headers) = (CacheName::default(), HeaderMap::with_capacity(4));
        let counted = allocation_counter::measure(|| {
            hit(Some(30)).append_to(&mut headers, &cache);
        });
        assert_eq!(counted.count_total, 1);
    }

    proptest! {
        #[test]
        fn another_parser_reads_what_is_written(name in "[ -~]{1,64}", ttl in any::<i64>()) {
            let written = line(&CacheName::new(&name).unwrap(), hit(Some(ttl)));
            let list: sfv::List = sfv::Parser::new(&written).parse().unwrap();
            let [sfv::ListEntry::Item(item)] = &list[..] else {
                return Err(TestCaseError::fail(written));
            };
            let read = match &item.bare_item {
                sfv::BareItem::Token(token) => token.as_str(),
                sfv::BareItem::String(string) => string.as_str(),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            prop_assert_eq!(read, name);
            let read = item.params["ttl"].as_integer().map(i64::from);
            prop_assert_eq!(read, Some(ttl.clamp(-MAX_INTEGER, MAX_INTEGER)));
        }
    }
}
