//! Which responses are worth compressing, and what a compressed one says of itself (RFC 9110 §8.4).

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
    },
};

use super::{entity_tag::EntityTag, lines};

/// Whether a response may be given to others in a coding of ours, and is of a type that this makes
/// smaller.
pub(in crate::cache) fn is_compressible(
    status: StatusCode,
    headers: &HeaderMap,
    forbids_transforming: bool,
) -> bool {
    let is_short = lines::only(headers, &CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .is_some_and(|length| length < SHORTEST);
    status == StatusCode::OK
        && !forbids_transforming
        && !is_short
        && !FIXED.iter().any(|name| headers.contains_key(name))
        && lines::only(headers, &CONTENT_TYPE).is_some_and(is_compressible_type)
}

/// Whether so many bytes of so many are worth the trouble of those who must unpack them.
pub(in crate::cache) fn is_worth_it(packed: usize, length: usize) -> bool {
    length >= SHORTEST && packed.saturating_mul(10) <= length.saturating_mul(9)
}

/// Says of a response that may be given in two codings that this depends on the request, and that its
/// tag is not of one of them (RFC 9110 §8.8.3.3, §12.5.5).
pub(in crate::cache) fn tell_of_codings(headers: &mut HeaderMap) {
    if let Some(weak) = EntityTag::of(headers).and_then(EntityTag::weakened) {
        headers.insert(ETAG, weak);
    }
    let varies = lines::members(headers, &VARY)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes()));
    if !varies {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Says that a body is compressed, and so long.
pub(in crate::cache) fn tell_of_gzip(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// How long the body is of a response that is stored compressed.
pub(in crate::cache) fn unpacked_length(stored: &HeaderMap) -> Option<usize> {
    let length = lines::only(stored, &CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn is_compressible_type(content_type: &HeaderValue) -> bool {
    let mut parts = content_type.as_bytes().split(|byte| *byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    let is_text = essence.starts_with(b"text/") && essence != b"text/event-stream";
    is_text || SUFFIXES.iter().any(|suffix| essence.ends_with(suffix)) || TYPES.contains(&&*essence)
}

/// The shortest body that is compressed.
const SHORTEST: usize = 1024;

/// Headers that speak of the very bytes of a body.
static FIXED: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

const SUFFIXES: [&[u8]; 3] = [b"+json", b"+xml", b"+yaml"];

/// Besides texts and those with such a suffix, as SVG has one.
const TYPES: [&[u8]; 16] = [
    b"application/json",
    b"application/javascript",
    b"application/x-javascript",
    b"application/ecmascript",
    b"application/xml",
    b"application/xml-dtd",
    b"application/yaml",
    b"application/toml",
    b"application/rtf",
    b"application/wasm",
    b"application/x-ndjson",
    b"application/vnd.ms-fontobject",
    b"font/otf",
    b"font/ttf",
    b"image/bmp",
    b"image/vnd.microsoft.icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn is_compressible_with(lines: &[(&'static str, &'static str)]) -> bool {
        is_compressible(StatusCode::OK, &headers(lines), false)
    }

    #[test]
    fn texts_and_what_is_like_them_are_compressible() {
        for content_type in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/json ; a=b",
            "application/problem+json",
            "image/svg+xml",
            "application/wasm",
        ] {
            assert!(is_compressible_with(&[("content-type", content_type)]));
        }
        for content_type in [
            "text/event-stream",
            "image/png",
            "application/octet-stream",
            "application/jsonx",
            "",
        ] {
            assert!(!is_compressible_with(&[("content-type", content_type)]));
        }
        assert!(!is_compressible_with(&[]));
    }

    #[test]
    fn what_speaks_of_the_very_bytes_is_left_alone() {
        let text = ("content-type", "text/plain");
        assert!(is_compressible_with(&[text]));
        for name in [
            "content-encoding",
            "content-range",
            "content-md5",
            "content-digest",
            "repr-digest",
            "digest",
        ] {
            assert!(!is_compressible_with(&[text, (name, "a")]), "{name}");
        }
        assert!(!is_compressible(StatusCode::OK, &headers(&[text]), true));
        assert!(!is_compressible(
            StatusCode::NOT_FOUND,
            &headers(&[text]),
            false
        ));
    }

    #[test]
    fn what_is_short_or_hardly_shrinks_is_left_alone() {
        let text = ("content-type", "text/plain");
        assert!(!is_compressible_with(&[text, ("content-length", "1023")]));
        assert!(is_compressible_with(&[text, ("content-length", "1024")]));
        assert!(!is_worth_it(100, 1023));
        assert!(is_worth_it(921, 1024));
        assert!(!is_worth_it(922, 1024));
    }

    #[test]
    fn what_has_two_codings_varies_and_has_a_weak_tag() {
        for (lines, expected) in [
            (&[][..], &[("vary", "Accept-Encoding")][..]),
            (
                &[("etag", "\"a\""), ("vary", "accept")],
                &[
                    ("etag", "W/\"a\""),
                    ("vary", "accept"),
                    ("vary", "Accept-Encoding"),
                ],
            ),
            (
                &[("etag", "W/\"a\""), ("vary", "a, accept-encoding")],
                &[("etag", "W/\"a\""), ("vary", "a, accept-encoding")],
            ),
        ] {
            let mut told = headers(lines);
            tell_of_codings(&mut told);
            assert_eq!(told, headers(expected));
        }
    }
}
