//! Parts of a stored response (RFC 9110 §14).

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, IF_RANGE, RANGE},
};

use super::{conditional::last_modified, dates, entity_tag::EntityTag, lines};
use crate::clock::Timestamp;

/// What a request asks for of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Choice {
    /// All of it.
    Whole,
    /// A 206.
    Part(Part),
    /// A 416.
    Unsatisfiable,
}

/// Some bytes of a body, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Part {
    pub(in crate::cache) first: u64,
    /// Of the part itself, so never below the first one.
    pub(in crate::cache) last: u64,
    pub(in crate::cache) total: u64,
}

/// What a request asks for of a stored response with a body of this length.
///
/// Only one range of bytes is served; several, and all that cannot be read, get the whole (RFC 9110
/// §14.2: a server may ignore `Range`).
pub(in crate::cache) fn choose(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    total: u64,
) -> Choice {
    // RFC 9110 §14.2: no other method knows ranges, and a whole comes before its parts.
    if *method != Method::GET || status != StatusCode::OK {
        return Choice::Whole;
    }
    let Some(range) = lines::only(request, &RANGE).and_then(|line| Range::read(line.as_bytes()))
    else {
        return Choice::Whole;
    };
    if !is_for(request, response) {
        return Choice::Whole;
    }
    range.of(total)
}

/// The headers of the 416 for a response with a body of this length (RFC 9110 §15.5.17).
pub(in crate::cache) fn unsatisfiable_headers(response: &HeaderMap, total: u64) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    if let Some(date) = lines::only(response, &DATE) {
        headers.insert(DATE, date.clone());
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    insert(&mut headers, format_args!("bytes */{total}"));
    headers
}

impl Part {
    /// How many bytes, at least one.
    pub(in crate::cache) fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// These bytes of a body, without copying.
    pub(in crate::cache) fn of_body(self, body: &Bytes) -> Bytes {
        let start = usize::try_from(self.first).unwrap_or(usize::MAX);
        let end = usize::try_from(self.last).map_or(usize::MAX, |last| last.saturating_add(1));
        if start > end || end > body.len() {
            return Bytes::new();
        }
        body.slice(start..end)
    }

    /// Makes the headers of the whole those of the 206 (RFC 9110 §15.3.7).
    pub(in crate::cache) fn describe(self, headers: &mut HeaderMap) {
        for name in DIGESTS_OF_CONTENT {
            headers.remove(name);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.len()));
        let Self { first, last, total } = self;
        insert(headers, format_args!("bytes {first}-{last}/{total}"));
    }
}

/// One range of bytes as it is asked for (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

impl Range {
    fn read(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let unit = line.iter().position(|byte| *byte == b'=')?;
        let (unit, set) = line.split_at_checked(unit)?;
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut specs = set
            .strip_prefix(b"=")?
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|spec| !spec.is_empty());
        let spec = specs.next()?;
        if specs.next().is_some() {
            return None;
        }
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = spec.split_at_checked(dash)?;
        match (first, last.strip_prefix(b"-")?) {
            ([], suffix) => number(suffix).map(Self::Suffix),
            (first, []) => Some(Self::From {
                first: number(first)?,
                last: None,
            }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From {
                    first,
                    last: Some(last),
                })
            }
        }
    }

    fn of(self, total: u64) -> Choice {
        let (first, last) = match self {
            Self::From { first, last } => (first, last.unwrap_or(u64::MAX)),
            Self::Suffix(0) => return Choice::Unsatisfiable,
            // No 206 can say that it has nothing of nothing.
            Self::Suffix(_) if total == 0 => return Choice::Whole,
            Self::Suffix(len) => (total.saturating_sub(len), u64::MAX),
        };
        if first >= total {
            return Choice::Unsatisfiable;
        }
        let last = last.min(total.saturating_sub(1));
        Choice::Part(Part { first, last, total })
    }
}

/// What is beyond all numbers is beyond all bodies.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// Whether `If-Range`, if there is one, names this response by a strong validator (RFC 9110
/// §13.1.5): else its parts do not fit what the client has.
fn is_for(request: &HeaderMap, response: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(line) = lines::only(request, &IF_RANGE) else {
        return false;
    };
    if let Some(tag) = EntityTag::parse(line.as_bytes()) {
        return EntityTag::of(response).is_some_and(|stored| stored.is_strongly(tag));
    }
    let date = dates::parse(line);
    date.is_some() && date == strong_last_modified(response)
}

/// RFC 9110 §8.8.2.2: a response that was modified in the second before it left may have been
/// modified again in that second, and two clocks may have told the two times.
fn strong_last_modified(response: &HeaderMap) -> Option<Timestamp> {
    let modified = last_modified(response)?;
    let date = dates::only(response, &DATE)?;
    (date - modified >= CLOCKS_APART).then_some(modified)
}

fn insert(headers: &mut HeaderMap, content_range: std::fmt::Arguments<'_>) {
    let mut text = String::with_capacity(CONTENT_RANGE_ROOM);
    let is_written = text.write_fmt(content_range).is_ok();
    if let Ok(value) = HeaderValue::try_from(text)
        && is_written
    {
        headers.insert(CONTENT_RANGE, value);
    }
}

