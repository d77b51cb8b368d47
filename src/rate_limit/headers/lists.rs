//! The Lists of draft-ietf-httpapi-ratelimit-headers-11, with an item for each limit.
//!
//! They are Lists of RFC 9651. Names of rules and limits are plain, so quoting them is all the
//! escaping there is.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::{
    RATELIMIT, RATELIMIT_POLICY, Told,
    told::{calls, window},
};
use crate::{backend::Limit, error::ConfigError};

/// The value of `RateLimit-Policy`, which is the same for every request while no limit changes its
/// size.
pub(in crate::rate_limit) fn policy(
    names: &[Arc<str>],
    limits: &[Limit],
) -> Result<HeaderValue, ConfigError> {
    let limits = names.iter().zip(limits);
    let items = limits.map(|(name, limit)| Item {
        name,
        first: (";q=", calls(limit.quota())),
        second: window(limit.quota()).map(|seconds| (";w=", seconds)),
    });
    list(items).ok_or_else(|| ConfigError::new("limit names must be plain ASCII"))
}

/// Appended, not inserted: another rate limit around this one adds its own items to the Lists.
pub(super) fn append<'a>(
    headers: &mut HeaderMap,
    limits: impl Iterator<Item = Told<'a>> + Clone,
    policy: Option<&HeaderValue>,
) {
    let written = policy.cloned();
    if let Some(policy) = written.or_else(|| list(limits.clone().map(quota_item))) {
        headers.append(RATELIMIT_POLICY, policy);
    }
    if let Some(standing) = list(limits.map(standing_item)) {
        headers.append(RATELIMIT, standing);
    }
}

/// What is admitted in which time.
fn quota_item(told: Told<'_>) -> Item<'_> {
    Item {
        name: told.name,
        first: (";q=", told.calls()),
        second: told.window().map(|seconds| (";w=", seconds)),
    }
}

/// What is left, and how long until there is more.
fn standing_item(told: Told<'_>) -> Item<'_> {
    Item {
        name: told.name,
        first: (";r=", told.remaining()),
        second: told.reset_seconds().map(|seconds| (";t=", seconds)),
    }
}

/// A String with one or two Integers as its parameters.
struct Item<'a> {
    name: &'a str,
    first: Parameter,
    second: Option<Parameter>,
}

/// What stands before an Integer, and the Integer.
type Parameter = (&'static str, u64);

impl Item<'_> {
    fn parameters(&self) -> impl Iterator<Item = Parameter> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// How many bytes [`write`](Self::write) writes.
    fn len(&self) -> usize {
        let parameter = |(key, value): Parameter| key.len() + digits(value);
        self.name.len() + 2 + self.parameters().map(parameter).sum::<usize>()
    }

    fn write(&self, list: &mut String) {
        list.push('"');
        list.push_str(self.name);
        list.push('"');
        for (key, value) in self.parameters() {
            list.push_str(key);
            list.push_str(itoa::Buffer::new().format(value));
        }
    }
}

/// A List of these items; `None` without any, as an empty List is not sent (RFC 9651 §3.1).
///
/// Measured first: what has just the room that it needs becomes a header's value without a copy.
fn list<'a>(items: impl Iterator<Item = Item<'a>> + Clone) -> Option<HeaderValue> {
    let length: usize = items.clone().map(|item| item.len() + SEPARATOR.len()).sum();
    let mut list = String::with_capacity(length.checked_sub(SEPARATOR.len())?);
    for item in items {
        if !list.is_empty() {
            list.push_str(SEPARATOR);
        }
        item.write(&mut list);
    }
    HeaderValue::try_from(list).ok()
}

pub(super) fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

const SEPARATOR: &str = ", ";
