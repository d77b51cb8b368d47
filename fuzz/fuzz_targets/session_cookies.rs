//! A session's token is found among whatever others, and nothing is a token that is none.
#![no_main]

use std::{collections::HashSet, sync::LazyLock};

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use libfuzzer_sys::fuzz_target;
use tower_stash::session::{KeyRing, SessionCookie};

fuzz_target!(|others: &[u8]| {
    read(&PLAIN, &request(&[others]));
    read(&UNPREFIXED, &request(&[others]));
    if HeaderValue::from_bytes(others).is_err() {
        return;
    }
    // Whatever they are, nobody else can write what the keys verify.
    for cookie in [&*SIGNED, &*ENCRYPTED] {
        assert!(read(cookie, &request(&[others])).is_empty());
    }
    for cookie in [&*PLAIN, &*UNPREFIXED, &*SIGNED, &*ENCRYPTED] {
        let ours = pair(cookie);
        for lines in [
            vec![&[others, b"; ", &*ours].concat()[..]],
            vec![&[&*ours, b"; ", others].concat()[..]],
            vec![others, &*ours],
        ] {
            let found = read(cookie, &request(&lines));
            assert_eq!(found, expected(cookie, &lines));
        }
    }
});

/// The tokens that stand in these lines, found in another way.
fn expected(cookie: &SessionCookie, lines: &[&[u8]]) -> Vec<String> {
    let is_sealed = [&*SIGNED, &*ENCRYPTED].contains(&cookie);
    let mut tokens = Vec::new();
    for pair in lines.join(&b";"[..]).split(|byte| *byte == b';') {
        let mut halves = pair.trim_ascii().splitn(2, |byte| *byte == b'=');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            continue;
        };
        let is_token = value.len() == TOKEN.len()
            && value
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        if name == cookie.name().as_bytes() && is_token && !is_sealed {
            tokens.push(String::from_utf8(value.to_vec()).expect("ASCII"));
        }
    }
    if is_sealed {
        return vec![TOKEN.into()];
    }
    let mut seen = HashSet::new();
    tokens.retain(|token| seen.insert(token.clone()));
    if cookie.name().starts_with("__") && tokens.len() > 1 {
        return Vec::new();
    }
    tokens.truncate(4);
    tokens
}

/// What a client sends of the cookie with our token.
fn pair(cookie: &SessionCookie) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    cookie.issue_in(&mut headers, TOKEN).expect("a cookie");
    let line = headers[SET_COOKIE].as_bytes();
    let end = line.iter().position(|byte| *byte == b';');
    line[..end.expect("attributes")].to_vec()
}

fn read(cookie: &SessionCookie, request: &HeaderMap) -> Vec<String> {
    cookie.tokens_in(request).expect("a cookie")
}

/// Those of these lines that can be sent.
fn request(lines: &[&[u8]]) -> HeaderMap {
    lines
        .iter()
        .filter_map(|line| Some((COOKIE, HeaderValue::from_bytes(line).ok()?)))
        .collect()
}

fn keys() -> KeyRing {
    KeyRing::new([[b'k'; 32], [b'o'; 32]]).expect("keys")
}

static PLAIN: LazyLock<SessionCookie> = LazyLock::new(SessionCookie::default);
static UNPREFIXED: LazyLock<SessionCookie> =
    LazyLock::new(|| SessionCookie::default().with_name("id"));
static SIGNED: LazyLock<SessionCookie> =
    LazyLock::new(|| SessionCookie::default().with_signing_keys(keys()));
static ENCRYPTED: LazyLock<SessionCookie> =
    LazyLock::new(|| SessionCookie::default().with_encryption_keys(keys()));

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz-_ABCDEFGHIJKLMNOPQRSTUVWXYZ";
