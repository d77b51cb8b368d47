//! Dictionaries, and lists of strings, of structured fields (RFC 9651): as far as targeted fields and
//! cache groups need them.
//!
//! A function here takes a text that may begin with what it is named after, and gives what follows.

/// The members of a dictionary in their order, the later ones of a key still beside the earlier
/// (§4.2.2). The text is that of all lines, joined.
pub(super) fn dictionary(text: &[u8]) -> Option<Vec<(&[u8], Value<'_>)>> {
    let mut members = Vec::new();
    let mut rest = skip(text, is_space);
    while !rest.is_empty() {
        let (name, value) = key(rest)?;
        let (value, after) = member_value(value)?;
        members.push((name, value));
        rest = skip(parameters(after)?, is_optional_space);
        if rest.is_empty() {
            break;
        }
        rest = skip(rest.strip_prefix(b",")?, is_optional_space);
        if rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// The members of a list of strings, whose parameters mean nothing (§4.2.1); `None` also if one of
/// them is no string. The text is that of all lines, joined.
pub(super) fn strings(text: &[u8]) -> Option<Vec<Escaped<'_>>> {
    let mut members = Vec::new();
    let mut rest = skip(text, is_space);
    while !rest.is_empty() {
        let (Value::Text(member), after) = bare_item(rest)? else {
            return None;
        };
        members.push(member);
        rest = skip(parameters(after)?, is_optional_space);
        if rest.is_empty() {
            break;
        }
        rest = skip(rest.strip_prefix(b",")?, is_optional_space);
        if rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// What a member is, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    /// What is between the quotes, as it stands there.
    Text(Escaped<'a>),
    Token(&'a [u8]),
    /// Any of the types that no directive has.
    Other,
}

/// The inside of a string, in which `\` stands before `\` and `"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escaped<'a>(&'a [u8]);

impl Escaped<'_> {
    pub(super) fn unescaped(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut escaped = self.0.iter();
        while let Some(byte) = escaped.next() {
            let byte = if *byte == b'\\' {
                escaped.next()
            } else {
                Some(byte)
            };
            bytes.extend(byte);
        }
        bytes
    }
}

/// A member without a value is true.
fn member_value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match text {
        [b'=', b'(', inside @ ..] => Some((Value::Other, inner_list(inside)?)),
        [b'=', rest @ ..] => bare_item(rest),
        _ => Some((Value::Boolean(true), text)),
    }
}

/// An inner list whose opening bracket was read (§4.2.1.2).
fn inner_list(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = skip(text, is_space);
        if let Some(rest) = text.strip_prefix(b")") {
            return Some(rest);
        }
        let (_, rest) = bare_item(text)?;
        text = parameters(rest)?;
        if !matches!(text, [b' ' | b')', ..]) {
            return None;
        }
    }
}

/// Any number of parameters (§4.2.3.2).
fn parameters(mut text: &[u8]) -> Option<&[u8]> {
    while let Some(rest) = text.strip_prefix(b";") {
        let (_, rest) = key(skip(rest, is_space))?;
        text = match rest.strip_prefix(b"=") {
            Some(value) => bare_item(value)?.1,
            None => rest,
        };
    }
    Some(text)
}

/// §4.2.3.3.
fn key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let starts = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
    text.first().copied().filter(|byte| starts(*byte))?;
    Some(split(text, |byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
    }))
}

/// §4.2.3.1.
fn bare_item(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match text {
        [b'"', inside @ ..] => string(inside),
        [b'?', b'0', rest @ ..] => Some((Value::Boolean(false), rest)),
        [b'?', b'1', rest @ ..] => Some((Value::Boolean(true), rest)),
        [b':', rest @ ..] => Some((Value::Other, byte_sequence(rest)?)),
        [b'@', rest @ ..] => match number(rest)? {
            (Value::Integer(_), rest) => Some((Value::Other, rest)),
            _ => None,
        },
        [b'%', b'"', rest @ ..] => Some((Value::Other, display_string(rest)?)),
        [b'-' | b'0'..=b'9', ..] => number(text),
        [first, ..] if first.is_ascii_alphabetic() || *first == b'*' => {
            let (token, rest) = split(text, is_in_token);
            Some((Value::Token(token), rest))
        }
        _ => None,
    }
}

