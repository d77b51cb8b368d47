//! Hosts as the cache compares them.

use std::borrow::Cow;

use super::Scheme;

/// The host in lower case, and its port unless that is the scheme's own; `None` for what is none.
pub(super) fn normal(authority: &str, scheme: Scheme) -> Option<Cow<'_, str>> {
    let (name, port) = split(authority)?;
    if !is_name(name) {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(digits) => Some(number(digits)?).filter(|port| *port != scheme.port()),
    };
    let name = lower(name);
    Some(match port {
        None => name,
        Some(port) => format!("{name}:{port}").into(),
    })
}

/// Whether these bytes name that host, which is in its [`normal`] form.
pub(super) fn is(said: &[u8], host: &str, scheme: Scheme) -> bool {
    let said = str::from_utf8(said).ok();
    said.and_then(|said| normal(said, scheme))
        .is_some_and(|said| said == host)
}

/// The name, and what stands after its colon. The colons of an IPv6 address are within brackets.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let Some(end) = authority.rfind(']') else {
        return Some(match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        });
    };
    let (name, rest) = authority.split_at_checked(end + 1)?;
    match rest.strip_prefix(':') {
        Some(port) => Some((name, Some(port))),
        None => rest.is_empty().then_some((name, None)),
    }
}

/// Stricter than RFC 3986 §3.2.2: no real host has a comma or `%`, by which readers of it differ. Nor
/// is there user information (RFC 9110 §4.2.4).
fn is_name(name: &str) -> bool {
    let is_made_of = |name: &str, others: &[u8]| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
        !name.is_empty() && name.bytes().all(is_known)
    };
    match name.strip_prefix('[') {
        None => is_made_of(name, b".-_"),
        Some(address) => address
            .strip_suffix(']')
            .is_some_and(|address| is_made_of(address, b".:")),
    }
}

/// No sign before it, as `parse` would take.
fn number(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn http(authority: &str) -> Option<Cow<'_, str>> {
        normal(authority, Scheme::Http)
    }

    #[test]
    fn letters_are_lower_and_the_scheme_s_own_port_is_dropped() {
        for (said, host) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com", "example.com"),
            ("example.com:80", "example.com"),
            ("example.com:", "example.com"),
            ("example.com:0080", "example.com"),
            ("example.com:443", "example.com:443"),
            ("Example.com:08080", "example.com:8080"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("[::1]:81", "[::1]:81"),
        ] {
            assert_eq!(http(said).as_deref(), Some(host), "{said}");
        }
        let https = normal("example.com:443", Scheme::Https);
        assert_eq!(https.as_deref(), Some("example.com"));
        let other = normal("example.com:80", Scheme::Https);
        assert_eq!(other.as_deref(), Some("example.com:80"));
    }

    #[test]
    fn a_dot_at_the_end_stays() {
        assert_eq!(http("example.com.").as_deref(), Some("example.com."));
        assert_eq!(http("example.com.:80").as_deref(), Some("example.com."));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for said in [
            "",
            ":80",
            "user@example.com",
            "@example.com",
            "example.com:+80",
            "example.com:-1",
            "example.com:65536",
            "example.com:x",
            "example.com:80:80",
            "example.com/",
            "example.com?",
            "a b",
            " example.com",
            "a,b",
            "[::1",
            "[::1]x",
            "::1",
            "exämple.com",
            "example.com%2f",
            "[]",
            "[::1]:80:80",
            "a[::1]",
        ] {
            assert_eq!(http(said), None, "{said}");
        }
    }

    #[test]
    fn a_host_in_normal_form_is_not_copied() {
        for said in ["example.com", "example.com:80", "[::1]"] {
            assert!(matches!(http(said), Some(Cow::Borrowed(_))), "{said}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_normal_form_is_itself(
            said in "[a-zA-Z0-9.-]{0,9}|\\[[0-9A-F:]{0,6}\\]",
            port in "|:[0-9]{0,6}",
        ) {
            let said = said + &port;
            for scheme in [Scheme::Http, Scheme::Https] {
                if let Some(host) = normal(&said, scheme) {
                    let again = normal(&host, scheme);
                    prop_assert_eq!(again.as_deref(), Some(&*host));
                    prop_assert!(is(said.as_bytes(), &host, scheme));
                }
            }
        }

        #[test]
        fn nothing_that_is_said_panics(said in any::<String>()) {
            let _ = http(&said);
            is(said.as_bytes(), "example.com", Scheme::Https);
        }
    }
}
