//! What a 304 changes of a stored response (RFC 9111 §3.2, §4.3.4).

use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED},
};

use super::{conditional::last_modified, entity_tag::EntityTag, hygiene};

/// Of which response a 304 speaks that answers the validation of a stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Subject {
    /// The stored one: the 304 updates it.
    Stored,
    /// Another one, by its validators: it must update nothing (RFC 9111 §4.3.4).
    Other,
}

/// Compares the validators of a 304 with those of the stored response whose validation it answers.
///
/// * A strong tag must be the stored one.
/// * Without it, a weak tag and `Last-Modified` must be the stored ones, as far as they are there.
/// * A 304 without any is of the stored one: the request named no other. RFC 9111 §4.3.4 says so only
///   where the stored one has none either, since a cache may have several.
pub(in crate::cache) fn subject(stored: &HeaderMap, not_modified: &HeaderMap) -> Subject {
    if is_same_tag(stored, not_modified) && is_same_date(stored, not_modified) {
        Subject::Stored
    } else {
        Subject::Other
    }
}

/// Takes over the headers of a 304 (RFC 9111 §3.2): each field takes the place of the stored one of
/// its name. `dropped` are the names that are not stored besides those that never are, as in
/// [`hygiene::stored`].
///
/// What describes the stored body stays, as do its validators.
pub(in crate::cache) fn update(
    stored: &mut HeaderMap,
    not_modified: &HeaderMap,
    dropped: &[HeaderName],
) {
    let fresh = hygiene::stored(not_modified, dropped);
    for name in fresh.keys().filter(|name| !is_of_body(name)) {
        stored.remove(name);
        for line in fresh.get_all(name) {
            stored.append(name, line.clone());
        }
    }
}

fn is_same_tag(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    if !not_modified.contains_key(ETAG) {
        return true;
    }
    let (Some(stored), Some(told)) = (EntityTag::of(stored), EntityTag::of(not_modified)) else {
        return false;
    };
    if told.is_strong() {
        stored.is_strongly(told)
    } else {
        stored.is_weakly(told)
    }
}

fn is_same_date(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    // A strong tag decides alone.
    if EntityTag::of(not_modified).is_some_and(EntityTag::is_strong) {
        return true;
    }
    if !not_modified.contains_key(LAST_MODIFIED) {
        return true;
    }
    let told = last_modified(not_modified);
    told.is_some() && told == last_modified(stored)
}

/// Whether a field says something of the body that is stored, or of that of the 304, which has none.
fn is_of_body(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ETAG].contains(name)
        || matches!(name.as_str(), "content-md5" | "content-digest")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn is_of_stored(
        stored: &[(&'static str, &'static str)],
        not_modified: &[(&'static str, &'static str)],
    ) -> bool {
        subject(&headers(stored), &headers(not_modified)) == Subject::Stored
    }

    fn updated(
        stored: &[(&'static str, &'static str)],
        not_modified: &[(&'static str, &'static str)],
    ) -> HeaderMap {
        let mut stored = headers(stored);
        update(&mut stored, &headers(not_modified), &[]);
        stored
    }

    #[test]
    fn a_strong_tag_is_the_stored_one_or_of_another() {
        let stored = [("etag", "\"a\""), ("last-modified", MONDAY)];
        assert!(is_of_stored(&stored, &[("etag", "\"a\"")]));
        assert!(!is_of_stored(&stored, &[("etag", "\"b\"")]));
        assert!(!is_of_stored(&[("etag", "W/\"a\"")], &[("etag", "\"a\"")]));
        assert!(!is_of_stored(&[], &[("etag", "\"a\"")]));
    }

    #[test]
    fn a_strong_tag_decides_alone() {
        let told = [("etag", "\"a\""), ("last-modified", SUNDAY)];
        let stored = [("etag", "\"a\""), ("last-modified", MONDAY)];
        assert!(is_of_stored(&stored, &told));
        let other = [("etag", "\"b\""), ("last-modified", SUNDAY)];
        assert!(!is_of_stored(&other, &told));
    }

    #[test]
    fn weak_validators_must_all_be_the_stored_ones() {
        let stored = [("etag", "W/\"a\""), ("last-modified", MONDAY)];
        assert!(is_of_stored(&stored, &stored));
        assert!(is_of_stored(&stored, &[("etag", "W/\"a\"")]));
        assert!(is_of_stored(&stored, &[("last-modified", MONDAY)]));
        assert!(!is_of_stored(&stored, &[("last-modified", SUNDAY)]));
        let told = [("etag", "W/\"a\""), ("last-modified", SUNDAY)];
        assert!(!is_of_stored(&stored, &told));
        let told = [("etag", "W/\"b\""), ("last-modified", MONDAY)];
        assert!(!is_of_stored(&stored, &told));
        assert!(is_of_stored(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")]));
        assert!(!is_of_stored(
            &[("etag", "\"a\"")],
            &[("last-modified", MONDAY)]
        ));
    }

    #[test]
    fn malformed_validators_are_those_of_another() {
        for told in [
            &[("etag", "a")][..],
            &[("etag", "\"a\""), ("etag", "\"a\"")],
            &[("last-modified", "0")],
        ] {
            assert!(!is_of_stored(told, told), "{told:?}");
        }
    }

    #[test]
    fn a_304_without_validators_is_of_the_response_that_was_asked_about() {
        assert!(is_of_stored(&[("etag", "\"a\"")], &[("date", MONDAY)]));
        assert!(is_of_stored(&[], &[]));
    }

    #[test]
    fn fields_of_a_304_take_the_place_of_the_stored_ones() {
        let stored = [
            ("cache-control", "max-age=1"),
            ("cache-control", "public"),
            ("x-kept", "1"),
            ("date", SUNDAY),
            ("content-type", "text/plain"),
            ("set-cookie", "a=b"),
        ];
        let told = [
            ("cache-control", "max-age=2"),
            ("date", MONDAY),
            ("content-type", "text/html"),
            ("set-cookie", "a=c"),
            ("set-cookie", "d=e"),
            ("x-new", "2"),
        ];
        let mut expected = headers(&told);
        expected.insert("x-kept", HeaderValue::from_static("1"));
        assert_eq!(updated(&stored, &told), expected);
    }

    #[test]
    fn what_describes_the_stored_body_is_kept() {
        for name in [
            "content-length",
            "content-encoding",
            "content-range",
            "content-md5",
            "content-digest",
            "etag",
        ] {
            assert_eq!(
                updated(&[(name, "1")], &[(name, "2")]),
                headers(&[(name, "1")])
            );
            assert_eq!(updated(&[], &[(name, "2")]), HeaderMap::new(), "{name}");
        }
    }

    #[test]
    fn what_is_not_stored_updates_nothing() {
        let told = [
            ("connection", "x-hop"),
            ("x-hop", "2"),
            ("keep-alive", "2"),
            ("proxy-authenticate", "2"),
            ("transfer-encoding", "chunked"),
            ("age", "2"),
        ];
        assert_eq!(
            updated(&[("x-hop", "1")], &told),
            headers(&[("x-hop", "1")])
        );
    }

    #[test]
    fn what_is_to_be_dropped_updates_nothing() {
        let mut stored = headers(&[("a", "1")]);
        let told = headers(&[("a", "2"), ("set-cookie", "x=y")]);
        update(&mut stored, &told, &[http::header::SET_COOKIE]);
        assert_eq!(stored, headers(&[("a", "2")]));
    }

    const SUNDAY: &str = "Sun, 05 Jan 2020 00:00:00 GMT";
    const MONDAY: &str = "Mon, 06 Jan 2020 00:00:00 GMT";
}
