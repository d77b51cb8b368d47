//! How closely a rule follows what RFC 9111 leaves to caches.

use std::time::Duration;

use http::HeaderName;

/// A set of choices where RFC 9111 leaves one, or where being right is not being safe.
///
/// | | [`safe`](Self::safe), the default | [`compliance`](Self::compliance) |
/// |---|---|---|
/// | responses that say nothing of their freshness | not stored | 10 % of their age when they came, at most 24 h (RFC 9111 §4.2.2) |
/// | `Set-Cookie` in a response | not stored | stored |
/// | `Cookie` in a request | its response is stored only if it says that it is for all | no matter |
/// | `Authorization` in a request | storing and reusing need a response that allows both | storing needs it (RFC 9111 §3.5) |
/// | `Cache-Control` of requests | only `no-store` and `only-if-cached` | honoured (RFC 9111 §5.2.1) |
/// | targeted fields (RFC 9213) | `Stash-Cache-Control` | and then `CDN-Cache-Control` |
/// | stale where the handler fails, unless the response says so | no | for an hour |
/// | kept for validation after it is stale | 10 min | 1 h |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(in crate::cache) heuristics: Option<Heuristics>,
    pub(in crate::cache) set_cookie: SetCookie,
    pub(in crate::cache) request_cookies: RequestCookies,
    pub(in crate::cache) authorization: Authorization,
    /// Whether the other directives of requests are honoured.
    pub(in crate::cache) honours_requests: bool,
    pub(in crate::cache) targeted: Vec<HeaderName>,
    pub(in crate::cache) stale_if_error: Duration,
    pub(in crate::cache) kept: Duration,
}

/// How fresh a response is that does not say so (RFC 9111 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Heuristics {
    /// So much of the time between `Last-Modified` and `Date`, in percent.
    pub(in crate::cache) percent: u32,
    pub(in crate::cache) at_most: Duration,
}

/// What becomes of a response that sets a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookie {
    /// It is not stored.
    Refuse,
    /// It is stored as it is: everybody gets the same cookie.
    Keep,
    /// It is stored without the cookie; the client that it was made for gets it.
    Strip,
}

/// What becomes of a response to a request that has cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestCookies {
    /// It is stored only if it says that it is for all: `public`, `s-maxage`, a targeted field; or
    /// if the rule's key covers credentials, or the handler does not see them.
    Mind,
    /// It is stored as any other.
    Ignore,
}

/// What becomes of requests with `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorization {
    /// A response is stored, and given to such a request, only if it has `public`, `s-maxage` or
    /// `must-revalidate`, or if the rule's key covers credentials.
    Mind,
    /// The same of storing only (RFC 9111 §3.5).
    Rfc9111,
}

impl Profile {
    /// The one that shows nobody what was made for another, even where responses say too little.
    #[must_use]
    pub fn safe() -> Self {
        Self {
            heuristics: None,
            set_cookie: SetCookie::Refuse,
            request_cookies: RequestCookies::Mind,
            authorization: Authorization::Mind,
            honours_requests: false,
            targeted: vec![OWN],
            stale_if_error: Duration::ZERO,
            kept: Duration::from_secs(600),
        }
    }

    /// The one that does all that RFC 9111 allows; for proxies before servers that know HTTP caching.
    #[must_use]
    pub fn compliance() -> Self {
        Self {
            heuristics: Some(Heuristics {
                percent: 10,
                at_most: Duration::from_secs(24 * 3_600),
            }),
            set_cookie: SetCookie::Keep,
            request_cookies: RequestCookies::Ignore,
            authorization: Authorization::Rfc9111,
            honours_requests: true,
            targeted: vec![OWN, CDN],
            stale_if_error: Duration::from_secs(3_600),
            kept: Duration::from_secs(3_600),
        }
    }

    /// Takes responses without freshness for fresh for this share, in percent, of the time since
    /// `Last-Modified`, and at most for so long; 0 percent stores none.
    #[must_use]
    pub fn with_heuristics(mut self, percent: u32, at_most: Duration) -> Self {
        self.heuristics = (percent > 0).then_some(Heuristics { percent, at_most });
        self
    }

    /// What becomes of responses that set cookies.
    #[must_use]
    pub fn with_set_cookie(mut self, set_cookie: SetCookie) -> Self {
        self.set_cookie = set_cookie;
        self
    }

    /// What becomes of responses to requests that have cookies.
    #[must_use]
    pub fn with_request_cookies(mut self, cookies: RequestCookies) -> Self {
        self.request_cookies = cookies;
        self
    }

    /// What becomes of requests with `Authorization`.
    #[must_use]
    pub fn with_authorization(mut self, authorization: Authorization) -> Self {
        self.authorization = authorization;
        self
    }

    /// Whether `no-cache`, `max-age`, `min-fresh` and `max-stale` of requests are honoured.
    ///
    /// Whoever sends them makes the handler work.
    #[must_use]
    pub fn with_request_directives(mut self, are_honoured: bool) -> Self {
        self.honours_requests = are_honoured;
        self
    }

    /// The targeted fields (RFC 9213) that are heard, the first one before the others.
    #[must_use]
    pub fn with_targeted(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targeted = fields.into_iter().collect();
        self
    }

    /// How long a stale response stands in for an error where it does not say so itself.
    #[must_use]
    pub fn with_stale_if_error(mut self, stale: Duration) -> Self {
        self.stale_if_error = stale;
        self
    }

    /// How long a stale response is kept to be validated.
    #[must_use]
    pub fn with_kept(mut self, kept: Duration) -> Self {
        self.kept = kept;
        self
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::safe()
    }
}

const OWN: HeaderName = HeaderName::from_static("stash-cache-control");

const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");
