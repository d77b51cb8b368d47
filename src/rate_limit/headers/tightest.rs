//! The styles that have room for one limit.
//!
//! What an inner layer has told stays where it is the tighter one.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    LEGACY_LIMIT, LEGACY_REMAINING, LEGACY_RESET, RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_POLICY,
    RATELIMIT_REMAINING, RATELIMIT_RESET, Told,
};
use crate::clock::Timestamp;

/// `RateLimit: limit=5, remaining=0, reset=12`, a Dictionary (draft 7 §3.1).
pub(super) fn insert_draft7<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = Told<'a>>) {
    let Some(told) = tightest(limits) else {
        return;
    };
    let standing = Standing::in_seconds(&told);
    if told_in_draft7(headers).is_some_and(|other| other.is_as_tight_as(standing)) {
        return;
    }
    let Standing { remaining, reset } = standing;
    let value = format!(
        "limit={}, remaining={remaining}, reset={reset}",
        told.calls()
    );
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(RATELIMIT, value);
        insert_policy(headers, &told);
    }
}

/// `RateLimit-Limit`, `-Remaining` and `-Reset`, an Integer each (draft 6 §5).
pub(super) fn insert_draft6<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = Told<'a>>) {
    let Some(told) = tightest(limits) else {
        return;
    };
    let names = [RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET];
    if insert_fields(headers, names, told.calls(), Standing::in_seconds(&told)) {
        insert_policy(headers, &told);
    }
}

/// `X-RateLimit-Limit`, `-Remaining` and `-Reset`; the reset counts from the epoch if it is known
/// what time it is, else from now.
pub(super) fn insert_legacy<'a>(
    headers: &mut HeaderMap,
    limits: impl Iterator<Item = Told<'a>>,
    now: Option<Timestamp>,
) {
    let Some(told) = tightest(limits) else {
        return;
    };
    let standing = now.map_or_else(
        || Standing::in_seconds(&told),
        |now| Standing::since_epoch(&told, now),
    );
    let names = [LEGACY_LIMIT, LEGACY_REMAINING, LEGACY_RESET];
    insert_fields(headers, names, told.calls(), standing);
}

/// What clients are told of a limit besides its size.
#[derive(Clone, Copy)]
struct Standing {
    remaining: u64,
    /// In the style's seconds.
    reset: u64,
}

impl Standing {
    fn in_seconds(told: &Told<'_>) -> Self {
        Self {
            remaining: told.remaining(),
            reset: told.reset_seconds().unwrap_or(0),
        }
    }

    fn since_epoch(told: &Told<'_>, now: Timestamp) -> Self {
        let reset = now + told.state.reset.unwrap_or_default();
        Self {
            remaining: told.remaining(),
            reset: reset.as_micros().div_ceil(1_000_000),
        }
    }

    /// What headers like these say, if they say a number.
    fn parse(remaining: &str, reset: Option<&str>) -> Option<Self> {
        Some(Self {
            remaining: remaining.trim().parse().ok()?,
            reset: reset
                .and_then(|reset| reset.trim().parse().ok())
                .unwrap_or(0),
        })
    }

    fn is_as_tight_as(self, other: Self) -> bool {
        let looseness = |standing: Self| (standing.remaining, Reverse(standing.reset));
        looseness(self) <= looseness(other)
    }
}

fn tightest<'a>(limits: impl Iterator<Item = Told<'a>>) -> Option<Told<'a>> {
    limits.min_by_key(Told::looseness)
}

/// Whether these fields were written: not where tighter ones are there.
fn insert_fields(
    headers: &mut HeaderMap,
    [limit, remaining, reset]: [HeaderName; 3],
    calls: u64,
    standing: Standing,
) -> bool {
    let value_of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let told = value_of(&remaining).and_then(|left| Standing::parse(left, value_of(&reset)));
    if told.is_some_and(|other| other.is_as_tight_as(standing)) {
        return false;
    }
    headers.insert(limit, HeaderValue::from(calls));
    headers.insert(remaining, HeaderValue::from(standing.remaining));
    headers.insert(reset, HeaderValue::from(standing.reset));
    true
}

/// `RateLimit-Policy: 5;w=60` (draft 6 §5.2, draft 7 §3.2).
fn insert_policy(headers: &mut HeaderMap, told: &Told<'_>) {
    let calls = told.calls();
    let policy = match told.window() {
        Some(window) => format!("{calls};w={window}"),
        None => calls.to_string(),
    };
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(RATELIMIT_POLICY, policy);
    }
}

fn told_in_draft7(headers: &HeaderMap) -> Option<Standing> {
    let told = headers.get(RATELIMIT)?.to_str().ok()?;
    let member = |key: &str| {
        let mut members = told.split(',').filter_map(|member| member.split_once('='));
        members
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value)
    };
    Standing::parse(member("remaining")?, member("reset"))
}
