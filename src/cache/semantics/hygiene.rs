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

/// How many bytes the names and values of headers are: a merged 304 may make them too long to store.
pub(in crate::cache) fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_one_connection_proxy_or_moment_is_not_stored() {
        for name in [
            "connection",
            "keep-alive",
            "te",
            "transfer-encoding",
            "upgrade",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "proxy-connection",
            "age",
            "cache-tag",
            "surrogate-key",
        ] {
            let stored = stored(&headers(&[(name, "1"), ("a", "2")]), &[]);
            assert_eq!(stored, headers(&[("a", "2")]), "{name}");
        }
    }

    #[test]
    fn all_else_is_stored_with_all_its_lines() {
        let response = headers(&[
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("cache-status", "a; hit"),
            ("cache-groups", "\"a\""),
            ("stash-cache-control", "max-age=1"),
            ("content-length", "3"),
            ("trailer", "x"),
            ("date", "now"),
            ("proxying", "1"),
        ]);
        assert_eq!(stored(&response, &[]), response);
    }

    #[test]
    fn what_connection_names_is_not_stored() {
        let response = headers(&[
            ("connection", "close, A"),
            ("connection", ",b ,"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
        ]);
        assert_eq!(stored(&response, &[]), headers(&[("c", "3")]));
    }

    #[test]
    fn what_is_to_be_dropped_is_not_stored() {
        let response = headers(&[("set-cookie", "a=b"), ("x-user", "1"), ("c", "3")]);
        let dropped = [http::header::SET_COOKIE, HeaderName::from_static("x-user")];
        assert_eq!(stored(&response, &dropped), headers(&[("c", "3")]));
    }

    #[test]
    fn tags_do_not_leave_the_service() {
        let mut answer = headers(&[("cache-tag", "a"), ("surrogate-key", "b"), ("c", "d")]);
        cut_tags(&mut answer);
        assert_eq!(answer, headers(&[("c", "d")]));
    }

    #[test]
    fn each_line_counts_with_its_name() {
        assert_eq!(size(&headers(&[("ab", "123"), ("ab", ""), ("c", "4")])), 9);
    }
}
