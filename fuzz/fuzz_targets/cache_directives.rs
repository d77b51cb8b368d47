//! No header makes the cache's rules panic, what forbids storing forbids it beside anything, and a
//! targeted field governs only if another parser takes it for a dictionary.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request::Parts};
use libfuzzer_sys::fuzz_target;
use tower_stash::{
    cache::{CacheRule, Profile},
    clock::Timestamp,
};

fuzz_target!(|lines: (&[u8], &[u8], &[u8])| {
    let values = [lines.0, lines.1, lines.2].map(HeaderValue::from_bytes);
    let [Ok(first), Ok(second), Ok(third)] = values else {
        return;
    };
    check_dictionary(&first);
    for name in &NAMES {
        check_rules(name, &first, &second, &third);
    }
});

fn check_dictionary(value: &HeaderValue) {
    let headers = HeaderMap::from_iter([(TARGETED, value.clone())]);
    let (is_targeted, max_age) = Profile::safe().governing_in(&headers);
    let theirs = sfv::Parser::new(value.as_bytes()).parse::<sfv::Dictionary>();
    if !is_targeted {
        return;
    }
    let theirs = theirs.expect("a dictionary");
    let integer = theirs.get("max-age").map(|entry| match entry {
        sfv::ListEntry::Item(item) => i64::from(item.bare_item.as_integer().expect("an integer")),
        sfv::ListEntry::InnerList(_) => panic!("a list is no time"),
    });
    let expected = integer.map(|seconds| Duration::from_secs(seconds.clamp(0, 1 << 31) as u64));
    assert_eq!(max_age, expected);
}

fn check_rules(name: &HeaderName, first: &HeaderValue, second: &HeaderValue, later: &HeaderValue) {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.append(name, first.clone());
    headers.append("cache-control", second.clone());
    let now = Timestamp::from_millis(1_800_000_000_000);
    let rule = CacheRule::new("fuzz").expect("a name");
    let rule = rule.with_profile(Profile::compliance().with_targeted([]));
    let asked = request(HeaderMap::new());
    let again = request(HeaderMap::from_iter([(CACHE_CONTROL, later.clone())]));
    let _ = rule.reuse_of(
        (&asked, &response),
        now,
        &again,
        now + Duration::from_secs(5),
    );
    if let Ok((_, lifetime)) = rule.freshness_of(&asked, &response, now) {
        assert!(lifetime <= Duration::from_secs(1 << 31));
    }
    let private = HeaderValue::from_static("private");
    response.headers_mut().append(CACHE_CONTROL, private);
    assert!(rule.freshness_of(&asked, &response, now).is_err());
}

fn request(headers: HeaderMap) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers;
    parts
}

const CACHE_CONTROL: HeaderName = HeaderName::from_static("cache-control");
const TARGETED: HeaderName = HeaderName::from_static("stash-cache-control");
static NAMES: [HeaderName; 6] = [
    CACHE_CONTROL,
    HeaderName::from_static("expires"),
    HeaderName::from_static("date"),
    HeaderName::from_static("age"),
    HeaderName::from_static("last-modified"),
    HeaderName::from_static("content-type"),
];
