//! JSON bodies that differ in how they are written only.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use serde_json::value::RawValue;

use super::fingerprint::push_lines;
use crate::key::KeyParts;

/// What a body of JSON says, for clients that write it anew each time they send it.
///
/// Two bodies are the same if they differ in these only:
///
/// * white space around values;
/// * the order of an object's members;
/// * escapes in strings and names: `"\u0041"` is `"A"`.
///
/// Numbers are the same only as the same text: `1`, `1.0` and `1e0` are three, because a program may
/// tell them apart, and because reading numbers rounds them.
///
/// This holds for a body whose one `Content-Type` is `application/json` or ends with `+json`,
/// whatever its parameters, and which has no `Content-Encoding`. Every other body stands for itself
/// byte by byte, with both fields. So does one that is no JSON after all, one that names a member
/// of an object twice, since programs differ in what that says, and one of more than 127
/// arrays and objects within each other. In either case another `Content-Type` makes another request.
#[must_use]
pub fn canonical_json(parts: &Parts, body: &Bytes) -> KeyParts {
    let text = if is_plain_json(&parts.headers) {
        canonical(body)
    } else {
        None
    };
    let mut covered = KeyParts::new().with(if text.is_some() { "json" } else { "bytes" });
    push_lines(&mut covered, &parts.headers, &CONTENT_TYPE);
    push_lines(&mut covered, &parts.headers, &CONTENT_ENCODING);
    match text {
        Some(text) => covered.push(text),
        None => covered.push(&body[..]),
    }
    covered
}

/// Whether the fields say that the body is JSON and not compressed.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = only.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    let is_json = essence == b"application/json" || essence.ends_with(b"+json");
    is_json && !headers.contains_key(CONTENT_ENCODING)
}

/// This JSON text without white space, with members in the order of their names, and as few escapes
/// as there may be. It is never longer.
fn canonical(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    // What comes after this needs not look whether it is JSON.
    serde_json::from_str::<&RawValue>(text).ok()?;
    let json = Reader { rest: text }.value(DEEPEST)?;
    let mut canonical = String::with_capacity(text.len());
    json.write_to(&mut canonical);
    Some(canonical)
}

/// A value whose leaves are as they are to be written.
enum Json<'a> {
    Leaf(Cow<'a, str>),
    Array(Vec<Self>),
    /// By name, each once.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Json<'_> {
    fn write_to(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(items) => {
                text.push('[');
                for (at, item) in items.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    item.write_to(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    text.push_str(name);
                    text.push(':');
                    value.write_to(text);
                }
                text.push('}');
            }
        }
    }
}

/// Reads what is known to be JSON, each byte of it once: literals are taken as they stand, where
/// `serde_json` would round them.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// One value, with so many levels in it at most.
    fn value(&mut self, depth: u32) -> Option<Json<'a>> {
        match self.next_byte()? {
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            b'"' => self.string().map(Json::Leaf),
            _ => self.literal(),
        }
    }

    fn array(&mut self, depth: u32) -> Option<Json<'a>> {
        let mut items = Vec::new();
        self.take('[');
        while self.next_byte()? != b']' {
            items.push(self.value(depth)?);
            self.take(',');
        }
        self.take(']');
        Some(Json::Array(items))
    }

    fn object(&mut self, depth: u32) -> Option<Json<'a>> {
        let mut members = Vec::new();
        self.take('{');
        while self.next_byte()? != b'}' {
            let name = self.string()?;
            self.take(':');
            members.push((name, self.value(depth)?));
            self.take(',');
        }
        self.take('}');
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut neighbours = members.iter().zip(members.iter().skip(1));
        let is_each_once = neighbours.all(|((one, _), (other, _))| one != other);
        is_each_once.then_some(Json::Object(members))
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let inside = self.rest.strip_prefix('"')?;
        let mut is_escaped = false;
        let len = inside.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        let (string, rest) = self.rest.split_at_checked(len + "\"\"".len())?;
        self.rest = rest;
        if !string.contains('\\') {
            return Some(Cow::Borrowed(string));
        }
        let meant: String = serde_json::from_str(string).ok()?;
        serde_json::to_string(&meant).ok().map(Cow::Owned)
    }

    fn literal(&mut self) -> Option<Json<'a>> {
        let end = |letter| matches!(letter, ',' | ']' | '}') || WHITE.contains(&letter);
        let len = self.rest.find(end).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Json::Leaf(Cow::Borrowed(literal)))
    }

    fn next_byte(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches(WHITE);
        self.rest.bytes().next()
    }

    /// Goes past this and white space, if it is what comes next.
    fn take(&mut self, mark: char) {
        let rest = self.rest.trim_start_matches(WHITE);
        self.rest = rest.strip_prefix(mark).unwrap_or(rest);
    }
}

