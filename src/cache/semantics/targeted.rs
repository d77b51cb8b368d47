//! Targeted cache control (RFC 9213).

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName};

use super::{
    directives::{ResponseDirectives, clamped},
    structured::{self, Value},
};

/// The directives that hold for a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Governing {
    pub(in crate::cache) directives: ResponseDirectives,
    /// Whether they are those of a targeted field; then `Expires` means nothing.
    pub(in crate::cache) is_targeted: bool,
}

/// §2.2: those of the first of these fields that has a valid value that is not empty; else those of
/// `Cache-Control`.
pub(in crate::cache) fn governing(headers: &HeaderMap, targeted: &[HeaderName]) -> Governing {
    match targeted.iter().find_map(|name| read(headers, name)) {
        Some(directives) => Governing {
            directives,
            is_targeted: true,
        },
        None => Governing {
            directives: ResponseDirectives::read(headers),
            is_targeted: false,
        },
    }
}

/// What this field says, if it is a dictionary that is not empty, and each directive in it that we
/// know has a type that this directive may have.
fn read(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseDirectives> {
    let text = joined(headers, name)?;
    let members = structured::dictionary(&text)?;
    if members.is_empty() {
        return None;
    }
    let value = |name: &str| {
        let of_name = |(key, _): &&(&[u8], Value<'_>)| *key == name.as_bytes();
        members.iter().rfind(of_name).map(|(_, value)| *value)
    };

    let mut directives = ResponseDirectives {
        is_malformed: false,
        no_store: flag(value("no-store"))?,
        no_cache: false,
        is_private: false,
        is_public: flag(value("public"))?,
        must_revalidate: flag(value("must-revalidate"))?,
        proxy_revalidate: flag(value("proxy-revalidate"))?,
        must_understand: flag(value("must-understand"))?,
        no_transform: flag(value("no-transform"))?,
        max_age: seconds(value("max-age"))?,
        s_maxage: seconds(value("s-maxage"))?,
        stale_while_revalidate: seconds(value("stale-while-revalidate"))?,
        stale_if_error: seconds(value("stale-if-error"))?,
        fields: Vec::new(),
    };
    qualified(&mut directives, value("no-cache"), |it| it.no_cache = true)?;
    qualified(&mut directives, value("private"), |it| it.is_private = true)?;
    Some(directives)
}

/// RFC 9651 §4.2: all lines, with commas between.
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let mut text = Cow::Borrowed(lines.next()?.as_bytes());
    for line in lines {
        let text = text.to_mut();
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    Some(text)
}

fn flag(value: Option<Value<'_>>) -> Option<bool> {
    match value {
        None => Some(false),
        Some(Value::Boolean(is_set)) => Some(is_set),
        Some(_) => None,
    }
}

/// A time before its beginning has passed.
fn seconds(value: Option<Value<'_>>) -> Option<Option<Duration>> {
    match value {
        None => Some(None),
        Some(Value::Integer(seconds)) => Some(Some(clamped(u64::try_from(seconds).unwrap_or(0)))),
        Some(_) => None,
    }
}

/// A token where the names of fields should be counts as in `Cache-Control`: as none.
fn qualified(
    directives: &mut ResponseDirectives,
    value: Option<Value<'_>>,
    unqualified: fn(&mut ResponseDirectives),
) -> Option<()> {
    match value {
        None | Some(Value::Boolean(false)) => {}
        Some(Value::Boolean(true) | Value::Token(_)) => unqualified(directives),
        Some(Value::Text(list)) => directives.add_fields(&list.unescaped(), unqualified),
        Some(Value::Integer(_) | Value::Other) => return None,
    }
    Some(())
}
