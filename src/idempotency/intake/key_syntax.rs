//! How a client writes the key of a request.

use std::{fmt, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::structured::{Quoted, are_parameters, string};

/// Which spellings of a key are accepted.
///
/// draft-ietf-httpapi-idempotency-key-header-06 makes the field a String of RFC 9651 §3.3.3, which
/// stands in quotes:
///
/// ```text
/// Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"
/// ```
///
/// Many clients leave the quotes out, since most services that had such a field before the draft
/// ask for none.
///
/// However it is written, a key is 1 to 255 bytes of printable ASCII, counted without quotes and
/// escapes, and neither begins nor ends with a space. It comes in one field line, also where two
/// lines would say the same. White space around the field's value is no part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySyntax {
    /// In quotes or without. `"abc"` and `abc` are one key.
    ///
    /// What begins with a quote is a String, and parameters may follow it (RFC 9651 §3.1.2): they
    /// must be well-formed, and say nothing here. Everything else is the key as it stands, of
    /// visible characters but the quote and the comma: so `"a", "b"`, which two field lines may
    /// have become on their way, is no key.
    #[default]
    Lenient,
    /// In quotes, as the draft says: a String without parameters.
    Strict,
}

impl KeySyntax {
    /// The key in the field of this name, if there is one.
    pub(in crate::idempotency) fn read(
        self,
        headers: &HeaderMap,
        name: &HeaderName,
    ) -> Result<Option<IdempotencyKey>, KeyProblem> {
        let mut lines = headers.get_all(name).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() {
            return Err(KeyProblem::Repeated);
        }
        // A header holds no other white space than SP and HTAB.
        let value = line.as_bytes().trim_ascii();
        match (self, value.first()) {
            (_, None) => Err(KeyProblem::Empty),
            (_, Some(b'"')) => self.quoted(line, value).map(Some),
            (Self::Lenient, Some(_)) => raw(line, value).map(Some),
            (Self::Strict, Some(_)) => Err(KeyProblem::Malformed),
        }
    }

    fn quoted(self, line: &HeaderValue, value: &[u8]) -> Result<IdempotencyKey, KeyProblem> {
        let string = string(value).ok_or(KeyProblem::Malformed)?;
        let may_follow = match self {
            Self::Lenient => are_parameters(string.rest),
            Self::Strict => string.rest.is_empty(),
        };
        if !may_follow {
            return Err(KeyProblem::Malformed);
        }
        check_len(string.len)?;
        // No escape stands for a space.
        if string.escaped.starts_with(b" ") || string.escaped.ends_with(b" ") {
            return Err(KeyProblem::Malformed);
        }
        if string.escaped.len() == string.len {
            return Ok(IdempotencyKey::within(line, b"\"".len(), string.len));
        }
        IdempotencyKey::unescaped(&string)
    }
}

/// A key that stands there without quotes.
fn raw(line: &HeaderValue, value: &[u8]) -> Result<IdempotencyKey, KeyProblem> {
    let is_allowed = |byte: &u8| byte.is_ascii_graphic() && !b"\",".contains(byte);
    if !value.iter().all(is_allowed) {
        return Err(KeyProblem::Malformed);
    }
    check_len(value.len())?;
    Ok(IdempotencyKey::within(line, 0, value.len()))
}

fn check_len(len: usize) -> Result<(), KeyProblem> {
    match len {
        0 => Err(KeyProblem::Empty),
        1..=LONGEST => Ok(()),
        _ => Err(KeyProblem::TooLong),
    }
}

/// What a client calls one piece of work: 1 to 255 bytes of printable ASCII, without quotes and
/// escapes.
#[derive(Clone)]
pub(in crate::idempotency) struct IdempotencyKey {
    /// The field's value, which is shared and not copied; or the key alone, if it had escapes.
    line: HeaderValue,
    /// Where in it the key is.
    place: Range<usize>,
}

impl IdempotencyKey {
    pub(in crate::idempotency) fn as_str(&self) -> &str {
        let key = self.line.as_bytes().get(self.place.clone());
        str::from_utf8(key.unwrap_or_default()).unwrap_or_default()
    }

    /// The key of this length, so far behind the white space that the line begins with.
    fn within(line: &HeaderValue, offset: usize, len: usize) -> Self {
        let start = line.len() - line.as_bytes().trim_ascii_start().len() + offset;
        Self {
            line: line.clone(),
            place: start..start + len,
        }
    }

    fn unescaped(string: &Quoted<'_>) -> Result<Self, KeyProblem> {
        let mut key = Vec::with_capacity(string.len);
        let mut bytes = string.escaped.iter();
        while let Some(byte) = bytes.next() {
            key.extend(if *byte == b'\\' {
                bytes.next()
            } else {
                Some(byte)
            });
        }
        let line = HeaderValue::from_maybe_shared(Bytes::from(key));
        Ok(Self {
            line: line.map_err(|_| KeyProblem::Malformed)?,
            place: 0..string.len,
        })
    }
}

/// Shows nothing of the key: it is a client's.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey")
    }
}