/// A string whose opening quote was read (§4.2.5).
fn string(inside: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let mut rest = inside;
    loop {
        rest = match rest {
            [b'"', after @ ..] => {
                let len = inside.len() - rest.len();
                return Some((Value::Text(Escaped(inside.get(..len)?)), after));
            }
            [b'\\', b'\\' | b'"', after @ ..] => after,
            [b'\\', ..] => return None,
            [b' '..=b'~', after @ ..] => after,
            _ => return None,
        };
    }
}

/// An integer, or a decimal, which is another type (§4.2.4).
fn number(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (is_negative, whole) = match text {
        [b'-', whole @ ..] => (true, whole),
        _ => (false, text),
    };
    let (digits, rest) = split(whole, |byte| byte.is_ascii_digit());
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (fraction, rest) = split(fraction, |byte| byte.is_ascii_digit());
        let is_decimal = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
        return is_decimal.then_some((Value::Other, rest));
    }
    if !(1..=15).contains(&digits.len()) {
        return None;
    }
    let integer = digits.iter().fold(0, |sum: i64, digit| {
        sum.saturating_mul(10) + i64::from(digit - b'0')
    });
    let integer = if is_negative { -integer } else { integer };
    Some((Value::Integer(integer), rest))
}

/// A byte sequence whose colon was read (§4.2.7); padding may be missing, and bits that it leaves
/// over may be set.
fn byte_sequence(text: &[u8]) -> Option<&[u8]> {
    let (data, rest) = split(text, |byte| {
        byte.is_ascii_alphanumeric() || b"+/".contains(&byte)
    });
    let (padding, rest) = split(rest, |byte| byte == b'=');
    let most_padding = match data.len() % 4 {
        0 => 0,
        2 => 2,
        3 => 1,
        _ => return None,
    };
    if padding.len() > most_padding {
        return None;
    }
    rest.strip_prefix(b":")
}

