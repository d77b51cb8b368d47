//! A cookie is found among whatever others, and once only.
#![no_main]

use http::{HeaderValue, Request, header::COOKIE, request::Parts};
use libfuzzer_sys::fuzz_target;
use tower_stash::{
    key::KeyParts,
    policy::{KeyExtractor as _, Resolved, cookie},
};

fuzz_target!(|others: &[u8]| {
    let alone = key(&[b"sid=abc"]);
    assert!(alone.is_some());
    key(&[others]);
    if HeaderValue::from_bytes(others).is_err() {
        return;
    }
    let has_another = others
        .split(|byte| *byte == b';')
        .any(|pair| pair.trim_ascii().starts_with(b"sid="));
    for lines in [
        vec![&[others, b"; sid=abc"].concat()[..]],
        vec![&[b"sid=abc; ", others].concat()[..]],
        vec![others, b"sid=abc"],
    ] {
        let expected = if has_another { None } else { alone.clone() };
        assert_eq!(key(&lines), expected);
    }
});

/// The key of a request with those of these lines that can be sent.
fn key(lines: &[&[u8]]) -> Option<KeyParts> {
    let mut key = KeyParts::new();
    let resolved = cookie("sid").or_skip().resolve(&request(lines), &mut key);
    (resolved == Resolved::Key).then_some(key)
}

fn request(lines: &[&[u8]]) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    for line in lines {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            request.headers.append(COOKIE, line);
        }
    }
    request
}