/// Why the field of the key holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum KeyProblem {
    /// There is more than one field line.
    Repeated,
    /// It is not written as a key is.
    Malformed,
    /// It has more than 255 bytes.
    TooLong,
    /// It has none.
    Empty,
}

impl KeyProblem {
    /// What is wrong, for the client that wrote it; nothing of what it wrote.
    pub(in crate::idempotency) fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "the idempotency key came more than once; send one field line",
            Self::Malformed => {
                "the idempotency key is malformed; send printable ASCII in double quotes, with no \
                 space at either end"
            }
            Self::TooLong => "the idempotency key is too long; send at most 255 characters",
            Self::Empty => "the idempotency key is empty; send at least one character",
        }
    }
}

/// In bytes.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("idempotency-key");

    type Read = Result<Option<String>, KeyProblem>;

    fn read(syntax: KeySyntax, lines: &[&[u8]]) -> Read {
        let line = |line: &&[u8]| (NAME, HeaderValue::from_bytes(line).unwrap());
        let key = syntax.read(&lines.iter().map(line).collect(), &NAME)?;
        Ok(key.map(|key| key.as_str().to_owned()))
    }

    fn lenient(line: &str) -> Read {
        read(KeySyntax::Lenient, &[line.as_bytes()])
    }

    fn strict(line: &str) -> Read {
        read(KeySyntax::Strict, &[line.as_bytes()])
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is compared with what was read"
    )]
    fn key(text: &str) -> Read {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn without_the_field_there_is_no_key() {
        assert_eq!(read(KeySyntax::Lenient, &[]), Ok(None));
        assert_eq!(read(KeySyntax::Strict, &[]), Ok(None));
    }

    #[test]
    fn only_the_field_of_the_name_is_read() {
        let headers = HeaderMap::from_iter([(NAME, HeaderValue::from_static("a"))]);
        let other = HeaderName::from_static("x-idempotency-key");
        let read = KeySyntax::Lenient.read(&headers, &other);
        assert!(read.unwrap().is_none());
    }

    #[test]
    fn a_key_is_the_same_with_quotes_and_without() {
        for line in ["abc", "\"abc\"", " abc\t", "\t \"abc\" ", "\"abc\";v=1; w"] {
            assert_eq!(lenient(line), key("abc"), "{line}");
        }
    }

    #[test]
    fn a_strict_key_has_quotes_and_no_parameters() {
        assert_eq!(strict(" \"abc\"\t"), key("abc"));
        for line in ["abc", "\"abc\";v=1", "\"abc\"x", "\"abc", ":YWJj:", "1"] {
            assert_eq!(strict(line), Err(KeyProblem::Malformed), "{line}");
        }
    }

    #[test]
    fn a_key_without_quotes_is_visible_characters_but_quote_and_comma() {
        let visible = ('!'..='~').filter(|letter| !"\",".contains(*letter));
        let visible: String = visible.collect();
        assert_eq!(lenient(&visible), key(&visible));
        for line in ["a b", "a\tb", "a,b", "a\"", "a\"b\"", ",", "é"] {
            assert_eq!(lenient(line), Err(KeyProblem::Malformed), "{line}");
        }
        let latin = read(KeySyntax::Lenient, &[b"a\xE9"]);
        assert_eq!(latin, Err(KeyProblem::Malformed));
    }

    #[test]
    fn what_begins_with_a_quote_is_a_well_formed_string() {
        for line in [
            "\"",
            "\"abc",
            "\"a\"b\"",
            "\"a\\",
            "\"a\\b\"",
            "\"é\"",
            "\"a\tb\"",
            "\"a\" b",
            "\"a\";",
            "\"a\";V",
            "\"a\" ;v",
            "\"a\", \"b\"",
        ] {
            assert_eq!(lenient(line), Err(KeyProblem::Malformed), "{line}");
            assert_eq!(strict(line), Err(KeyProblem::Malformed), "{line}");
        }
    }

    #[test]
    fn escapes_stand_for_what_they_mean() {
        for read in [lenient, strict] {
            assert_eq!(read(r#""a\"b\\c""#), key(r#"a"b\c"#));
            assert_eq!(read(r#" "\\" "#), key(r"\"));
        }
    }

    #[test]
    fn a_key_holds_spaces_inside_only() {
        for read in [lenient, strict] {
            assert_eq!(read("\"a b\""), key("a b"));
            for line in ["\" a\"", "\"a \"", "\" \"", "\"\\\\ \"", "\" \\\"\""] {
                assert_eq!(read(line), Err(KeyProblem::Malformed), "{line}");
            }
        }
    }

    #[test]
    fn a_key_is_1_to_255_bytes_counted_without_escapes() {
        for read in [lenient, strict] {
            for unit in ["a", "\\\"", "\\\\"] {
                let of = |count: usize| read(&format!("\"{}\"", unit.repeat(count)));
                assert_eq!(of(0), Err(KeyProblem::Empty));
                assert_eq!(of(1).unwrap().unwrap().len(), 1);
                assert_eq!(of(255).unwrap().unwrap().len(), 255);
                assert_eq!(of(256), Err(KeyProblem::TooLong));
            }
            assert_eq!(read(""), Err(KeyProblem::Empty));
            assert_eq!(read(" \t"), Err(KeyProblem::Empty));
        }
        assert_eq!(lenient(&"a".repeat(255)), key(&"a".repeat(255)));
        assert_eq!(lenient(&"a".repeat(256)), Err(KeyProblem::TooLong));
    }

    #[test]
    fn a_key_comes_in_one_field_line() {
        for lines in [[&b"a"[..], b"a"], [b"\"a\"", b""], [b"", b""]] {
            for syntax in [KeySyntax::Lenient, KeySyntax::Strict] {
                assert_eq!(read(syntax, &lines), Err(KeyProblem::Repeated));
            }
        }
    }

    #[test]
    fn nothing_shows_the_key() {
        let headers = HeaderMap::from_iter([(NAME, HeaderValue::from_static("hunter2"))]);
        let key = KeySyntax::Lenient.read(&headers, &NAME).unwrap();
        assert!(!format!("{key:?}").contains("hunter2"));
    }

    #[test]
    fn a_key_is_copied_only_to_take_its_escapes_out() {
        for (line, allocations) in [("abc", 0), ("\"abc\";v=1", 0), (r#""a\"\\bc""#, 1)] {
            // As it comes from the network: in a buffer that something else holds too.
            let buffer = Bytes::from(line);
            let held = buffer.clone();
            let line = HeaderValue::from_maybe_shared(buffer).unwrap();
            let headers = HeaderMap::from_iter([(NAME, line)]);
            let counted = allocation_counter::measure(|| {
                let key = KeySyntax::Lenient.read(&headers, &NAME);
                std::hint::black_box(key.is_ok_and(|key| key.is_some()));
            });
            assert_eq!(counted.count_total, allocations);
            drop(held);
        }
    }

    /// What another parser takes for a string, within the limits; the second says whether it has
    /// parameters.
    fn as_sfv_reads(line: &str) -> Option<(String, bool)> {
        let value = line.trim_matches([' ', '\t']);
        let item: sfv::Item = sfv::Parser::new(value).parse().ok()?;
        let text = item.bare_item.as_string()?.as_str().to_owned();
        let is_within = (1..=255).contains(&text.len()) && text.trim() == text;
        is_within.then_some((text, !item.params.is_empty()))
    }

    /// Lines that are keys, nearly keys, and keys of which a byte was changed.
    fn any_line() -> impl Strategy<Value = String> {
        let string = r#""([ -!#-\[\]-~]|\\["\\]){0,12}""#;
        let long = r#""([a-z ]|\\\\){250,258}""#;
        let parameters = r#"(; {0,2}[a-z*][a-z0-9]{0,2}(=([a-z]{1,3}|-?[0-9]{1,3}|"[a-z]{0,2}"|:YQ==:|\?[01]))?){0,3}"#;
        let whole = (
            r"[ \t]{0,2}",
            prop_oneof![4 => string, 1 => long],
            parameters,
            r"[ \t]{0,2}",
        );
        let whole = whole.prop_map(|(before, string, parameters, after)| {
            format!("{before}{string}{parameters}{after}")
        });
        let changed = (
            whole.clone(),
            any::<prop::sample::Index>(),
            "[\"\\\\ \t;=,é]{0,2}",
        );
        let changed = changed.prop_map(|(line, at, with)| {
            let at = at.index(line.len());
            format!("{}{with}{}", &line[..at], &line[at + 1..])
        });
        prop_oneof![3 => whole, 3 => changed, 1 => r#"["\\a ;=,\t]{0,8}"#, 1 => r"[!-~]{0,8}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn strict_is_what_another_parser_takes_for_a_string_alone(line in any_line()) {
            let expected = as_sfv_reads(&line).filter(|(_, has_parameters)| !has_parameters);
            prop_assert_eq!(strict(&line).ok().flatten(), expected.map(|(text, _)| text));
        }

        #[test]
        fn lenient_is_what_another_parser_takes_for_a_string_or_has_no_quotes(line in any_line()) {
            let value = line.trim_matches([' ', '\t']);
            let expected = if value.starts_with('"') {
                as_sfv_reads(&line).map(|(text, _)| text)
            } else {
                let is_raw = |letter: char| matches!(letter, '!'..='~') && letter != '"' && letter != ',';
                let is_key = (1..=255).contains(&value.len()) && value.chars().all(is_raw);
                is_key.then(|| value.to_owned())
            };
            prop_assert_eq!(lenient(&line).ok().flatten(), expected);
        }

        #[test]
        fn whatever_bytes_a_field_has_they_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(line) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(NAME, line)]);
                for syntax in [KeySyntax::Lenient, KeySyntax::Strict] {
                    if let Ok(Some(key)) = syntax.read(&headers, &NAME) {
                        let key = key.as_str();
                        prop_assert!((1..=255).contains(&key.len()) && key.trim() == key);
                        prop_assert!(key.bytes().all(|byte| matches!(byte, b' '..=b'~')));
                    }
                }
            }
        }
    }
}
