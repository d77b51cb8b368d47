//! Strings and parameters of structured fields, as RFC 9651 §4.2 parses them.
//!
//! A function here takes a text that may begin with what it is named after, and gives what follows.

/// A string as it stands in a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted<'a> {
    /// What is between the quotes.
    pub(super) escaped: &'a [u8],
    /// How many bytes it means.
    pub(super) len: usize,
    /// What follows the string.
    pub(super) rest: &'a [u8],
}

/// The string at the beginning of this text (§4.2.5).
pub(super) fn string(text: &[u8]) -> Option<Quoted<'_>> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    let mut len = 0;
    loop {
        match inside.get(at..)? {
            [b'"', rest @ ..] => {
                let escaped = inside.get(..at)?;
                return Some(Quoted { escaped, len, rest });
            }
            [b'\\', b'\\' | b'"', ..] => at += 2,
            [b'\\', ..] => return None,
            [b' '..=b'~', ..] => at += 1,
            _ => return None,
        }
        len += 1;
    }
}

/// Whether this is parameters of an item and nothing else (§4.2.3.2).
pub(super) fn are_parameters(mut text: &[u8]) -> bool {
    while let Some(rest) = parameter(text) {
        text = rest;
    }
    text.is_empty()
}

fn parameter(text: &[u8]) -> Option<&[u8]> {
    let name = skip(text.strip_prefix(b";")?, |byte| byte == b' ');
    let rest = word(name, is_key_start, |byte| {
        is_key_start(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte)
    })?;
    match rest.strip_prefix(b"=") {
        Some(value) => bare_item(value),
        None => Some(rest),
    }
}

/// §4.2.3.1.
fn bare_item(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', ..] => string(text).map(|string| string.rest),
        [b'?', b'0' | b'1', rest @ ..] => Some(rest),
        [b':', rest @ ..] => byte_sequence(rest),
        [b'@', rest @ ..] => match number(rest)? {
            (Number::Integer, rest) => Some(rest),
            (Number::Decimal, _) => None,
        },
        [b'%', b'"', rest @ ..] => display_string(rest),
        [b'-' | b'0'..=b'9', ..] => number(text).map(|(_, rest)| rest),
        _ => word(text, is_token_start, is_in_token),
    }
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Integer,
    Decimal,
}

/// §4.2.4.
fn number(text: &[u8]) -> Option<(Number, &[u8])> {
    let whole = text.strip_prefix(b"-").unwrap_or(text);
    let rest = skip(whole, |byte| byte.is_ascii_digit());
    let digits = whole.len() - rest.len();
    let Some(fraction) = rest.strip_prefix(b".") else {
        return (1..=15)
            .contains(&digits)
            .then_some((Number::Integer, rest));
    };
    let rest = skip(fraction, |byte| byte.is_ascii_digit());
    let is_decimal = (1..=12).contains(&digits) && (1..=3).contains(&(fraction.len() - rest.len()));
    is_decimal.then_some((Number::Decimal, rest))
}

/// A byte sequence whose colon was read (§4.2.7); padding may be missing, and bits that it leaves
/// over may be set.
fn byte_sequence(text: &[u8]) -> Option<&[u8]> {
    let padding = skip(text, |byte| {
        byte.is_ascii_alphanumeric() || b"+/".contains(&byte)
    });
    let end = skip(padding, |byte| byte == b'=');
    let most_padding = match (text.len() - padding.len()) % 4 {
        0 => 0,
        2 => 2,
        3 => 1,
        _ => return None,
    };
    if padding.len() - end.len() > most_padding {
        return None;
    }
    end.strip_prefix(b":")
}

