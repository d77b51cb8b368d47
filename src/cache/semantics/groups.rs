//! Cache groups (RFC 9875).

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{invalidate, string_list};

/// The groups that a response belongs to, in order; none if the field cannot be read, as RFC 9651
/// §4.2 says. Each is a name within the response's origin, compared byte by byte.
pub(in crate::cache) fn of(response: &HeaderMap) -> Vec<String> {
    string_list::read(response, &CACHE_GROUPS).unwrap_or_default()
}

/// The groups of the request's origin that a response invalidates, each once (RFC 9875 §3). What
/// belongs to them is invalid, and nothing beyond: it does not cascade.
pub(in crate::cache) fn invalidated(
    method: &Method,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    if !invalidate::is_invalidating(method, status) {
        return Vec::new();
    }
    let mut groups = string_list::read(response, &CACHE_GROUP_INVALIDATION).unwrap_or_default();
    groups.sort_unstable();
    groups.dedup();
    groups
}

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
