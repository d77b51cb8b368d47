//! Field lines, one or many (RFC 9110 §5.3, §5.6.1).

use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a field that is no list, unless it stands there several times: then nobody knows
/// which line counts (RFC 9110 §5.3).
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// The members of a list of all lines, trimmed; empty ones are skipped (RFC 9110 §5.6.1.2). It is
/// for lists whose members hold no quoted commas.
pub(super) fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, VARY};

    use super::*;

    #[test]
    fn a_field_that_stands_there_twice_has_no_value() {
        let mut headers = HeaderMap::new();
        assert_eq!(only(&headers, &ETAG), None);
        headers.append(ETAG, HeaderValue::from_static("\"a\""));
        assert_eq!(only(&headers, &ETAG).unwrap(), "\"a\"");
        headers.append(ETAG, HeaderValue::from_static("\"a\""));
        assert_eq!(only(&headers, &ETAG), None);
    }

    #[test]
    fn members_of_all_lines_come_in_order_without_space_and_empty_ones() {
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static(" a ,\tb,, "));
        headers.append(VARY, HeaderValue::from_static(""));
        headers.append(VARY, HeaderValue::from_static("c"));
        let found: Vec<_> = members(&headers, &VARY).collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }
}
