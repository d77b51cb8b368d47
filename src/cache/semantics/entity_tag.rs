//! Entity tags (RFC 9110 §8.8.3).

use http::{HeaderMap, HeaderValue, header::ETAG};

use super::lines;

/// An entity tag as it stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntityTag<'a> {
    is_weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// The tag of a response; none if it has several, or one that is malformed. A malformed one must
    /// not come back in `If-None-Match`, where `*` or `"a", "b"` would mean something else.
    pub(super) fn of(response: &'a HeaderMap) -> Option<Self> {
        Self::parse(lines::only(response, &ETAG)?.as_bytes())
    }

    /// The tag that is all of this value.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::read(value.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// The tag at the beginning of this text, and what follows it.
    pub(super) fn read(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (is_weak, tag) = match text.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, text),
        };
        let inside = tag.strip_prefix(b"\"")?;
        let len = inside.iter().take_while(|byte| is_in_tag(**byte)).count();
        let rest = inside.get(len..)?.strip_prefix(b"\"")?;
        let opaque = tag.get(..len + 2)?;
        Some((Self { is_weak, opaque }, rest))
    }

    pub(super) fn is_strong(self) -> bool {
        !self.is_weak
    }

    /// The same tag as a weak one; `None` if it is weak.
    pub(super) fn weakened(self) -> Option<HeaderValue> {
        if self.is_weak {
            return None;
        }
        HeaderValue::from_bytes(&[b"W/", self.opaque].concat()).ok()
    }

    /// RFC 9110 §8.8.3.2.
    pub(super) fn is_strongly(self, other: Self) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }

    /// RFC 9110 §8.8.3.2.
    pub(super) fn is_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// `etagc`.
fn is_in_tag(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn tags_compare_as_the_table_of_the_rfc_says() {
        for (one, other, is_strongly, is_weakly) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
        ] {
            for (one, other) in [(tag(one), tag(other)), (tag(other), tag(one))] {
                assert_eq!(one.is_strongly(other), is_strongly, "{one:?} {other:?}");
                assert_eq!(one.is_weakly(other), is_weakly, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for text in [
            "",
            "a",
            "*",
            "\"",
            "\"a",
            "a\"",
            "w/\"a\"",
            "W\"a\"",
            "W\\\"a\"",
            "W/a",
            "\"a\"b",
            "\"a\" ; b",
            "\"a b\"",
            "\"a\tb\"",
            "\"a\", \"b\"",
            "W/ \"a\"",
            "'a'",
        ] {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(EntityTag::parse(b"\"\x7f\""), None);
    }

    #[test]
    fn tags_may_be_empty_and_hold_commas_backslashes_and_any_other_byte() {
        for text in [
            "\"\"",
            "W/\"\"",
            "\"a,b\"",
            "\"a\\\"",
            "\"\u{fc}\"",
            " \"a\" ",
            "\"*\"",
        ] {
            assert!(EntityTag::parse(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn a_response_with_two_tags_has_none() {
        let mut response = HeaderMap::new();
        response.append(ETAG, HeaderValue::from_static("\"a\""));
        assert!(EntityTag::of(&response).is_some());
        response.append(ETAG, HeaderValue::from_static("\"b\""));
        assert_eq!(EntityTag::of(&response), None);
    }
}
