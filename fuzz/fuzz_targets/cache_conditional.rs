//! A 304 is given only to a client that names the stored response, found in another way; and parts
//! are parts of it.
#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use tower_stash::cache::CacheRule;

type Lines<'a> = Vec<(u8, &'a [u8])>;

fuzz_target!(|input: (bool, Lines, Lines, &[u8])| {
    let (is_head, asked, stored, body) = input;
    let mut request = Request::new(());
    *request.method_mut() = if is_head { Method::HEAD } else { Method::GET };
    *request.headers_mut() = headers(&asked, &ASKED);
    let mut response = Response::new(Bytes::copy_from_slice(body));
    *response.headers_mut() = headers(&stored, &STORED);

    let answer = CacheRule::answer_from(&request, &response);
    let (asked, stored) = (request.headers(), response.headers());
    if asked.contains_key(header::IF_NONE_MATCH) {
        let is_spared = answer.status() == StatusCode::NOT_MODIFIED;
        assert_eq!(is_spared, is_listed(asked, stored));
    }
    match answer.status() {
        StatusCode::OK => assert_eq!(answer.body(), response.body()),
        StatusCode::PARTIAL_CONTENT => {
            assert!(!is_head && !answer.body().is_empty());
            let told = answer.headers()[header::CONTENT_RANGE]
                .to_str()
                .expect("ASCII");
            let told = told.strip_prefix("bytes ").expect("bytes");
            let (part, total) = told.split_once('/').expect("a total");
            assert_eq!(total, body.len().to_string());
            let (first, last) = part.split_once('-').expect("two bounds");
            let first: usize = first.parse().expect("a number");
            let last: usize = last.parse().expect("a number");
            assert_eq!(answer.body(), &body[first..=last]);
            let length = answer.body().len().to_string();
            assert_eq!(answer.headers()[header::CONTENT_LENGTH], length);
        }
        StatusCode::NOT_MODIFIED => assert!(answer.body().is_empty()),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            assert!(!is_head && asked.contains_key(header::RANGE));
            let told = format!("bytes */{}", body.len());
            assert_eq!(answer.headers()[header::CONTENT_RANGE], told);
        }
        status => panic!("{status}"),
    }
});

/// Whether `If-None-Match` names the tag of the response, or any.
fn is_listed(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let lines: Vec<_> = asked.get_all(header::IF_NONE_MATCH).iter().collect();
    if let [line] = &lines[..]
        && line.as_bytes().trim_ascii() == b"*"
    {
        return true;
    }
    let etags: Vec<_> = stored.get_all(header::ETAG).iter().collect();
    let stored = match &etags[..] {
        [etag] => tags(etag.as_bytes().trim_ascii()).filter(|tags| {
            tags.len() == 1
                && !etag.as_bytes().trim_ascii().starts_with(b",")
                && !etag.as_bytes().trim_ascii().ends_with(b",")
        }),
        _ => None,
    };
    let joined = lines
        .iter()
        .map(|line| line.as_bytes())
        .collect::<Vec<_>>()
        .join(&b","[..]);
    match (tags(&joined), stored) {
        (Some(listed), Some(stored)) => listed.contains(&stored[0]),
        _ => false,
    }
}

/// The tags of a list without their weakness; none if there is a fault in it. Bytes are taken one by
/// one, in the states of an automaton.
fn tags(list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tags = Vec::new();
    let mut state = State::Between;
    for byte in list {
        state = match (state, *byte) {
            (State::Between, b' ' | b'\t' | b',') => State::Between,
            (State::Between, b'W') => State::Weak,
            (State::Weak, b'/') => State::Slash,
            (State::Between | State::Slash, b'"') => State::Inside(Vec::new()),
            (State::Inside(tag), b'"') => {
                tags.push(tag);
                State::After
            }
            (State::Inside(mut tag), byte @ (0x21..=0x7E | 0x80..)) => {
                tag.push(byte);
                State::Inside(tag)
            }
            (State::After, b' ' | b'\t') => State::After,
            (State::After, b',') => State::Between,
            _ => return None,
        };
    }
    matches!(state, State::Between | State::After).then_some(tags)
}

enum State {
    Between,
    Weak,
    Slash,
    Inside(Vec<u8>),
    After,
}

fn headers(lines: &[(u8, &[u8])], names: &[HeaderName]) -> HeaderMap {
    let lines = lines.iter().filter_map(|(name, line)| {
        let name = names[usize::from(*name) % names.len()].clone();
        Some((name, HeaderValue::from_bytes(line).ok()?))
    });
    lines.collect()
}

const ASKED: [HeaderName; 4] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::IF_RANGE,
];

const STORED: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::DATE];
