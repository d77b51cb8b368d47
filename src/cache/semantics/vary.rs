//! Which request headers choose between responses (RFC 9111 §4.1).

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, VARY},
};

use super::{accept_encoding, lines};
use crate::key::KeyParts;

/// The names of the request headers that choose between the responses of a URL: sorted, each once,
/// at most [`MAX_NAMES`](Self::MAX_NAMES).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct VaryNames {
    names: Vec<HeaderName>,
}

/// Why no stored response could be chosen by a `Vary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum VaryProblem {
    /// `*`: what chooses is in no header.
    Star,
    /// `Cookie` or `Authorization`: nearly each request would have a response of its own.
    Credentials,
    /// More than [`VaryNames::MAX_NAMES`].
    TooMany,
    /// Something is no name.
    Malformed,
}

impl VaryNames {
    pub(in crate::cache) const MAX_NAMES: usize = 8;

    /// What a response varies on, by all its lines.
    pub(in crate::cache) fn read(response: &HeaderMap) -> Result<Self, VaryProblem> {
        let mut found = Self::default();
        for member in lines::members(response, &VARY) {
            if member == b"*" {
                return Err(VaryProblem::Star);
            }
            let name = HeaderName::from_bytes(member).map_err(|_| VaryProblem::Malformed)?;
            found.insert(name)?;
        }
        Ok(found)
    }

    /// These names, such as were stored.
    #[cfg(test)]
    pub(in crate::cache) fn from_names(
        names: impl IntoIterator<Item = HeaderName>,
    ) -> Result<Self, VaryProblem> {
        let mut found = Self::default();
        for name in names {
            found.insert(name)?;
        }
        Ok(found)
    }

    pub(in crate::cache) fn iter(&self) -> impl ExactSizeIterator<Item = &HeaderName> {
        self.names.iter()
    }

    /// Appends what chooses in this request: how many names, then each with its value. Two requests
    /// append the same if and only if each of the headers has the same value in both.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::cache) fn append_selection(&self, request: &HeaderMap, parts: &mut KeyParts) {
        append_selection(&self.names, request, parts);
    }

    fn insert(&mut self, name: HeaderName) -> Result<(), VaryProblem> {
        if name.as_str() == "*" {
            return Err(VaryProblem::Star);
        }
        if name == COOKIE || name == AUTHORIZATION {
            return Err(VaryProblem::Credentials);
        }
        let Err(position) = self.position(&name) else {
            return Ok(());
        };
        if self.names.len() >= Self::MAX_NAMES {
            return Err(VaryProblem::TooMany);
        }
        self.names.insert(position, name);
        Ok(())
    }

    fn position(&self, name: &HeaderName) -> Result<usize, usize> {
        self.names
            .binary_search_by(|known| known.as_str().cmp(name.as_str()))
    }
}

/// Appends what chooses in a request by these names: how many they are, then each with its value.
pub(in crate::cache) fn append_selection(
    names: &[HeaderName],
    request: &HeaderMap,
    parts: &mut KeyParts,
) {
    parts.push(names.len());
    for name in names {
        parts.push(name.as_str());
        parts.push(selecting_value(request, name).as_deref());
    }
}

/// The value by which a header of a request chooses; none if it is absent, which is not the same as
/// empty.
///
/// RFC 9111 §4.1 lets values be one that mean the same: lines are joined, the white space at commas
/// is cut, languages have no case, and encodings count as
/// [they are forwarded](super::accept_encoding::normalise_accept_encoding).
pub(in crate::cache) fn selecting_value<'a>(
    request: &'a HeaderMap,
    name: &HeaderName,
) -> Option<Cow<'a, [u8]>> {
    if *name == ACCEPT_ENCODING
        && let Some(reduced) = accept_encoding::reduced(request)
    {
        return Some(Cow::Borrowed(reduced.as_bytes()));
    }
    let joined = joined(request, name)?;
    if *name == ACCEPT_LANGUAGE {
        return Some(Cow::Owned(joined.to_ascii_lowercase()));
    }
    Some(joined)
}

/// The members of all lines with nothing but a comma in between.
fn joined<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = request.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let Some(second) = lines.next() else {
        let value = first.trim_ascii();
        return Some(if value.contains(&b',') {
            Cow::Owned(tightened(value))
        } else {
            Cow::Borrowed(value)
        });
    };
    // RFC 9110 §5.3.
    let mut combined = first.to_vec();
    for line in [second].into_iter().chain(lines) {
        combined.extend_from_slice(b", ");
        combined.extend_from_slice(line.as_bytes());
    }
    Some(Cow::Owned(tightened(combined.trim_ascii())))
}