/// RFC 8259 §2.
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// As deep as `serde_json` goes, so that no body overflows the stack.
const DEEPEST: u32 = 127;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::{HeaderValue, Request};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn sent(headers: &[(&str, &str)], body: &[u8]) -> KeyParts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        canonical_json(&parts, &Bytes::copy_from_slice(body))
    }

    fn typed(content_type: &str, body: &str) -> KeyParts {
        sent(&[("content-type", content_type)], body.as_bytes())
    }

    fn of(body: &str) -> KeyParts {
        typed("application/json", body)
    }

    #[test]
    fn white_space_order_and_escapes_do_not_count() {
        for (one, other) in [
            ("{}", " {\n} "),
            ("[]", "[\t]\r\n"),
            ("[1,true,null]", " [ 1 ,true\n,\tnull ] "),
            (r#"{"a":1,"b":[2]}"#, r#"{ "b" : [ 2 ] , "a" : 1 }"#),
            (
                r#"[{"a":{"x":1,"y":2},"b":2}]"#,
                r#"[{"b":2,"a":{"y":2,"x":1}}]"#,
            ),
            (r#""A/é😀""#, r#""\u0041\/\u00e9\ud83d\uDE00""#),
            (r#""\n\"\\""#, r#""\u000a\u0022\u005C""#),
            (r#"{"a":1,"b":2}"#, r#"{"\u0062":2,"\u0061":1}"#),
            ("1.50", " 1.50\n"),
        ] {
            assert!(of(one) == of(other), "{one} and {other}");
        }
    }

    #[test]
    fn what_differs_is_not_the_same() {
        for (one, other) in [
            ("1", "2"),
            ("1", "1.0"),
            ("1", "\"1\""),
            ("0", "-0"),
            ("1e1", "1E1"),
            ("0.10000000000000001", "0.10000000000000002"),
            ("[1,2]", "[2,1]"),
            ("[1,2]", "[12]"),
            ("[[1],2]", "[[1,2]]"),
            ("[]", "{}"),
            ("[]", "[[]]"),
            ("null", "\"null\""),
            ("\"a b\"", "\"ab\""),
            ("\"\\u0041\"", "\"\\\\u0041\""),
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
            (r#"{"a":1}"#, r#"{"A":1}"#),
            (r#"{"a":null}"#, "{}"),
            (r#"["a\",\"b"]"#, r#"["a","b"]"#),
        ] {
            assert!(of(one) != of(other), "{one} and {other}");
        }
    }

    #[test]
    fn what_is_no_json_stands_for_itself() {
        for (one, other) in [
            ("[1,2", "[1, 2"),
            ("[1,2,]", "[1, 2,]"),
            ("[1 2]", "[1  2]"),
            ("{\"a\" 1}", "{\"a\"  1}"),
            ("01", " 01"),
            ("1 1", "1  1"),
            ("nul", " nul"),
            ("\"\\ud800\"", " \"\\ud800\""),
            ("\u{a0}1", "\u{a0} 1"),
            ("", " "),
        ] {
            assert!(of(one) != of(other), "{one} and {other}");
            assert!(of(one) == of(one), "{one}");
        }
        let latin = |body: &[u8]| sent(&[("content-type", "application/json")], body);
        assert!(latin(b"\"\xE9\"") != latin(b" \"\xE9\""));
        assert!(latin(b"\"\xE9\"") != latin(b"\"\xE8\""));
    }

    #[test]
    fn an_object_that_names_a_member_twice_stands_for_itself() {
        for (one, other) in [
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1, "a":1}"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
            (
                r#"[{"a":1,"b":0,"\u0061":2}]"#,
                r#"[{"a":1,"b":0, "\u0061":2}]"#,
            ),
        ] {
            assert!(of(one) != of(other), "{one} and {other}");
        }
    }

    #[test]
    fn only_what_is_said_to_be_json_is_read_as_such() {
        let is_read =
            |headers: &[(&str, &str)]| sent(headers, b"[1,2]") == sent(headers, b"[1, 2]");
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json ;q",
            "application/merge-patch+json",
        ] {
            assert!(is_read(&[("content-type", json)]), "{json}");
        }
        for other in [
            "",
            "text/plain",
            "application/jsonl",
            "text/x;a=+json",
            "json",
        ] {
            assert!(!is_read(&[("content-type", other)]), "{other}");
        }
        let json = ("content-type", "application/json");
        assert!(!is_read(&[]));
        assert!(!is_read(&[json, json]));
        assert!(!is_read(&[json, ("content-encoding", "gzip")]));
    }

    #[test]
    fn both_fields_count_whatever_the_body_is() {
        for body in ["[1]", "[1"] {
            let with = |headers: &[(&str, &str)]| sent(headers, body.as_bytes());
            let kinds = [
                with(&[]),
                with(&[("content-type", "application/json")]),
                with(&[("content-type", "application/json; charset=utf-8")]),
                with(&[("content-type", "application/merge-patch+json")]),
                with(&[("content-type", "text/plain")]),
                with(&[("content-encoding", "text/plain")]),
                with(&[("content-type", "text/plain"), ("content-encoding", "br")]),
            ];
            for (at, kind) in kinds.iter().enumerate() {
                assert!(!kinds[..at].contains(kind), "{body} as {at}");
            }
        }
    }

    #[test]
    fn json_is_never_the_same_as_what_is_none() {
        let begins_with = |mut parts: KeyParts, word: &str| {
            let word = KeyParts::new().with(word);
            parts.truncate(word.len());
            parts == word
        };
        assert!(begins_with(of("[1]"), "json"));
        assert!(begins_with(of("[1"), "bytes"));
        assert!(begins_with(typed("text/plain", "[1]"), "bytes"));
    }

    fn nested(depth: usize, leaf: &str) -> String {
        format!("{}{leaf}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn what_is_too_deep_stands_for_itself_and_overflows_no_stack() {
        assert!(of(&nested(127, "1")) == of(&nested(127, " 1")));
        for depth in [128, 500_000] {
            assert!(
                of(&nested(depth, "1")) != of(&nested(depth, " 1")),
                "{depth}"
            );
        }
        let objects = |leaf| format!("{}{leaf}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert!(of(&objects("1")) != of(&objects(" 1")));
    }

    #[test]
    fn serde_json_goes_as_deep() {
        assert!(serde_json::from_str::<Value>(&nested(127, "1")).is_ok());
        assert!(serde_json::from_str::<Value>(&nested(128, "1")).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| Value::from(number + 0.0)),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same value with members in whatever order a hash map has, white space, and more escapes.
    fn rewritten(value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(rewritten).collect();
                format!("[ {}\n]", items.join(" ,"))
            }
            Value::Object(members) => {
                let members: HashMap<_, _> = members.iter().collect();
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(name, value)| format!("{}\t: {}", escaped(name), rewritten(value)))
                    .collect();
                format!("{{{}\r}}", members.join(", "))
            }
            Value::String(text) => escaped(text),
            leaf => leaf.to_string(),
        }
    }

    fn escaped(text: &str) -> String {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", units.collect::<String>())
    }

    proptest! {
        #[test]
        fn a_value_is_the_same_however_it_is_written(value in any_json()) {
            prop_assert!(of(&rewritten(&value)) == of(&value.to_string()));
            let indented = format!("{value:#}");
            prop_assert!(of(&rewritten(&value)) == of(&indented));
        }

        #[test]
        fn values_that_differ_are_not_the_same(one in any_json(), other in any_json()) {
            prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
        }

        #[test]
        fn what_is_written_is_the_value_and_never_longer(value in any_json()) {
            let text = rewritten(&value);
            let canonical = canonical(text.as_bytes()).unwrap();
            prop_assert!(canonical.len() <= text.len());
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&canonical), read(&text));
        }

        #[test]
        fn whatever_bytes_a_body_has_it_has_its_parts(body in r#"[\[\]{}",:\\u0a1 \-.]{0,12}"#) {
            let is_json = serde_json::from_str::<Value>(&body).is_ok();
            let spaced = format!(" {body}");
            prop_assert!(is_json || of(&body) != of(&spaced));
        }
    }
}
