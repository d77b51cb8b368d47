//! Cache groups (RFC 9875).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    invalidate,
    structured::{self, Escaped},
};

/// The groups that a response belongs to, in order; none if the field cannot be read, as RFC 9651
/// §4.2 says. Each is a name within the response's origin, compared byte by byte.
pub(in crate::cache) fn of(response: &HeaderMap) -> Vec<String> {
    strings(response, &CACHE_GROUPS)
}

/// The groups of the request's origin that a response invalidates, each once (RFC 9875 §3). What
/// belongs to them is invalid, and nothing beyond: it does not cascade.
pub(in crate::cache) fn invalidated(
    method: &Method,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    if !invalidate::is_invalidating(method, status) {
        return Vec::new();
    }
    let mut groups = strings(response, &CACHE_GROUP_INVALIDATION);
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The strings of a list. Unknown parameters are ignored (RFC 9875 §2), and so is a field with a
/// member of another type (RFC 9651 §4.2).
fn strings(response: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = response.get_all(name).iter();
    let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
    let joined = lines.join(&b", "[..]);
    let strings = structured::strings(&joined).unwrap_or_default();
    // Strings of structured fields are ASCII.
    let texts = strings.into_iter().map(Escaped::unescaped);
    texts
        .filter_map(|text| String::from_utf8(text).ok())
        .collect()
}

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

#[cfg(test)]
mod tests {
    use super::*;

    fn response(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        let lines = lines.iter().map(|line| HeaderValue::from_static(line));
        lines
            .map(|line| (HeaderName::from_static(name), line))
            .collect()
    }

    fn groups(lines: &[&'static str]) -> Vec<String> {
        of(&response("cache-groups", lines))
    }

    #[test]
    fn groups_are_the_strings_of_all_lines() {
        assert_eq!(groups(&["\"a\", \"B c\"", "\"d\""]), ["a", "B c", "d"]);
        assert_eq!(groups(&[r#""a\"\\,b";x=1;y , "c";z"#]), ["a\"\\,b", "c"]);
        assert!(groups(&[]).is_empty());
        assert!(groups(&[""]).is_empty());
    }

    #[test]
    fn case_makes_another_group() {
        assert_eq!(groups(&["\"a\", \"A\""]), ["a", "A"]);
    }

    #[test]
    fn a_field_that_is_no_list_of_strings_names_none() {
        for line in [
            "a",
            "\"a\", b",
            "\"a\", 1",
            "\"a\",",
            "\"a\" \"b\"",
            "\"a",
            "(\"a\")",
            "\"a\";X",
            "\"a\", , \"b\"",
            ":YQ==:",
        ] {
            assert!(groups(&[line]).is_empty(), "{line}");
        }
        assert!(groups(&["\"a\"", "b"]).is_empty());
        assert!(groups(&["\"a\"", ""]).is_empty());
    }

    #[test]
    fn unsafe_methods_that_succeed_invalidate_groups_once_each() {
        let response = response("cache-group-invalidation", &["\"b\", \"a\"", "\"b\""]);
        let of = |method, status| invalidated(&method, status, &response);
        assert_eq!(of(Method::POST, StatusCode::OK), ["a", "b"]);
        assert!(of(Method::GET, StatusCode::OK).is_empty());
        assert!(of(Method::POST, StatusCode::CONFLICT).is_empty());
    }

    #[test]
    fn belonging_to_a_group_invalidates_nothing() {
        let response = response("cache-groups", &["\"a\""]);
        assert!(invalidated(&Method::POST, StatusCode::OK, &response).is_empty());
    }

    #[test]
    fn thirty_two_groups_of_thirty_two_characters_are_read() {
        let members: Vec<_> = (0..32).map(|n| format!("\"{n:032}\"")).collect();
        let line = HeaderValue::try_from(members.join(", ")).unwrap();
        let response = HeaderMap::from_iter([(CACHE_GROUPS, line)]);
        assert_eq!(of(&response).len(), 32);
    }

    proptest::proptest! {
        #[test]
        fn groups_are_those_of_another_parser(line in r#"( ?("[ab\\" ]{0,3}"|a|1)(;a|;A|;a=1)?[, ]{0,3}){0,4}"#) {
            let members: Option<sfv::List> = sfv::Parser::new(&line).parse().ok();
            let text = |entry: &sfv::ListEntry| match entry {
                sfv::ListEntry::Item(item) => {
                    item.bare_item.as_string().map(|text| text.as_str().to_owned())
                }
                sfv::ListEntry::InnerList(_) => None,
            };
            let expected = members.and_then(|members| members.iter().map(text).collect());
            let response = HeaderMap::from_iter([(CACHE_GROUPS, HeaderValue::try_from(&line).unwrap())]);
            let expected: Vec<String> = expected.unwrap_or_default();
            proptest::prop_assert_eq!(of(&response), expected);
        }
    }
}