/// A display string whose quote was read (§4.2.10).
fn display_string(mut text: &[u8]) -> Option<&[u8]> {
    let mut bytes = Vec::new();
    loop {
        text = match text {
            [b'"', rest @ ..] => return str::from_utf8(&bytes).is_ok().then_some(rest),
            [b'%', high, low, rest @ ..] => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest
            }
            [b'%', ..] => return None,
            [plain @ b' '..=b'~', rest @ ..] => {
                bytes.push(*plain);
                rest
            }
            _ => return None,
        };
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn skip(text: &[u8], is_such: fn(u8) -> bool) -> &[u8] {
    split(text, is_such).1
}

/// The longest beginning whose bytes are such, and the rest.
fn split(text: &[u8], is_such: fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|byte| is_such(**byte)).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

fn is_space(byte: u8) -> bool {
    byte == b' '
}

fn is_optional_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// §3.3.4: `tchar` of RFC 9110 §5.6.2, and two more.
fn is_in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{BareItem, Dictionary, ListEntry};

    use super::*;

    /// What we read, and what another parser reads, in one form: the last of each key.
    fn ours(text: &[u8]) -> Option<Vec<(String, String)>> {
        let mut read: Vec<(String, String)> = Vec::new();
        for (key, value) in dictionary(text)? {
            let key = String::from_utf8(key.to_vec()).unwrap();
            let value = match value {
                Value::Text(text) => {
                    format!("text {:?}", String::from_utf8(text.unescaped()).unwrap())
                }
                Value::Token(token) => format!("token {}", str::from_utf8(token).unwrap()),
                Value::Boolean(is_set) => format!("boolean {is_set}"),
                Value::Integer(integer) => format!("integer {integer}"),
                Value::Other => "other".to_owned(),
            };
            read.retain(|(earlier, _)| *earlier != key);
            read.push((key, value));
        }
        read.sort();
        Some(read)
    }

    fn theirs(text: &[u8]) -> Option<Vec<(String, String)>> {
        let read: Dictionary = sfv::Parser::new(text).parse().ok()?;
        let mut read: Vec<_> = read
            .iter()
            .map(|(key, entry)| {
                let value = match entry {
                    ListEntry::Item(item) => match &item.bare_item {
                        BareItem::String(text) => format!("text {:?}", text.as_str()),
                        BareItem::Token(token) => format!("token {}", token.as_str()),
                        BareItem::Boolean(is_set) => format!("boolean {is_set}"),
                        BareItem::Integer(integer) => format!("integer {}", i64::from(*integer)),
                        _ => "other".to_owned(),
                    },
                    ListEntry::InnerList(_) => "other".to_owned(),
                };
                (key.as_str().to_owned(), value)
            })
            .collect();
        read.sort();
        Some(read)
    }

    #[test]
    fn each_kind_of_member_is_read_as_another_parser_reads_it() {
        for text in [
            "",
            " ",
            "a",
            " a ",
            "a,b",
            "a , b",
            "a\t,\tb",
            "a,",
            ",a",
            "a,,b",
            "a b",
            "a;",
            "a;b",
            "a; b=1;c",
            "a=1;b=?0",
            "a =1",
            "a= 1",
            "A",
            "Max-Age=1",
            "*a",
            "_a",
            "a_-.*1",
            "1",
            "a=1",
            "a=-1",
            "a=-",
            "a=01",
            "a=123456789012345",
            "a=1234567890123456",
            "a=-999999999999999",
            "a=1.5",
            "a=1.",
            "a=1.2345",
            "a=123456789012.1",
            "a=1234567890123.1",
            "a=\"b\"",
            "a=\"\"",
            "a=\"b\\\"\\\\c\"",
            "a=\"\\b\"",
            "a=\"b",
            "a=\"\t\"",
            "a=\"\u{e9}\"",
            "a=b",
            "a=B:c/d",
            "a=*",
            "a=b(",
            "a=?1",
            "a=?0",
            "a=?2",
            "a=?",
            "a=:YQ==:",
            "a=:YQ:",
            "a=:Y:",
            "a=:=:",
            "a=@1",
            "a=@1.5",
            "a=@x",
            "a=%\"b%c3%a9\"",
            "a=%\"%c3\"",
            "a=%\"%C3%A9\"",
            "a=%b",
            "a=()",
            "a=( )",
            "a=(1)",
            "a=(1 2)",
            "a=(1  2 )",
            "a=(1,2)",
            "a=(1 \"b\";c=1 d);e",
            "a=(1",
            "a=(1)2",
            "a=((1))",
            "a=1, a=2",
            "a=1, b, a",
            "a=2, a=b",
            "a;b, c;d=1",
            "a=1\u{a0}",
            "a=1 \t",
            "\ta",
        ] {
            assert_eq!(ours(text.as_bytes()), theirs(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn the_members_stand_in_their_order() {
        let read = dictionary(b"max-age=5;x, max-age=7, private=\"a\", no-store").unwrap();
        let expected = [
            (&b"max-age"[..], Value::Integer(5)),
            (b"max-age", Value::Integer(7)),
            (b"private", Value::Text(Escaped(b"a"))),
            (b"no-store", Value::Boolean(true)),
        ];
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn dictionaries_are_those_of_another_parser(
            text in r#"([a*A][a-z0-9_.*-]{0,3}(=(-?[0-9]{0,16}(\.[0-9]{0,4})?|"[a-c\\" é]{0,5}"?|[a-z*][a-z:/(]{0,3}|\?[0-2]|:[A-Za-z0-9+/]{0,6}={0,3}:?|@-?[0-9.]{0,4}|%"(%[0-9a-f]{2}|[a-c ]){0,4}"|\([a-c1"; ]{0,6}\)))?(; ?[ab](=[?01a"]{0,3})?)?[ \t]{0,2},?[ \t]{0,2}){0,4}"#,
        ) {
            prop_assert_eq!(ours(text.as_bytes()), theirs(text.as_bytes()), "{}", text);
        }

        #[test]
        fn any_bytes_are_what_they_are_to_another_parser(
            bytes in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            prop_assert_eq!(ours(&bytes), theirs(&bytes));
        }
    }
}
