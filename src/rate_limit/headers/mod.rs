//! What clients are told in headers.
//!
//! How each style writes has a file: the Lists of draft 11, and the styles that have room for one
//! limit.

mod lists;
#[cfg(test)]
mod tests;
mod tightest;
mod told;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCESS_CONTROL_EXPOSE_HEADERS, RETRY_AFTER},
};

pub(super) use self::lists::policy;
use self::told::Told;
use super::rule::{NamedLimits, applied};
use crate::{
    backend::{Decision, Limit, LimitState},
    clock::Timestamp,
};

/// Which headers tell clients where they stand.
///
/// The drafts of one standard differ in what they call things and where they put them; a client
/// reads the one it was written for. [`Draft11`](Self::Draft11) tells every limit. The other styles
/// have room for one, so they tell the tightest: the one that denied, or else the one with the
/// fewest calls left, and of equals the one that stays so longest; also among the layers of a
/// stack, which should all have one style. All times are rounded up, so whoever waits so long has
/// waited long enough.
///
/// # Browsers
///
/// A script of another origin can read these headers only if the response exposes them. So where a
/// request has an `Origin`, the layer adds their names to `Access-Control-Expose-Headers`. A CORS
/// layer around it that writes a list of its own overwrites that; give it
/// [`exposed_headers`](Self::exposed_headers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStyle {
    /// `RateLimit-Policy: "login.burst";q=5;w=60` and `RateLimit: "login.burst";r=0;t=12`, an item
    /// for each limit: draft-ietf-httpapi-ratelimit-headers-11.
    ///
    /// `q` is how many calls of cost one fit in `w` seconds, of a token bucket in a burst and the
    /// time that refills it; `r` how many are left, and `t` the seconds until there is one more. A
    /// window that is not whole seconds has no `w`, and a limit that is not used has no `t`.
    #[default]
    Draft11,
    /// `RateLimit-Policy: 5;w=60` and `RateLimit: limit=5, remaining=0, reset=12`:
    /// draft-ietf-httpapi-ratelimit-headers-07, express-rate-limit's `draft-7`. The reset is in
    /// seconds to go, 0 where nothing is used.
    Draft7,
    /// `RateLimit-Policy: 5;w=60`, `RateLimit-Limit: 5`, `RateLimit-Remaining: 0` and
    /// `RateLimit-Reset: 12`: draft-ietf-httpapi-ratelimit-headers-06, express-rate-limit's
    /// `draft-6`. The reset is as in [`Draft7`](Self::Draft7).
    Draft6,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`; the reset is in
    /// seconds since the Unix epoch, as GitHub and express-rate-limit's legacy headers have it.
    Legacy,
    /// The headers of [`Legacy`](Self::Legacy); the reset is in seconds to go.
    LegacyDelta,
    /// None; a denial still says `Retry-After`.
    Off,
}

impl HeaderStyle {
    /// The headers of this style, and `Retry-After`: what a script of another origin must be
    /// allowed to read.
    ///
    /// For a CORS layer that writes `Access-Control-Expose-Headers` itself:
    ///
    /// ```
    /// use tower_http::cors::{Any, CorsLayer};
    /// use tower_stash::rate_limit::HeaderStyle;
    ///
    /// let cors = CorsLayer::new()
    ///     .allow_origin(Any)
    ///     .expose_headers(HeaderStyle::Draft11.exposed_headers());
    /// ```
    #[must_use]
    pub fn exposed_headers(self) -> Vec<HeaderName> {
        let mut names = match self {
            Self::Draft11 | Self::Draft7 => vec![RATELIMIT, RATELIMIT_POLICY],
            Self::Draft6 => vec![
                RATELIMIT_POLICY,
                RATELIMIT_LIMIT,
                RATELIMIT_REMAINING,
                RATELIMIT_RESET,
            ],
            Self::Legacy | Self::LegacyDelta => vec![LEGACY_LIMIT, LEGACY_REMAINING, LEGACY_RESET],
            Self::Off => vec![],
        };
        names.push(RETRY_AFTER);
        names
    }

    /// Adds where a rule's limits stand to what is told already.
    pub(super) fn append(self, headers: &mut HeaderMap, limits: &NamedLimits, decision: &Decision) {
        let standing = limits.iter().zip(&decision.limits);
        let is_as_written =
            |((_, limit), state): ((_, &Limit), &LimitState)| limit.quota().limit() == state.limit;
        let policy = limits.policy_header.as_ref();
        let policy = policy.filter(|_| standing.clone().all(is_as_written));
        let told = standing.map(|((name, limit), state)| Told {
            name,
            quota: applied(limit, state),
            state,
        });
        self.tell(headers, told, decision.now, policy);
    }

    /// Whether the one limit is told that there is room for.
    pub(super) fn is_full(self, headers: &HeaderMap) -> bool {
        match self {
            Self::Draft7 => headers.contains_key(RATELIMIT),
            Self::Draft6 => headers.contains_key(RATELIMIT_REMAINING),
            Self::Legacy | Self::LegacyDelta => headers.contains_key(LEGACY_REMAINING),
            Self::Draft11 | Self::Off => false,
        }
    }

    /// Adds where these limits stand to what is told already.
    ///
    /// `policy` is their [`policy`], where it was written before because it never changes.
    fn tell<'a>(
        self,
        headers: &mut HeaderMap,
        limits: impl Iterator<Item = Told<'a>> + Clone,
        now: Timestamp,
        policy: Option<&HeaderValue>,
    ) {
        match self {
            Self::Draft11 => lists::append(headers, limits, policy),
            Self::Draft7 => tightest::insert_draft7(headers, limits),
            Self::Draft6 => tightest::insert_draft6(headers, limits),
            Self::Legacy => tightest::insert_legacy(headers, limits, Some(now)),
            Self::LegacyDelta => tightest::insert_legacy(headers, limits, None),
            Self::Off => {}
        }
    }

    /// Allows a script of another origin to read what is told: for responses
    /// to requests with `Origin`.
    pub(super) fn expose(self, headers: &mut HeaderMap) {
        if self == Self::Off && !headers.contains_key(RETRY_AFTER) {
            return;
        }
        let names = HeaderValue::from_static(match self {
            Self::Draft11 | Self::Draft7 => "RateLimit, RateLimit-Policy, Retry-After",
            Self::Draft6 => {
                "RateLimit-Policy, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
            }
            Self::Legacy | Self::LegacyDelta => {
                "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
            }
            Self::Off => "Retry-After",
        });
        // Another layer of the stack may have said the same.
        let exposed = headers.get_all(ACCESS_CONTROL_EXPOSE_HEADERS);
        if !exposed.iter().any(|exposed| exposed == names) {
            headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