/// Without the white space around commas, except in quoted strings, where it means something.
fn tightened(value: &[u8]) -> Vec<u8> {
    let mut tight = Vec::with_capacity(value.len());
    let mut place = Place::Outside;
    for byte in value {
        let is_after_comma = place == Place::Outside && tight.last() == Some(&b',');
        if is_after_comma && matches!(byte, b' ' | b'\t') {
            continue;
        }
        if place == Place::Outside && *byte == b',' {
            let len = tight.trim_ascii_end().len();
            tight.truncate(len);
        }
        tight.push(*byte);
        place = place.after(*byte);
    }
    tight
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    InString,
    AfterBackslash,
}

impl Place {
    /// RFC 9110 §5.6.4.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, b'"') | (Self::AfterBackslash, _) => Self::InString,
            (Self::InString, b'"') => Self::Outside,
            (Self::InString, b'\\') => Self::AfterBackslash,
            (place, _) => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(lines: &[&str]) -> Result<Vec<String>, VaryProblem> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        let names = VaryNames::read(&headers(&lines))?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    fn names(names: &str) -> VaryNames {
        VaryNames::read(&headers(&[("vary", names)])).unwrap()
    }

    fn value(name: &'static str, lines: &[&str]) -> Option<Vec<u8>> {
        let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        let name = HeaderName::from_static(name);
        selecting_value(&headers(&lines), &name).map(Cow::into_owned)
    }