/// A display string whose quote was read (§4.2.10).
fn display_string(mut text: &[u8]) -> Option<&[u8]> {
    let mut bytes = Vec::new();
    loop {
        (bytes, text) = match text {
            [b'"', rest @ ..] => return str::from_utf8(&bytes).is_ok().then_some(rest),
            [b'%', high, low, rest @ ..] => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                (bytes, rest)
            }
            [b'%', ..] => return None,
            [plain @ b' '..=b'~', rest @ ..] => {
                bytes.push(*plain);
                (bytes, rest)
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

/// What follows a word of at least one byte.
fn word(text: &[u8], starts: fn(u8) -> bool, continues: fn(u8) -> bool) -> Option<&[u8]> {
    match text {
        [first, rest @ ..] if starts(*first) => Some(skip(rest, continues)),
        _ => None,
    }
}

fn skip(text: &[u8], skips: fn(u8) -> bool) -> &[u8] {
    let len = text.iter().take_while(|byte| skips(**byte)).count();
    text.get(len..).unwrap_or_default()
}

fn is_key_start(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'*'
}

fn is_token_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'*'
}

/// §3.3.4: `tchar` of RFC 9110 §5.6.2, and two more.
fn is_in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether another parser takes these for parameters.
    fn are_parameters_to_sfv(text: &[u8]) -> bool {
        let item = [b"1", text].concat();
        // It takes spaces behind the item, and digits that make it another number.
        !text.ends_with(b" ")
            && !text
                .first()
                .is_some_and(|byte| b".0123456789".contains(byte))
            && sfv::Parser::new(&item).parse::<sfv::Item>().is_ok()
    }

    #[test]
    fn each_kind_of_parameter_is_read_as_another_parser_reads_it() {
        for text in [
            "",
            ";",
            ";a",
            "; a",
            ";  a;b",
            ";\ta",
            ";a ;b",
            ";A",
            ";*",
            ";0",
            ";_",
            ";a_-.*0",
            ";a=",
            ";a =1",
            ";a= 1",
            ";aB",
            ";a=1;b=2",
            ";a=1,b",
            "x",
            // Integers and decimals.
            ";a=0",
            ";a=-0",
            ";a=-",
            ";a=--1",
            ";a=+1",
            ";a=123456789012345",
            ";a=1234567890123456",
            ";a=1.",
            ";a=1.5",
            ";a=-1.555",
            ";a=1.5555",
            ";a=.5",
            ";a=123456789012.5",
            ";a=1234567890123.5",
            ";a=1.5.5",
            ";a=1.x",
            // Strings.
            ";a=\"\"",
            ";a=\"b c\"",
            ";a=\"b\\\"\\\\\"",
            ";a=\"\\b\"",
            ";a=\"",
            ";a=\"b\\",
            ";a=\"\x7f\"",
            ";a=\"\t\"",
            ";a=\"é\"",
            // Tokens.
            ";a=b",
            ";a=*",
            ";a=B:c/d!#$%&'*+-.^_`|~9",
            ";a=b(",
            ";a=!b",
            // Byte sequences.
            ";a=::",
            ";a=:YQ==:",
            ";a=:YQ=:",
            ";a=:YQ:",
            ";a=:YQ===:",
            ";a=:Y:",
            ";a=:YWI=:",
            ";a=:YWI==:",
            ";a=:YWJj:",
            ";a=:YWJj=:",
            ";a=:YR==:",
            ";a=:Y-_j:",
            ";a=:=:",
            ";a=:YQ==",
            ";a=:Y Q:",
            ";a=:YQ==YQ==:",
            ";a=:+/+/:",
            // Booleans and dates.
            ";a=?0",
            ";a=?1",
            ";a=?2",
            ";a=?",
            ";a=?10",
            ";a=@1",
            ";a=@-1",
            ";a=@",
            ";a=@1.5",
            ";a=@x",
            // Display strings.
            ";a=%\"\"",
            ";a=%\"b c\"",
            ";a=%\"%c3%a9\"",
            ";a=%\"%C3%A9\"",
            ";a=%\"%c3\"",
            ";a=%\"%\"",
            ";a=%\"%4\"",
            ";a=%\"é\"",
            ";a=%\"",
            ";a=%",
            ";a=%b",
            ";a=%\"%22\"",
            // Of a list, not of an item.
            ";a=(1)",
            ";a=()",
        ] {
            let is_ours = are_parameters(text.as_bytes());
            assert_eq!(is_ours, are_parameters_to_sfv(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_string_says_how_long_it_is_unescaped_and_what_follows() {
        let read = string(br#""a\"b\\";q"#).unwrap();
        assert_eq!(read.escaped, br#"a\"b\\"#);
        assert_eq!((read.len, read.rest), (4, &b";q"[..]));
    }

    proptest! {
        #[test]
        fn parameters_are_those_of_another_parser(text in r#"(; ?[a*A]([=]?[-a0-9.?:@%"'\\= ;*c3é\t]{0,7}))*"#) {
            let is_ours = are_parameters(text.as_bytes());
            prop_assert_eq!(is_ours, are_parameters_to_sfv(text.as_bytes()));
        }

        #[test]
        fn byte_sequences_and_display_strings_are_those_of_another_parser(
            text in r#";a=(:[A-Za-z0-9+/]{0,9}={0,3}:|%"(%[0-9a-f]{2}|%c3%a9|%e2%82%ac|[a-z ]){0,5}")"#,
        ) {
            let is_ours = are_parameters(text.as_bytes());
            prop_assert_eq!(is_ours, are_parameters_to_sfv(text.as_bytes()));
        }
    }
}
