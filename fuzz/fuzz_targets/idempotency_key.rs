//! What another parser takes for a string is a key, and nothing else in quotes is.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_stash::idempotency::KeySyntax;

fuzz_target!(|line: &[u8]| {
    check(line);
    // Most of what has no quotes is no string.
    check(&[b"\"", line, b"\""].concat());
    check(&[b"\"key\";", line].concat());
});

fn check(line: &[u8]) {
    let Ok(line) = HeaderValue::from_bytes(line) else {
        return;
    };
    let headers = HeaderMap::from_iter([(NAME, line.clone())]);
    let value = line.as_bytes().trim_ascii();
    let item = value.starts_with(b"\"").then(|| string(value)).flatten();

    let expected = item.clone().filter(|item| !item.has_parameters);
    let strict = KeySyntax::Strict.key_in(&headers, &NAME).ok().flatten();
    assert_eq!(strict, expected.map(|item| item.text));

    let is_raw = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',');
    let raw = (1..=255).contains(&value.len()) && value.iter().all(is_raw);
    let raw = raw.then(|| String::from_utf8(value.to_vec()).expect("ASCII"));
    let lenient = KeySyntax::Lenient.key_in(&headers, &NAME).ok().flatten();
    assert_eq!(lenient, item.map(|item| item.text).or(raw));
}

#[derive(Clone)]
struct Item {
    text: String,
    has_parameters: bool,
}

/// The string that another parser finds here, if it may be a key.
fn string(value: &[u8]) -> Option<Item> {
    let item: sfv::Item = sfv::Parser::new(value).parse().ok()?;
    let text = item.bare_item.as_string()?.as_str().to_owned();
    let is_within = (1..=255).contains(&text.len()) && text.trim() == text;
    is_within.then_some(Item {
        text,
        has_parameters: !item.params.is_empty(),
    })
}

const NAME: HeaderName = HeaderName::from_static("idempotency-key");
