//! Finds cookies in what a client sent, byte for byte.

use http::{HeaderMap, header::COOKIE};

/// The values of the cookies of exactly this name, in all `Cookie` fields: HTTP/2 splits them (RFC
/// 9113 §8.2.3).
///
/// Nothing is decoded, folded or unquoted: to a browser `%5F%5FHost-id` and `__host-id` are other
/// cookies than `__Host-id`, which a neighbour may set where it may not set ours.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| value_of(pair, name.as_bytes()))
}

/// The value of this pair, if this is what stands before its first `=`.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // A header holds no other white space than SP and HTAB.
    pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")
}
