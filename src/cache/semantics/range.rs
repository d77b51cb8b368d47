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
    let date = dates::parse(lines::only(response, &DATE)?)?;
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
