//! What clients are told in headers.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers-11, whose fields are Lists of RFC 9651. Names of
//! rules and limits are plain, so quoting them is all the escaping there is.

use std::{fmt::Write as _, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::rule::NamedLimits;
use crate::{
    backend::{Decision, Limit, LimitState},
    error::ConfigError,
    respond::whole_seconds,
};

/// Which headers tell clients where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderStyle {
    /// `RateLimit-Policy: "login.burst";q=5;w=60` and `RateLimit: "login.burst";r=0;t=12`, an item
    /// for each limit: draft-ietf-httpapi-ratelimit-headers-11. `w` and `t` are in seconds.
    #[default]
    Draft11,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, of the tightest limit;
    /// the reset is in seconds since the Unix epoch, rounded up.
    Legacy,
    /// None; a denial still says `Retry-After`.
    Off,
}

impl HeaderStyle {
    /// Appends where a rule's limits stand.
    pub(super) fn append(self, headers: &mut HeaderMap, limits: &NamedLimits, decision: &Decision) {
        match self {
            Self::Draft11 => append_draft11(headers, limits, decision),
            Self::Legacy => insert_legacy(headers, limits, decision),
            Self::Off => {}
        }
    }
}

/// The value of `RateLimit-Policy`, which is the same for every request.
pub(super) fn policy(names: &[Arc<str>], limits: &[Limit]) -> Result<HeaderValue, ConfigError> {
    let mut value = String::new();
    for (name, limit) in names.iter().zip(limits) {
        let quota = limit.quota();
        separate(&mut value);
        let _ = write!(value, "\"{name}\";q={}", quota.calls());
        // A window is told in whole seconds or not at all.
        if quota.window().subsec_nanos() == 0 {
            let _ = write!(value, ";w={}", quota.window().as_secs());
        }
    }
    HeaderValue::try_from(value).map_err(|_| ConfigError::new("limit names must be plain ASCII"))
}

fn append_draft11(headers: &mut HeaderMap, limits: &NamedLimits, decision: &Decision) {
    let mut value = String::with_capacity(64);
    for (name, state) in limits.names.iter().zip(&decision.limits) {
        separate(&mut value);
        let _ = write!(value, "\"{name}\";r={}", state.remaining);
        if let Some(reset) = state.reset {
            let _ = write!(value, ";t={}", whole_seconds(reset));
        }
    }
    // Appended, not inserted: another rate limit around this one adds its own items to the Lists.
    if let Some(policy) = &limits.policy_header {
        headers.append(RATELIMIT_POLICY, policy.clone());
    }
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(RATELIMIT, value);
    }
}

/// These headers have room for one limit: the tightest, also among the layers of a stack.
fn insert_legacy(headers: &mut HeaderMap, limits: &NamedLimits, decision: &Decision) {
    let limits = limits.limits.iter().zip(&decision.limits);
    let Some((limit, state)) = limits.min_by_key(|(_, state)| tightness(state)) else {
        return;
    };
    let already_told = headers
        .get(LEGACY_REMAINING)
        .and_then(|told| told.to_str().ok()?.parse().ok());
    if already_told.is_some_and(|told: u64| told <= state.remaining) {
        return;
    }
    let reset = decision.now + state.reset.unwrap_or_default();
    headers.insert(LEGACY_LIMIT, HeaderValue::from(limit.quota().calls()));
    headers.insert(LEGACY_REMAINING, HeaderValue::from(state.remaining));
    headers.insert(
        LEGACY_RESET,
        HeaderValue::from(reset.as_micros().div_ceil(1_000_000)),
    );
}

/// Fewest left first; of those, the one that stays so longest.
fn tightness(state: &LimitState) -> (u64, std::cmp::Reverse<Option<std::time::Duration>>) {
    (state.remaining, std::cmp::Reverse(state.reset))
}

/// Separates the members of a List.
fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push_str(", ");
    }
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
