//! Two requests choose the same response if and only if what it varies on has the same values in
//! both, found in another way; and a handler sees what chooses.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_stash::cache::CacheRule;

type Lines<'a> = Vec<(u8, &'a [u8])>;

fuzz_target!(|input: (Vec<&[u8]>, Lines, Lines)| {
    let (vary, one, other) = input;
    let response = vary
        .iter()
        .filter_map(|line| Some((VARY, HeaderValue::from_bytes(line).ok()?)))
        .collect();
    let (one, other) = (request(&one), request(&other));

    let selections = [&one, &other].map(|request| CacheRule::selection_of(&response, request));
    let names = names(&response);
    assert_eq!(
        selections.each_ref().map(Option::is_some),
        [names.is_some(); 2]
    );
    let Some(names) = names else {
        return;
    };
    let values = |request: &HeaderMap| -> Vec<_> {
        let values = names.iter().map(|name| value(request, name));
        values.collect()
    };
    let [of_one, of_other] = selections;
    if !names.contains(&"accept-encoding".to_owned()) {
        assert_eq!(of_one == of_other, values(&one) == values(&other));
    }

    let mut forwarded = one;
    CacheRule::normalise_encodings(&mut forwarded);
    assert_eq!(CacheRule::selection_of(&response, &forwarded), of_one);
});

/// The names, sorted; none if the response can be chosen by nothing.
fn names(response: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for line in response.get_all(VARY) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = String::from_utf8_lossy(member.trim_ascii()).to_lowercase();
            if member.is_empty() {
                continue;
            }
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_refused = ["*", "cookie", "authorization"].contains(&&*member);
            if is_refused || !member.bytes().all(is_token) {
                return None;
            }
            names.push(member);
        }
    }
    names.sort();
    names.dedup();
    (names.len() <= 8).then_some(names)
}

/// What a header says, lines joined, without the space at commas outside of strings.
fn value(request: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lines: Vec<_> = request
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let mut value = Vec::new();
    let mut member = Vec::new();
    let mut string = None;
    for byte in lines.join(&b", "[..]).trim_ascii() {
        match (string, byte) {
            (None, b',') => {
                value.extend_from_slice(member.trim_ascii());
                value.push(b',');
                member.clear();
                continue;
            }
            (None, b'"') => string = Some(false),
            (Some(false), b'"') => string = None,
            (Some(is_escaped), byte) => string = Some(!is_escaped && *byte == b'\\'),
            (None, _) => {}
        }
        member.push(*byte);
    }
    value.extend_from_slice(if string.is_some() {
        member.trim_ascii_start()
    } else {
        member.trim_ascii()
    });
    if name == "accept-language" {
        value.make_ascii_lowercase();
    }
    Some(value)
}

fn request(lines: &[(u8, &[u8])]) -> HeaderMap {
    let lines = lines.iter().filter_map(|(name, line)| {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        Some((
            HeaderName::from_static(name),
            HeaderValue::from_bytes(line).ok()?,
        ))
    });
    lines.collect()
}

const VARY: HeaderName = http::header::VARY;

const NAMES: [&str; 4] = ["a", "b", "accept-language", "accept-encoding"];