const CLOCKS_APART: std::time::Duration = std::time::Duration::from_secs(60);

/// Digests of what is sent, which is no longer the whole.
const DIGESTS_OF_CONTENT: [HeaderName; 2] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// For three numbers of 20 digits.
const CONTENT_RANGE_ROOM: usize = 70;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn chosen(range: &str, total: u64) -> Choice {
        let request = headers(&[("range", range)]);
        choose(
            &Method::GET,
            &request,
            StatusCode::OK,
            &HeaderMap::new(),
            total,
        )
    }

    fn part(first: u64, last: u64, total: u64) -> Choice {
        Choice::Part(Part { first, last, total })
    }

    fn is_part_for(if_range: &[&str], stored: &[(&'static str, &str)]) -> bool {
        let mut request = headers(&[("range", "bytes=0-1")]);
        for line in if_range {
            request.append(IF_RANGE, HeaderValue::from_str(line).unwrap());
        }
        let stored = headers(stored);
        let choice = choose(&Method::GET, &request, StatusCode::OK, &stored, 10);
        assert!(matches!(choice, Choice::Whole | Choice::Part(_)));
        choice != Choice::Whole
    }

    #[test]
    fn one_range_is_a_part() {
        assert_eq!(chosen("bytes=0-1", 10), part(0, 1, 10));
        assert_eq!(chosen("bytes=1-", 10), part(1, 9, 10));
        assert_eq!(chosen("bytes=-1", 10), part(9, 9, 10));
        assert_eq!(chosen("bytes=9-9", 10), part(9, 9, 10));
        assert_eq!(chosen("bytes=0-0", 1), part(0, 0, 1));
        assert_eq!(chosen("BYTES= 2-3 ,", 10), part(2, 3, 10));
        assert_eq!(
            chosen("bytes=00000000000000000000002-03", 10),
            part(2, 3, 10)
        );
    }

    #[test]
    fn a_part_ends_where_the_body_does() {
        assert_eq!(chosen("bytes=5-10", 10), part(5, 9, 10));
        assert_eq!(
            chosen(&format!("bytes=5-{}0", u64::MAX), 10),
            part(5, 9, 10)
        );
        assert_eq!(chosen("bytes=-11", 10), part(0, 9, 10));
        assert_eq!(chosen(&format!("bytes=-{}0", u64::MAX), 10), part(0, 9, 10));
    }

    #[test]
    fn what_is_beyond_the_body_is_unsatisfiable() {
        for (range, total) in [
            ("bytes=10-", 10),
            ("bytes=10-11", 10),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
            ("bytes=-0", 10),
            ("bytes=-0", 0),
            ("bytes=99999999999999999999999999-", u64::MAX),
        ] {
            assert_eq!(
                chosen(range, total),
                Choice::Unsatisfiable,
                "{range} of {total}"
            );
        }
    }

    #[test]
    fn the_last_of_nothing_is_the_whole_of_it() {
        assert_eq!(chosen("bytes=-1", 0), Choice::Whole);
    }

    #[test]
    fn several_ranges_other_units_and_faults_get_the_whole() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=0-1, 0-1",
            "lines=0-1",
            "bytes 0-1",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=2-1",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=1-2-3",
            "bytes=a-b",
            "bytes=0-1/10",
            "=0-1",
            " bytes =0-1",
            "",
        ] {
            assert_eq!(chosen(range, 10), Choice::Whole, "{range}");
        }
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
        let choice = choose(&Method::GET, &twice, StatusCode::OK, &twice, 10);
        assert_eq!(choice, Choice::Whole);
    }

    #[test]
    fn only_get_of_a_whole_has_parts() {
        let request = headers(&[("range", "bytes=0-1")]);
        let none = HeaderMap::new();
        for (method, status) in [
            (Method::HEAD, StatusCode::OK),
            (Method::POST, StatusCode::OK),
            (Method::GET, StatusCode::NOT_FOUND),
            (Method::GET, StatusCode::NO_CONTENT),
        ] {
            assert_eq!(choose(&method, &request, status, &none, 10), Choice::Whole);
        }
    }

    #[test]
    fn if_range_compares_tags_strongly() {
        let stored = [("etag", "\"a\"")];
        assert!(is_part_for(&["\"a\""], &stored));
        assert!(!is_part_for(&["\"b\""], &stored));
        assert!(!is_part_for(&["W/\"a\""], &stored));
        assert!(!is_part_for(&["\"a\""], &[("etag", "W/\"a\"")]));
        assert!(!is_part_for(&["W/\"a\""], &[("etag", "W/\"a\"")]));
        assert!(!is_part_for(&["\"a\""], &[]));
    }

    #[test]
    fn if_range_knows_no_lists_stars_and_faults() {
        let stored = [("etag", "\"a\"")];
        for line in ["\"a\", \"b\"", "*", "a", ""] {
            assert!(!is_part_for(&[line], &stored), "{line}");
        }
        assert!(!is_part_for(&["\"a\"", "\"a\""], &stored));
    }

    #[test]
    fn if_range_compares_dates_exactly() {
        let stored = [("last-modified", NOON), ("date", A_MINUTE_LATER)];
        assert!(is_part_for(&[NOON], &stored));
        assert!(!is_part_for(&[A_MINUTE_LATER], &stored));
        assert!(!is_part_for(&["Mon, 06 Jan 2020 11:59:59 GMT"], &stored));
        assert!(!is_part_for(&[A_MINUTE_LATER], &[("date", A_MINUTE_LATER)]));
    }

    #[test]
    fn a_date_is_no_strong_validator_while_it_is_new() {
        let date = "Mon, 06 Jan 2020 12:00:59 GMT";
        assert!(!is_part_for(
            &[NOON],
            &[("last-modified", NOON), ("date", date)]
        ));
        assert!(!is_part_for(&[NOON], &[("last-modified", NOON)]));
        let backwards = [("last-modified", A_MINUTE_LATER), ("date", NOON)];
        assert!(!is_part_for(&[A_MINUTE_LATER], &backwards));
    }

    #[test]
    fn if_range_without_range_is_no_matter() {
        let request = headers(&[("if-range", "\"a\"")]);
        let choice = choose(&Method::GET, &request, StatusCode::OK, &request, 10);
        assert_eq!(choice, Choice::Whole);
    }

    #[test]
    fn a_206_has_the_headers_of_the_whole_and_says_which_part_it_is() {
        let mut headers_of_whole = headers(&[
            ("content-length", "10"),
            ("content-type", "text/plain"),
            ("etag", "\"a\""),
            ("content-md5", "x"),
            ("content-digest", "x"),
            ("repr-digest", "x"),
        ]);
        let part = Part {
            first: 2,
            last: 5,
            total: 10,
        };
        part.describe(&mut headers_of_whole);
        let expected = headers(&[
            ("content-length", "4"),
            ("content-type", "text/plain"),
            ("etag", "\"a\""),
            ("repr-digest", "x"),
            ("content-range", "bytes 2-5/10"),
        ]);
        assert_eq!(headers_of_whole, expected);
    }

    #[test]
    fn a_416_says_how_long_the_whole_is() {
        let stored = headers(&[("date", NOON), ("etag", "\"a\""), ("content-length", "10")]);
        let expected = headers(&[
            ("date", NOON),
            ("content-length", "0"),
            ("content-range", "bytes */10"),
        ]);
        assert_eq!(unsatisfiable_headers(&stored, 10), expected);
        let longest = unsatisfiable_headers(&stored, u64::MAX);
        assert_eq!(longest[CONTENT_RANGE], format!("bytes */{}", u64::MAX));
    }

    #[test]
    fn a_part_of_another_body_is_empty() {
        let part = Part {
            first: 2,
            last: 5,
            total: 6,
        };
        assert_eq!(part.of_body(&Bytes::from_static(b"012345")), "2345");
        assert_eq!(part.of_body(&Bytes::from_static(b"01234")), "");
        let huge = Part {
            first: 0,
            last: u64::MAX,
            total: u64::MAX,
        };
        assert_eq!(huge.of_body(&Bytes::from_static(b"01234")), "");
        assert_eq!(huge.len(), u64::MAX);
    }

    proptest! {
        #[test]
        fn parts_are_those_of_a_slice(
            first in prop::option::of(0..20_usize),
            last in prop::option::of(0..20_usize),
            len in 0..15_usize,
        ) {
            let text = |bound: Option<usize>| bound.map(|bound| bound.to_string()).unwrap_or_default();
            let choice = chosen(&format!("bytes={}-{}", text(first), text(last)), len as u64);
            let body: Bytes = (0..15_u8).take(len).collect();
            let expected = match (first, last) {
                (None, None) => None,
                (Some(first), Some(last)) if first > last => None,
                (None, Some(1..)) if len == 0 => None,
                (Some(first), last) => Some(first..last.map_or(len, |last| len.min(last + 1))),
                (None, Some(suffix)) => Some(len.saturating_sub(suffix)..len),
            };
            match (choice, expected) {
                (Choice::Whole, None) => {}
                (Choice::Unsatisfiable, Some(bytes)) => prop_assert!(bytes.is_empty() || bytes.start >= len),
                (Choice::Part(part), Some(bytes)) => {
                    prop_assert!(!bytes.is_empty());
                    prop_assert_eq!(part.len(), bytes.len() as u64);
                    prop_assert_eq!(part.of_body(&body), body.slice(bytes));
                }
                (choice, expected) => prop_assert!(false, "{:?} {:?}", choice, expected),
            }
        }

        #[test]
        fn no_part_leaves_its_body(range in "(bytes=)?[-0-9, ]{0,30}", total in any::<u64>()) {
            if let Choice::Part(part) = chosen(&range, total) {
                prop_assert!(part.first <= part.last && part.last < total);
                prop_assert_eq!(part.total, total);
            }
        }
    }

    const NOON: &str = "Mon, 06 Jan 2020 12:00:00 GMT";
    const A_MINUTE_LATER: &str = "Mon, 06 Jan 2020 12:01:00 GMT";
}
