//! What identifies a request: a header, a cookie, an extension, the route.

use std::{fmt, marker::PhantomData};

use http::{
    HeaderName,
    header::{COOKIE, FORWARDED},
    request::Parts,
};

use super::KeyExtractor;
use crate::{
    error::ConfigError,
    key::{KeyPart, KeyParts},
};

/// The value of a header, byte for byte.
///
/// In a program the same subject is the value as text, or, of what is not UTF-8, as `[u8]`:
/// `SubjectId::from("k-88c0")`.
///
/// Missing when the header is absent, empty, or there in several lines: which of them counts is
/// then for each reader to guess, and a client must not be counted under one value
/// and served under another.
///
/// Whoever may send any value may count as anybody. So this is for values that something verifies,
/// such as API keys; for addresses there is [`client_ip`](super::client_ip).
#[must_use]
pub fn header(name: &str) -> impl KeyExtractor + Clone + fmt::Debug + use<> {
    Header {
        name: header_name(name),
    }
}

#[derive(Clone, Debug)]
struct Header {
    name: Result<HeaderName, ConfigError>,
}

impl KeyExtractor for Header {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        let name = self.name.as_ref().ok()?;
        let value = exactly_one(parts.headers.get_all(name).iter())?;
        push_sent(value.as_bytes(), key)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.name.clone().map(|_| ())
    }
}

/// The value of a cookie, byte for byte and as it was sent: quotes and
/// percent-encoding are part of it.
///
/// In a program the same subject is that value as text, or, of what is not UTF-8, as `[u8]`.
///
/// The name is compared exactly, in all `Cookie` lines. Missing when the cookie is absent, empty,
/// or there more than once.
#[must_use]
pub fn cookie(name: &str) -> impl KeyExtractor + Clone + fmt::Debug + use<> {
    // RFC 6265 §4.1.1: a cookie's name is a token, as a header's is.
    let name = if HeaderName::try_from(name).is_ok() {
        Ok(name.into())
    } else {
        Err(ConfigError::new(format!(
            "cookie({name:?}): not a cookie name; write one of letters, digits, '-' and '_'"
        )))
    };
    Cookie { name }
}

#[derive(Clone, Debug)]
struct Cookie {
    name: Result<Box<str>, ConfigError>,
}

impl KeyExtractor for Cookie {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        let name = self.name.as_ref().ok()?.as_bytes();
        let lines = parts.headers.get_all(COOKIE).iter();
        let values = lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="));
        push_sent(exactly_one(values)?, key)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.name.clone().map(|_| ())
    }
}

/// What an outer middleware put into the request's extensions, such as the user it authenticated.
///
/// A number, text, or a type of yours that implements [`KeyPart`].
///
/// In a program the same subject is that value: `SubjectId::from(user_id)`.
#[must_use]
pub fn extension<T: KeyPart + Send + Sync + 'static>() -> impl KeyExtractor + Clone + fmt::Debug {
    Extension::<T>(PhantomData)
}

struct Extension<T>(PhantomData<fn() -> T>);

impl<T: KeyPart + Send + Sync + 'static> KeyExtractor for Extension<T> {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        key.push(parts.extensions.get::<T>()?);
        Some(())
    }
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Extension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extension")
    }
}

/// The pattern of the route that axum chose, such as `/users/{id}`; never missing.
///
/// It is never the path itself, of which a client can make up as many as it likes. All requests for
/// which axum has chosen no route count as one: those of a fallback, and all of them where the
/// layer stands around the router instead of in it.
///
/// In a program the same subject is `Some("/users/{id}")`, and `None::<&str>`
/// where there is no route.
#[cfg(feature = "axum")]
#[must_use]
pub fn matched_path() -> impl KeyExtractor + Clone + fmt::Debug {
    MatchedPath
}

#[cfg(feature = "axum")]
#[derive(Clone, Debug)]
struct MatchedPath;

#[cfg(feature = "axum")]
impl KeyExtractor for MatchedPath {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        let route = parts.extensions.get::<axum::extract::MatchedPath>();
        key.push(route.map(axum::extract::MatchedPath::as_str));
        Some(())
    }
}

