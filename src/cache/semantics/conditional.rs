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

/// Whether a stored response has something to be validated by.
pub(in crate::cache) fn has_validators(response: &HeaderMap) -> bool {
    EntityTag::of(response).is_some() || last_modified(response).is_some()
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
    dates::parse(lines::only(response, &LAST_MODIFIED)?)
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
    let Some(since) = lines::only(request, &IF_MODIFIED_SINCE).and_then(dates::parse) else {
        return false;
    };
    let date = || lines::only(response, &DATE).and_then(dates::parse);
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
