//! How long a response is fresh (RFC 9111 §4.2).

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{DATE, EXPIRES, LAST_MODIFIED},
};

use super::{dates, directives::clamped, targeted::Governing};
use crate::{
    cache::rule::{Heuristics, Shape, Ttl},
    clock::Timestamp,
};

/// How long a response is fresh, from when it was made, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Lifetime {
    pub(in crate::cache) duration: Duration,
    pub(in crate::cache) source: Source,
}

/// Who says how long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Source {
    /// `s-maxage`.
    SharedMaxAge,
    MaxAge,
    /// `Expires`, also where it is no date.
    Expires,
    /// The rule, for this status.
    Negative,
    /// The rule, against what the response says.
    Override,
    /// The rule, as the response says nothing.
    Default,
    /// §4.2.2: a guess.
    Heuristic,
    /// Nobody: it is only good for validation.
    Nobody,
}

impl Source {
    /// Whether it is the response itself (§4.2: explicit).
    pub(in crate::cache) const fn is_explicit(self) -> bool {
        matches!(self, Self::SharedMaxAge | Self::MaxAge | Self::Expires)
    }
}

/// How long a response is fresh; none if nobody says it, and nobody may guess.
///
/// From 500 on, the rule says it only where it names the status: an error is not to outlive its
/// cause because all other answers of a route are good for an hour.
pub(in crate::cache) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    governing: &Governing,
    received: Timestamp,
    shape: &Shape,
) -> Option<Lifetime> {
    let of = |duration: Duration, source| Lifetime {
        duration: clamped_to_most(duration),
        source,
    };
    let explicit = explicit(headers, governing, received);
    let named = shape.negative.iter().rfind(|(named, _)| *named == status);
    if let Some((_, negative)) = named {
        return Some(explicit.unwrap_or(of(*negative, Source::Negative)));
    }
    let is_by_default = is_cacheable_by_default(status) || governing.directives.is_public;
    let is_listed = shape
        .statuses
        .as_ref()
        .is_some_and(|all| all.contains(&status));
    let is_rules = status.as_u16() < 500 && (is_by_default || is_listed);
    match shape.ttl {
        Ttl::Override(ttl) if is_rules || (explicit.is_some() && status.as_u16() < 500) => {
            return Some(of(ttl, Source::Override));
        }
        Ttl::Default(ttl) if is_rules => {
            return Some(explicit.unwrap_or(of(ttl, Source::Default)));
        }
        Ttl::Declared | Ttl::Default(_) | Ttl::Override(_) => {}
    }
    explicit.or_else(|| {
        let heuristics = shape.profile.heuristics.filter(|_| is_by_default)?;
        let guess = heuristic(headers, received, heuristics)?;
        Some(of(guess, Source::Heuristic))
    })
}

/// §4.2.2, RFC 9110 §15.1: those whose freshness may be guessed. 206 is not among them, since parts
/// are not stored.
pub(in crate::cache) fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// §4.2.1.
fn explicit(headers: &HeaderMap, governing: &Governing, received: Timestamp) -> Option<Lifetime> {
    let directives = &governing.directives;
    let of = |duration, source| Lifetime { duration, source };
    if let Some(shared) = directives.s_maxage {
        return Some(of(shared, Source::SharedMaxAge));
    }
    if let Some(max_age) = directives.max_age {
        return Some(of(max_age, Source::MaxAge));
    }
    if governing.is_targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    // §5.3: what is no date, such as `0`, or two dates, has expired.
    let left = dates::only(headers, &EXPIRES)
        .map_or(Duration::ZERO, |expires| expires - made(headers, received));
    Some(of(clamped_to_most(left), Source::Expires))
}

/// §4.2.2: a share of the time since the last modification.
fn heuristic(headers: &HeaderMap, received: Timestamp, how: Heuristics) -> Option<Duration> {
    let modified = dates::only(headers, &LAST_MODIFIED)?;
    let unmodified = (made(headers, received) - modified).as_secs();
    let share = unmodified.saturating_mul(u64::from(how.percent)) / 100;
    Some(Duration::from_secs(share).min(how.at_most))
}

/// RFC 9110 §6.6.1: when a response without `Date` came is its date.
fn made(headers: &HeaderMap, received: Timestamp) -> Timestamp {
    dates::only(headers, &DATE).unwrap_or(received)
}

fn clamped_to_most(duration: Duration) -> Duration {
    duration.min(clamped(u64::MAX))
}