    fn selection(names: &VaryNames, request: &[(&'static str, &str)]) -> KeyParts {
        let mut parts = KeyParts::new();
        names.append_selection(&headers(request), &mut parts);
        parts
    }

    #[test]
    fn names_of_all_lines_come_sorted_in_lower_case_and_once() {
        let found = read(&["Foo, Accept-Encoding", "", " ,bar,,FOO\t"]).unwrap();
        assert_eq!(found, ["accept-encoding", "bar", "foo"]);
        assert_eq!(read(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_star_anywhere_is_a_star() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &[", *"],
            &["", "*"],
            &["*, Foo"],
            &["Foo, *"],
            &["Foo", "Bar,\t* "],
        ] {
            assert_eq!(read(lines), Err(VaryProblem::Star), "{lines:?}");
        }
        let star = [HeaderName::from_bytes(b"*").unwrap()];
        assert_eq!(VaryNames::from_names(star), Err(VaryProblem::Star));
    }

    #[test]
    fn credentials_choose_nothing() {
        for line in ["Cookie", "foo, AUTHORIZATION"] {
            assert_eq!(read(&[line]), Err(VaryProblem::Credentials), "{line}");
        }
    }

    #[test]
    fn what_is_no_name_is_malformed() {
        for line in ["a b", "a;q=1", "\"a\"", "a, b:", "é", "a/b"] {
            assert_eq!(read(&[line]), Err(VaryProblem::Malformed), "{line}");
        }
    }

    #[test]
    fn eight_names_are_enough_and_nine_too_many() {
        assert_eq!(read(&["a,b,c,d,e,f,g,h,a"]).unwrap().len(), 8);
        assert_eq!(read(&["a,b,c,d,e,f,g,h,i"]), Err(VaryProblem::TooMany));
    }

    #[test]
    fn lines_are_joined_and_the_space_at_commas_is_cut() {
        for lines in [
            &["1, 2"][..],
            &["1,2"],
            &["1", "2"],
            &[" 1 ,\t 2 "],
            &["1 ", " 2"],
        ] {
            assert_eq!(value("foo", lines).unwrap(), b"1,2", "{lines:?}");
        }
    }

    #[test]
    fn other_space_case_order_and_empty_members_are_kept() {
        for value_kept in ["a  b", "A", "2,1", "1,,2", ",1", "1,", "a;q=1", ","] {
            let value = value("foo", &[value_kept]).unwrap();
            assert_eq!(value, value_kept.as_bytes());
        }
    }

    #[test]
    fn space_in_quoted_strings_is_kept() {
        for (line, expected) in [
            (r#""a , b" , c"#, r#""a , b",c"#),
            (r#""a\" , b" , c"#, r#""a\" , b",c"#),
            (r#""a\\" , b"#, r#""a\\",b"#),
            (r#"x , " , y"#, r#"x," , y"#),
            (r#"," ,x""#, r#"," ,x""#),
            (r#"",", b"#, r#"",",b"#),
        ] {
            let value = value("foo", &[line]).unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(value("foo", &[]), None);
        assert_eq!(value("foo", &[""]).unwrap(), b"");
        assert_eq!(value("foo", &[" "]).unwrap(), b"");
        assert_eq!(value("foo", &["", ""]).unwrap(), b",");
        let foo = names("foo");
        assert_ne!(selection(&foo, &[]), selection(&foo, &[("foo", "")]));
    }

    #[test]
    fn languages_have_no_case_but_an_order() {
        let accepted = |line| value("accept-language", &[line]).unwrap();
        assert_eq!(accepted("eN, De"), accepted("en,de"));
        assert_ne!(accepted("en, de"), accepted("de, en"));
    }

    #[test]
    fn encodings_count_as_they_are_forwarded() {
        let accepted = |lines| value("accept-encoding", lines);
        let browser = accepted(&["gzip, deflate, br, zstd"]);
        assert_eq!(browser, accepted(&["zstd", "br;q=0.5,gzip"]));
        assert_eq!(accepted(&["gzip, *;q=0"]).unwrap(), b"gzip,*;q=0");
        assert_eq!(accepted(&[""]), accepted(&["identity"]));
        assert_ne!(accepted(&[]), accepted(&["identity"]));
    }

    #[test]
    fn what_a_response_does_not_vary_on_chooses_nothing() {
        let foo = names("foo");
        let one = selection(&foo, &[("foo", "1"), ("other", "2")]);
        assert_eq!(one, selection(&foo, &[("other", "3"), ("foo", "1")]));
        assert_ne!(one, selection(&foo, &[("foo", "2")]));
    }

    #[test]
    fn no_name_takes_the_value_of_another() {
        let both = names("bar, foo");
        let one = selection(&both, &[("foo", "1")]);
        assert_ne!(one, selection(&both, &[("bar", "1")]));
        assert_ne!(one, selection(&names("foo"), &[("foo", "1")]));
        assert_eq!(one, selection(&names("Foo, Bar"), &[("foo", "1")]));
    }

    #[test]
    fn what_follows_a_selection_is_no_part_of_it() {
        let followed = selection(&names("a"), &[]).with("b").with(None::<&[u8]>);
        assert_ne!(followed, selection(&names("a, b"), &[]));
    }

    #[test]
    fn one_line_is_read_without_allocating() {
        let (request, foo) = (headers(&[("foo", "a b")]), HeaderName::from_static("foo"));
        let counted = allocation_counter::measure(|| {
            std::hint::black_box(selecting_value(&request, &foo));
        });
        assert_eq!(counted.count_total, 0);
    }

    fn values() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab \t,\"\\\\]{0,5}", 0..3)
    }

    proptest! {
        #[test]
        fn the_order_of_names_and_lines_of_vary_is_no_matter(
            mut names in prop::collection::vec("[a-d]{1,2}", 0..7),
            rotation in 0..7_usize,
        ) {
            let joined = names.join(", ");
            let one = read(&[&joined]);
            let rotation = rotation.min(names.len());
            names.rotate_left(rotation);
            let lines: Vec<_> = names.iter().map(String::as_str).collect();
            prop_assert_eq!(one, read(&lines));
        }

        #[test]
        fn selections_are_equal_only_if_all_values_are(
            [a, b, c, d] in [values(), values(), values(), values()],
        ) {
            let request = |foo: &[String], bar: &[String]| {
                let foo = foo.iter().map(|line| ("foo", line.as_str()));
                let bar = bar.iter().map(|line| ("bar", line.as_str()));
                headers(&foo.chain(bar).collect::<Vec<_>>())
            };
            let (one, other) = (request(&a, &b), request(&c, &d));
            let select = |request: &HeaderMap| {
                let mut parts = KeyParts::new();
                names("foo, bar").append_selection(request, &mut parts);
                parts
            };
            let value = |request: &HeaderMap, name| {
                selecting_value(request, &HeaderName::from_static(name)).map(Cow::into_owned)
            };
            let are_equal = ["foo", "bar"]
                .iter()
                .all(|name| value(&one, name) == value(&other, name));
            prop_assert_eq!(select(&one) == select(&other), are_equal);
        }

        #[test]
        fn a_value_is_tightened_no_further(line in "[ab \t,\"\\\\]{0,12}") {
            let once = tightened(line.trim_ascii().as_bytes());
            prop_assert_eq!(tightened(&once), once);
        }

        #[test]
        fn a_request_selects_the_same_after_it_was_normalised(
            line in "((br|gzip|zstd|identity|x|\\*)( ?; ?q=[01](\\.[0-9])?)?[, ]{0,2}){0,4}",
        ) {
            let mut request = headers(&[("accept-encoding", &line)]);
            let before = selecting_value(&request, &ACCEPT_ENCODING).map(Cow::into_owned);
            accept_encoding::normalise_accept_encoding(&mut request);
            let after = selecting_value(&request, &ACCEPT_ENCODING).map(Cow::into_owned);
            prop_assert_eq!(before, after);
        }
    }
}
