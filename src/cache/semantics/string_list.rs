//! Lists of strings (RFC 9651 §3.1), as cache groups are.
//!
//! A function here takes a text that may begin with what it is named after, and gives what follows.

use http::{HeaderMap, HeaderName};

/// The strings of a list, unescaped, without their parameters; `None` if the field is malformed or
/// has a member that is no string: then all of it is to be ignored (RFC 9651 §4.2).
pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(http::HeaderValue::as_bytes)
        .collect();
    let joined = lines.join(&b", "[..]);
    list(&joined)
}

/// RFC 9651 §4.2.1.
fn list(text: &[u8]) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    let mut rest = skip(text, |byte| byte == b' ');
    if rest.is_empty() {
        return Some(strings);
    }
    loop {
        let (text, after) = string(rest)?;
        strings.push(text);
        rest = skip(parameters(after)?, is_white);
        if rest.is_empty() {
            return Some(strings);
        }
        rest = skip(rest.strip_prefix(b",")?, is_white);
    }
}

/// §4.2.5.
fn string(text: &[u8]) -> Option<(String, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut string = String::new();
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some((string, after)),
            [b'\\', byte @ (b'\\' | b'"'), after @ ..] => (byte, after),
            [b'\\', ..] => return None,
            [byte @ b' '..=b'~', after @ ..] => (byte, after),
            _ => return None,
        };
        string.push(char::from(*byte));
        rest = after;
    }
}

/// §4.2.3.2.
fn parameters(mut text: &[u8]) -> Option<&[u8]> {
    while let Some(rest) = text.strip_prefix(b";") {
        let key = skip(rest, |byte| byte == b' ');
        let rest = word(key, is_key_start, |byte| {
            is_key_start(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte)
        })?;
        text = match rest.strip_prefix(b"=") {
            Some(value) => bare_item(value)?,
            None => rest,
        };
    }
    Some(text)
}

/// §4.2.3.1.
fn bare_item(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', ..] => string(text).map(|(_, rest)| rest),
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
        let is_integer = (1..=15).contains(&digits);
        return is_integer.then_some((Number::Integer, rest));
    };
    let rest = skip(fraction, |byte| byte.is_ascii_digit());
    let fraction_digits = fraction.len() - rest.len();
    let is_decimal = (1..=12).contains(&digits) && (1..=3).contains(&fraction_digits);
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
    let is_padded = padding.len() - end.len() <= most_padding;
    end.strip_prefix(b":").filter(|_| is_padded)
}

/// A display string whose quote was read (§4.2.10).
fn display_string(mut text: &[u8]) -> Option<&[u8]> {
    let mut bytes = Vec::new();
    loop {
        let byte;
        (byte, text) = match text {
            [b'"', rest @ ..] => return str::from_utf8(&bytes).is_ok().then_some(rest),
            [b'%', high, low, rest @ ..] => (hex_digit(*high)? << 4 | hex_digit(*low)?, rest),
            [b'%', ..] => return None,
            [plain @ b' '..=b'~', rest @ ..] => (*plain, rest),
            _ => return None,
        };
        bytes.push(byte);
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A word of at least one byte.
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

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
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
