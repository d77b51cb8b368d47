//! Conditional requests (RFC 9110 §13).

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
    },
};

use super::{dates, entity_tag::EntityTag, lines};
use crate::clock::Timestamp;

/// What a conditional request gets of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Condition {
    /// A 304: the client has it.
    NotModified,
    /// The response, or the part of it that the request asks for.
    Full,
}

/// Evaluates `If-None-Match`, else `If-Modified-Since`, of a GET or HEAD against a stored response
/// (RFC 9110 §13.2.2; RFC 9111 §4.3.2).
///
/// What cannot be read makes no condition true that would spare the body: an `If-None-Match` with a
/// fault in it matches nothing, an `If-Modified-Since` that is no date is ignored.
pub(in crate::cache) fn evaluate(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Condition {
    // RFC 9110 §13.2.1: conditions are about a representation, which other statuses do not carry.
    if status != StatusCode::OK {
        return Condition::Full;
    }
    let has_it = if request.contains_key(IF_NONE_MATCH) {
        is_listed(request, EntityTag::of(response))
    } else {
        is_unmodified(request, response)
    };
    if has_it {
        Condition::NotModified
    } else {
        Condition::Full
    }
}

/// Takes all preconditions, and what range is asked for, out of a request that is to fill or
/// validate an entry: the whole response is needed. What they ask is answered from it: the headers
/// returned are what [`evaluate`] and [`range::choose`](super::range::choose) read.
pub(in crate::cache) fn take_preconditions(request: &mut HeaderMap) -> HeaderMap {
    let mut taken = HeaderMap::new();
    for name in &PRECONDITIONS {
        if let http::header::Entry::Occupied(lines) = request.entry(name) {
            let (name, lines) = lines.remove_entry_mult();
            for line in lines {
                taken.append(name.clone(), line);
            }
        }
    }
    taken
}

/// Makes a request, whose own preconditions were [taken](take_preconditions), ask whether a stored
/// response is still valid (RFC 9111 §4.3.1).
pub(in crate::cache) fn ask_whether_valid(request: &mut HeaderMap, stored: &HeaderMap) {
    if let (Some(_), Some(line)) = (EntityTag::of(stored), stored.get(ETAG)) {
        request.insert(IF_NONE_MATCH, line.clone());
    }
    if let (Some(_), Some(line)) = (last_modified(stored), stored.get(LAST_MODIFIED)) {
        request.insert(IF_MODIFIED_SINCE, line.clone());
    }
}

/// The headers of the 304 that stands for a stored response (RFC 9110 §15.4.5); `Age` and
/// `Cache-Status` are the caller's.
pub(in crate::cache) fn not_modified_headers(response: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(NOT_MODIFIED.len());
    for name in &NOT_MODIFIED {
        copy(response, name, &mut headers);
    }
    // Of metadata only what guides a cache's update, where there is nothing better.
    if !headers.contains_key(ETAG) {
        copy(response, &LAST_MODIFIED, &mut headers);
    }
    headers
}

/// When a response was last modified, as far as it says.
pub(super) fn last_modified(response: &HeaderMap) -> Option<Timestamp> {
    dates::only(response, &LAST_MODIFIED)
}

/// `If-None-Match` is false (RFC 9110 §13.1.2).
fn is_listed(request: &HeaderMap, stored: Option<EntityTag<'_>>) -> bool {
    if lines::only(request, &IF_NONE_MATCH).is_some_and(|line| line.as_bytes().trim_ascii() == b"*")
    {
        return true;
    }
    let mut is_found = false;
    for line in request.get_all(IF_NONE_MATCH) {
        let mut rest = line.as_bytes();
        while let Some(member) = next_member(rest) {
            let Some((tag, after)) = EntityTag::read(member) else {
                return false;
            };
            is_found |= stored.is_some_and(|stored| stored.is_weakly(tag));
            rest = after.trim_ascii_start();
            if !matches!(rest, [] | [b',', ..]) {
                return false;
            }
        }
    }
    is_found
}

/// What follows commas and white space (RFC 9110 §5.6.1.2), if anything.
fn next_member(text: &[u8]) -> Option<&[u8]> {
    let start = text
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    text.get(start..)
}

/// `If-Modified-Since` is false (RFC 9110 §13.1.3). A response that does not say when it was modified
/// was not after its `Date` (RFC 9111 §4.3.2).
fn is_unmodified(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(since) = dates::only(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let date = || dates::only(response, &DATE);
    last_modified(response)
        .or_else(date)
        .is_some_and(|modified| modified <= since)
}

fn copy(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) {
    for line in from.get_all(name) {
        to.append(name, line.clone());
    }
}

const PRECONDITIONS: [HeaderName; 6] = [
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

const NOT_MODIFIED: [HeaderName; 6] = [DATE, ETAG, CACHE_CONTROL, CONTENT_LOCATION, EXPIRES, VARY];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn is_not_modified(request: &[(&'static str, &str)], stored: &[(&'static str, &str)]) -> bool {
        let condition = evaluate(&headers(request), StatusCode::OK, &headers(stored));
        condition == Condition::NotModified
    }

    fn is_listed(lines: &[&str], etag: &str) -> bool {
        let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
        is_not_modified(&lines, &[("etag", etag)])
    }

    #[test]
    fn a_client_that_names_the_tag_has_the_response() {
        assert!(is_listed(&["\"a\""], "\"a\""));
        assert!(!is_listed(&["\"b\""], "\"a\""));
        assert!(!is_listed(&["\"A\""], "\"a\""));
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(is_listed(&["W/\"a\""], "\"a\""));
        assert!(is_listed(&["\"a\""], "W/\"a\""));
        assert!(is_listed(&["W/\"a\""], "W/\"a\""));
    }

    #[test]
    fn lists_are_read_over_all_lines_with_empty_members() {
        assert!(is_listed(&["\"1\", \"a\", \"2\""], "\"a\""));
        assert!(is_listed(&["\"1\",W/\"2\",\"a\""], "\"a\""));
        assert!(is_listed(&["\"1\"", "", ", ,\"a\" ,"], "\"a\""));
    }

    #[test]
    fn a_comma_in_a_tag_ends_none() {
        assert!(is_listed(&["\"a,b\""], "\"a,b\""));
        assert!(!is_listed(&["\"x,\",\"a\",\",y\""], "\",\""));
        assert!(is_listed(&["\"x,\",\"a\",\",y\""], "\"a\""));
    }

    #[test]
    fn a_star_alone_is_any_response() {
        assert!(is_listed(&[" * "], "\"a\""));
        assert!(is_not_modified(&[("if-none-match", "*")], &[]));
        assert!(!is_listed(&["*, \"a\""], "\"a\""));
        assert!(!is_listed(&["*", "*"], "\"a\""));
        assert!(!is_listed(&["\"*\""], "\"a\""));
    }

    #[test]
    fn a_list_with_a_fault_in_it_matches_nothing() {
        for line in [
            "a",
            "\"a\" \"b\"",
            "\"a\"b",
            "\"a\", b",
            "b, \"a\"",
            "w/\"a\"",
            "\"a\"; \"b\"",
            "\"a\", \"",
            "",
            ",",
        ] {
            assert!(!is_listed(&[line], "\"a\""), "{line}");
        }
        assert!(!is_listed(&["\"a\"", "x"], "\"a\""));
    }

    #[test]
    fn a_malformed_stored_tag_is_none() {
        for etag in ["a", "*", "\"a\", \"b\"", "W/a"] {
            assert!(!is_listed(&["\"a\"", "\"b\""], etag), "{etag}");
            assert!(!is_listed(&[etag], etag) || etag == "*", "{etag}");
        }
    }

    #[test]
    fn tags_come_before_dates() {
        let stored = [("etag", "\"a\""), ("last-modified", MONDAY)];
        let asks = |tag| {
            is_not_modified(
                &[("if-none-match", tag), ("if-modified-since", MONDAY)],
                &stored,
            )
        };
        assert!(!asks("\"b\""));
        assert!(!asks("malformed"));
        let later = [("if-none-match", "\"a\""), ("if-modified-since", SUNDAY)];
        assert!(is_not_modified(&later, &stored));
    }

    #[test]
    fn what_was_not_modified_since_is_not_sent() {
        let stored = [("last-modified", MONDAY), ("date", TUESDAY)];
        for (since, expected) in [(SUNDAY, false), (MONDAY, true), (TUESDAY, true)] {
            let is_spared = is_not_modified(&[("if-modified-since", since)], &stored);
            assert_eq!(is_spared, expected, "{since}");
        }
        let rfc_850 = "Monday, 06-Jan-20 00:00:00 GMT";
        assert!(is_not_modified(&[("if-modified-since", rfc_850)], &stored));
    }

    #[test]
    fn without_last_modified_a_response_is_as_old_as_its_date() {
        for (since, expected) in [(SUNDAY, false), (MONDAY, true)] {
            let asks = [("if-modified-since", since)];
            assert_eq!(is_not_modified(&asks, &[("date", MONDAY)]), expected);
        }
        assert!(!is_not_modified(&[("if-modified-since", MONDAY)], &[]));
    }

    #[test]
    fn dates_that_are_none_are_ignored() {
        let stored = [("last-modified", MONDAY)];
        for since in [
            "",
            "0",
            "yesterday",
            "Mon, 06 Jan 2020 00:00:00",
            "1578268800",
        ] {
            assert!(!is_not_modified(&[("if-modified-since", since)], &stored));
        }
        let twice = [
            ("if-modified-since", TUESDAY),
            ("if-modified-since", TUESDAY),
        ];
        assert!(!is_not_modified(&twice, &stored));
    }

    #[test]
    fn other_statuses_are_sent_whole() {
        let asks = headers(&[("if-none-match", "*")]);
        for status in [203, 204, 206, 301, 404, 410, 500] {
            let status = StatusCode::from_u16(status).unwrap();
            let condition = evaluate(&asks, status, &HeaderMap::new());
            assert_eq!(condition, Condition::Full, "{status}");
        }
    }

    #[test]
    fn preconditions_and_range_are_taken_with_all_their_lines() {
        let ours = [("accept", "a"), ("if", "x")];
        let taken = [
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"b\""),
            ("if-modified-since", MONDAY),
            ("if-match", "*"),
            ("if-unmodified-since", MONDAY),
            ("if-range", "\"a\""),
            ("range", "bytes=0-1"),
        ];
        let mut request = headers(&[&ours[..], &taken].concat());
        assert_eq!(take_preconditions(&mut request), headers(&taken));
        assert_eq!(request, headers(&ours));
    }

    #[test]
    fn a_validation_names_both_validators_as_they_were_sent() {
        let stored = headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]);
        let mut request = headers(&[("accept", "a")]);
        ask_whether_valid(&mut request, &stored);
        let expected = [
            ("accept", "a"),
            ("if-none-match", "W/\"a\""),
            ("if-modified-since", MONDAY),
        ];
        assert_eq!(request, headers(&expected));
    }

    #[test]
    fn what_is_no_validator_is_not_sent_back() {
        for stored in [
            &[("etag", "*")][..],
            &[("etag", "\"a\", \"b\"")],
            &[("etag", "\"a\""), ("etag", "\"a\"")],
            &[("last-modified", "0")],
            &[("date", MONDAY)],
        ] {
            let (mut request, stored) = (HeaderMap::new(), headers(stored));
            ask_whether_valid(&mut request, &stored);
            assert!(request.is_empty(), "{stored:?}");
        }
    }

    #[test]
    fn a_304_carries_what_the_rfc_says_and_no_more() {
        let carried = [
            ("date", MONDAY),
            ("etag", "\"a\""),
            ("cache-control", "max-age=1"),
            ("cache-control", "public"),
            ("content-location", "/a"),
            ("expires", MONDAY),
            ("vary", "a"),
        ];
        let others = [
            ("content-type", "text/plain"),
            ("content-length", "3"),
            ("set-cookie", "a=b"),
            ("last-modified", MONDAY),
        ];
        let stored = headers(&[&others[..], &carried].concat());
        assert_eq!(not_modified_headers(&stored), headers(&carried));
    }

    #[test]
    fn a_304_without_a_tag_says_when_the_response_was_modified() {
        let stored = headers(&[("last-modified", MONDAY), ("server", "x")]);
        let expected = headers(&[("last-modified", MONDAY)]);
        assert_eq!(not_modified_headers(&stored), expected);
    }

    proptest! {
        #[test]
        fn the_order_of_a_list_is_no_matter(
            mut tags in prop::collection::vec("(W/)?\"[a-c,]{0,2}\"", 1..5),
            stored in "(W/)?\"[a-c,]{0,2}\"",
        ) {
            let is_there = is_listed(&[&tags.join(", ")], &stored);
            tags.reverse();
            let lines: Vec<_> = tags.iter().map(String::as_str).collect();
            prop_assert_eq!(is_there, is_listed(&lines, &stored));
            let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
            let expected = tags.iter().any(|tag| opaque(tag) == opaque(&stored));
            prop_assert_eq!(is_there, expected);
        }

        #[test]
        fn a_tag_that_is_not_there_is_never_found(line in "[ -~]{0,20}") {
            let is_star = line.trim() == "*";
            prop_assert_eq!(is_listed(&[&line], "\"not printable: \u{fc}\""), is_star);
            prop_assert_eq!(is_listed(&[&line], "\"\u{fc}\""), is_star);
        }
    }

    const SUNDAY: &str = "Sun, 05 Jan 2020 00:00:00 GMT";
    const MONDAY: &str = "Mon, 06 Jan 2020 00:00:00 GMT";
    const TUESDAY: &str = "Tue, 07 Jan 2020 00:00:00 GMT";
}
