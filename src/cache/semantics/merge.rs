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
