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
        no_store: flag(value("no-store"))?,
        is_public: flag(value("public"))?,
        must_revalidate: flag(value("must-revalidate"))?,
        proxy_revalidate: flag(value("proxy-revalidate"))?,
        must_understand: flag(value("must-understand"))?,
        no_transform: flag(value("no-transform"))?,
        ..ResponseDirectives::default()
    };
    for (name, time) in [
        ("max-age", &mut directives.max_age),
        ("s-maxage", &mut directives.s_maxage),
        (
            "stale-while-revalidate",
            &mut directives.stale_while_revalidate,
        ),
        ("stale-if-error", &mut directives.stale_if_error),
    ] {
        if let Some(value) = value(name) {
            *time = Some(seconds(value)?);
        }
    }
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

/// A number below zero is the right type, and a time that is over.
fn seconds(value: Value<'_>) -> Option<Duration> {
    match value {
        Value::Integer(seconds) => Some(clamped(u64::try_from(seconds).unwrap_or(0))),
        _ => None,
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OWN: HeaderName = HeaderName::from_static("stash-cache-control");
    const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");

    fn read_from(lines: &[(&'static str, &'static str)]) -> Governing {
        let lines = lines.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        });
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        governing(&headers, &[OWN, CDN])
    }

    fn targeted(value: &'static str) -> Option<ResponseDirectives> {
        let read = read_from(&[
            ("cdn-cache-control", value),
            ("cache-control", "max-age=77"),
        ]);
        if !read.is_targeted {
            assert_eq!(read.directives.max_age, Some(Duration::from_secs(77)));
        }
        read.is_targeted.then_some(read.directives)
    }

    #[test]
    fn a_valid_field_governs_in_the_place_of_cache_control() {
        let read = read_from(&[
            ("cache-control", "no-store, private"),
            ("cdn-cache-control", "max-age=60;x=1, foo=(1 2)"),
        ]);
        let expected = ResponseDirectives {
            max_age: Some(Duration::from_secs(60)),
            ..ResponseDirectives::default()
        };
        assert_eq!((read.is_targeted, read.directives), (true, expected));
        let read = read_from(&[
            ("cache-control", "no-store"),
            ("other-cache-control", "max-age=1"),
        ]);
        assert!(!read.is_targeted && read.directives.no_store);
    }

    #[test]
    fn the_first_valid_field_of_the_list_governs() {
        let age = |lines: &[_]| read_from(lines).directives.max_age.map(|age| age.as_secs());
        let second = ("cdn-cache-control", "max-age=2");
        assert_eq!(
            age(&[second, ("stash-cache-control", "max-age=1")]),
            Some(1)
        );
        assert_eq!(age(&[second, ("stash-cache-control", "max-age=")]), Some(2));
        assert_eq!(age(&[second, ("stash-cache-control", " ")]), Some(2));
    }

    #[test]
    fn what_is_empty_or_no_dictionary_is_as_if_it_were_not_there() {
        for value in [
            "",
            " ",
            "max-age=60,",
            "Max-Age=60",
            "max-age =60",
            "max-age= 60",
            "max-age=60; ",
            "\u{e9}",
            "a=\"b",
            "no-store no-cache",
        ] {
            assert_eq!(targeted(value), None, "{value}");
        }
    }

    #[test]
    fn the_wrong_type_of_a_directive_that_is_known_makes_the_field_void() {
        for value in [
            "max-age",
            "max-age=\"60\"",
            "max-age=60.0",
            "max-age=a",
            "max-age=(60)",
            "max-age=@60",
            "s-maxage=?1",
            "stale-if-error=a",
            "stale-while-revalidate=:YQ==:",
            "no-store=1",
            "public=a",
            "must-revalidate=\"\"",
            "private=1",
            "no-cache=(a)",
            "must-understand=1",
            "proxy-revalidate=1",
            "no-transform=a",
            "no-store, max-age=a",
        ] {
            assert_eq!(targeted(value), None, "{value}");
        }
        assert!(targeted("unknown=a, another=(1 2), third=\"\"").is_some());
    }

    #[test]
    fn the_last_of_a_key_counts() {
        let read = targeted("max-age=5, max-age=7, no-store, no-store=?0").unwrap();
        assert_eq!(read.max_age, Some(Duration::from_secs(7)));
        assert!(!read.no_store);
        assert!(targeted("max-age=a, max-age=7").is_some());
        assert_eq!(targeted("max-age=7, max-age=a"), None);
    }

    #[test]
    fn times_are_clamped() {
        let read = targeted("max-age=-1, s-maxage=999999999999").unwrap();
        assert_eq!(read.max_age, Some(Duration::ZERO));
        assert_eq!(read.s_maxage, Some(Duration::from_secs(1 << 31)));
    }

    #[test]
    fn fields_are_named_in_strings() {
        let read = targeted("private=\"a, b\", no-cache=?0").unwrap();
        assert!(!read.is_private && !read.no_cache);
        assert_eq!(read.fields, ["a", "b"]);
        let read = targeted("private=x, no-cache=\"a b\"").unwrap();
        assert!(read.is_private && read.no_cache && read.fields.is_empty());
    }

    #[test]
    fn lines_are_joined() {
        let read = read_from(&[
            ("cdn-cache-control", "max-age=60"),
            ("cdn-cache-control", "private"),
        ]);
        assert!(read.is_targeted && read.directives.is_private);
        assert!(read.directives.max_age.is_some());
        let read = read_from(&[
            ("cdn-cache-control", "max-age=60"),
            ("cdn-cache-control", "A"),
        ]);
        assert!(!read.is_targeted);
    }
}
