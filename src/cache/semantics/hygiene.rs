//! Which headers are stored (RFC 9111 §3.1).

use http::{
    HeaderMap, HeaderName,
    header::{AGE, CONNECTION},
};

use super::lines;
use crate::cache::tags::{CACHE_TAG, SURROGATE_KEY};

/// The headers of a response that are stored: without what belongs to one connection or to a proxy,
/// without `Age`, which is counted anew, and tags, which are stored otherwise; and without those
/// that the response or the rule says to drop, such as those that a qualified `no-cache` names.
///
/// A field that `Connection` names is dropped as well, so `Vary` and `Cache-Control` are to be read
/// of the response and not of what is stored.
pub(in crate::cache) fn stored(response: &HeaderMap, dropped: &[HeaderName]) -> HeaderMap {
    let mut stored = HeaderMap::with_capacity(response.keys_len());
    for name in response.keys() {
        if is_never_stored(name) || dropped.contains(name) || is_of_connection(name, response) {
            continue;
        }
        for line in response.get_all(name) {
            stored.append(name, line.clone());
        }
    }
    stored
}

/// Takes out of an answer what only caches of the service's own are to read.
pub(in crate::cache) fn cut_tags(answer: &mut HeaderMap) {
    answer.remove(CACHE_TAG);
    answer.remove(SURROGATE_KEY);
}

/// How many bytes headers take as lines of HTTP/1.1.
pub(in crate::cache) fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum()
}

fn is_never_stored(name: &HeaderName) -> bool {
    *name == AGE
        || *name == CACHE_TAG
        || *name == SURROGATE_KEY
        || is_of_one_hop(name.as_str())
        // RFC 9111 §3.1 names three of them; the others speak of one exchange, too.
        || name.as_str().starts_with("proxy-")
}

/// RFC 9110 §7.6.1.
fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// RFC 9110 §7.6.1.
fn is_of_connection(name: &HeaderName, response: &HeaderMap) -> bool {
    lines::members(response, &CONNECTION)
        .any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}