/// The name of a header that may say whose a request is.
fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    let Ok(name) = HeaderName::try_from(name) else {
        return Err(ConfigError::new(format!(
            "header({name:?}): not a header name; write one such as \"x-api-key\""
        )));
    };
    if name == FORWARDED || matches!(name.as_str(), "x-forwarded-for" | "x-real-ip") {
        return Err(ConfigError::new(format!(
            "header(\"{name}\"): every client can write this header itself; write \
             client_ip(TrustedProxies::cidrs([..])?) with the networks of your proxies"
        )));
    }
    Ok(name)
}

/// Appends a value that was sent, unless it is empty: as text where it is that, since programs have
/// text to compare it with. No text is equal to other bytes, so different values stay different.
fn push_sent(value: &[u8], key: &mut KeyParts) -> Option<()> {
    if value.is_empty() {
        return None;
    }
    match str::from_utf8(value) {
        Ok(text) => key.push(text),
        Err(_) => key.push(value),
    }
    Some(())
}

/// The only item, if there is exactly one.
pub(super) fn exactly_one<I: Iterator>(mut items: I) -> Option<I::Item> {
    let item = items.next()?;
    items.next().is_none().then_some(item)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{
        Subject,
        testing::{key, missing, request},
    };
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_that_is_empty_or_repeated_is_missing() {
        assert!(missing(header("x-api-key"), &request(&[])));
        assert!(missing(
            header("x-api-key"),
            &request(&[("x-api-key", b"")])
        ));
        let twice = request(&[("x-api-key", b"a"), ("x-api-key", b"b")]);
        assert!(missing(header("x-api-key"), &twice));
        assert!(!missing(
            header("X-Api-Key"),
            &request(&[("x-api-key", b"a")])
        ));
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name_in_every_line() {
        let in_second_line = request(&[("cookie", b"a=1; sidx=2"), ("cookie", b" b=3;sid=4 ")]);
        let direct = request(&[("cookie", b"sid=4")]);
        let subject = cookie("sid").or_skip();
        assert_eq!(key(&subject, &in_second_line), key(&subject, &direct));

        for absent in [
            "sidx=1", "SID=1", "%73id=1", "sid", "sid=", "xsid=1", "sid =1",
        ] {
            assert!(
                missing(cookie("sid"), &request(&[("cookie", absent.as_bytes())])),
                "{absent}"
            );
        }
        assert!(missing(
            cookie("sid"),
            &request(&[("cookie", b"sid=1; sid=2")])
        ));
        assert!(missing(
            cookie("sid"),
            &request(&[("cookie", b"sid=1"), ("cookie", b"sid=2")])
        ));
    }

    #[test]
    fn a_cookie_counts_byte_for_byte() {
        let subject = cookie("sid").or_reject();
        let sent = ["a", "\"a\"", "%61", "a=b", "a-b", "A"];
        let keys: std::collections::HashSet<_> = sent
            .iter()
            .map(|value| {
                key(
                    &subject,
                    &request(&[("cookie", format!("sid={value}").as_bytes())]),
                )
            })
            .collect();
        assert_eq!(keys.len(), sent.len());
    }

    #[test]
    fn an_extension_is_missing_until_it_is_put_there() {
        struct User(u64);
        impl KeyPart for User {
            fn append_to(&self, parts: &mut KeyParts) {
                self.0.append_to(parts);
            }
        }
        let mut parts = request(&[]);
        assert!(missing(extension::<Arc<str>>(), &parts));
        parts.extensions.insert::<Arc<str>>("alice".into());
        assert!(!missing(extension::<Arc<str>>(), &parts));
        assert!(missing(extension::<User>(), &parts));
    }

    #[test]
    fn names_that_cannot_be_are_reported() {
        let problem = |subject: Subject| subject.check().unwrap_err().to_string();
        assert!(problem(header("x api").or_skip()).contains("write one such as"));
        assert!(problem(cookie("a;b").or_skip()).contains("not a cookie name"));
        assert!(problem(cookie("").or_skip()).contains("not a cookie name"));
        assert!(problem(header("X-Forwarded-For").or_skip()).contains("client_ip("));
        assert!(problem((header("ok"), header("forwarded")).or_skip()).contains("client_ip("));
        assert!((header("ok"), cookie("ok")).or_skip().check().is_ok());
    }

    /// What a header may carry: everything but control characters.
    fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')];
        proptest::collection::vec(byte, 1..24)
    }

    proptest! {
        #[test]
        fn hostile_cookies_do_not_panic(line in header_bytes()) {
            let parts = request(&[("cookie", &line)]);
            let _ = cookie("sid").or_shared().resolve(&parts, &mut KeyParts::new());
        }
    }
}
