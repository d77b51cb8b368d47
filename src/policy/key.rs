//! Whose request it is.

use std::{fmt, marker::PhantomData, sync::Arc};

use http::{
    HeaderName,
    header::{COOKIE, FORWARDED},
    request::Parts,
};

use crate::{
    error::ConfigError,
    key::{KeyPart, KeyParts},
};

/// Reads out of a request whose it is.
///
/// Closures that return `Option` of an owned [`KeyPart`] are extractors, and so are tuples of two to
/// four extractors, which find nothing as soon as one of them does:
///
/// ```
/// use tower_stash::policy::{KeyExtractor, header, peer_ip};
///
/// let tenant = |parts: &http::request::Parts| {
///     let (tenant, _) = parts.uri.host()?.split_once('.')?;
///     Some(tenant.to_owned())
/// };
/// let subject = (tenant, header("x-api-key"), peer_ip()).or_reject();
/// ```
pub trait KeyExtractor: Send + Sync + 'static {
    /// Appends to the key what identifies the request, always as many parts; or returns `None` if the
    /// request does not tell. What was appended before `None` is forgotten.
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()>;

    /// Mistakes that were noticed when this extractor was made. A layer's constructor asks.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// A request that does not tell is let through as if it had no rule.
    ///
    /// Whoever can choose not to tell, for example by leaving out a header, is free of the rule.
    fn or_skip(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Skip)
    }

    /// A request that does not tell is answered with 400.
    fn or_reject(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Reject)
    }

    /// All requests that do not tell count as one subject, different from every other.
    fn or_shared(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Shared)
    }
}

/// Whose request it is, and what happens when the request does not tell; cheap to clone.
///
/// It is made by [`or_skip`](KeyExtractor::or_skip), [`or_reject`](KeyExtractor::or_reject) or
/// [`or_shared`](KeyExtractor::or_shared).
#[derive(Clone)]
pub struct Subject {
    extractor: Arc<dyn KeyExtractor>,
    missing: Missing,
}

/// What a layer is to do with a request, as far as its [`Subject`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Go on: the subject has been appended to the key.
    Key,
    /// Let the request through as if it had no rule.
    Skip,
    /// Answer with 400.
    Reject,
}

/// What happens to a request that does not tell whose it is.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Skip,
    Reject,
    Shared,
}

impl Subject {
    fn new(extractor: impl KeyExtractor, missing: Missing) -> Self {
        Self {
            extractor: Arc::new(extractor),
            missing,
        }
    }

    /// Appends the subject of this request to the key, or leaves the key as it is.
    pub fn resolve(&self, parts: &Parts, key: &mut KeyParts) -> Resolved {
        let before = key.len();
        KNOWN.append_to(key);
        if self.extractor.extract(parts, key).is_some() {
            return Resolved::Key;
        }
        key.truncate(before);
        match self.missing {
            Missing::Skip => Resolved::Skip,
            Missing::Reject => Resolved::Reject,
            Missing::Shared => {
                SHARED.append_to(key);
                Resolved::Key
            }
        }
    }

    /// Mistakes that were noticed when the extractor was made.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.extractor.check()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

/// Begins the parts of a subject that was found, which may be any parts at all; so no such list of
/// parts equals the one of [`SHARED`].
const KNOWN: Option<&str> = Some("");

/// Stands for all requests that do not tell.
const SHARED: Option<&str> = None;

/// The value of a header, byte for byte.
///
/// Missing when the header is absent, empty, or there in several lines: which of them counts is then
/// for each reader to guess, and a client must not be counted under one value and served under another.
///
/// Whoever may send any value may count as anybody. So this is for values that something verifies,
/// such as API keys; for addresses there is [`client_ip`](super::client_ip).
#[must_use]
pub fn header(name: &str) -> impl KeyExtractor + Clone + fmt::Debug + use<> {
    Header {
        name: HeaderName::try_from(name)
            .map_err(|_| {
                ConfigError::new(format!(
                    "header({name:?}): not a header name; write one such as \"x-api-key\""
                ))
            })
            .and_then(|name| {
                match name.as_str() {
                    "x-forwarded-for" | "x-real-ip" => Err(name),
                    _ if name == FORWARDED => Err(name),
                    _ => Ok(name),
                }
                .map_err(|name| {
                    ConfigError::new(format!(
                        "header(\"{name}\"): every client can write this header itself; write \
                     client_ip(TrustedProxies::cidrs([..])?) with the networks of your proxies"
                    ))
                })
            }),
    }
}

#[derive(Clone, Debug)]
struct Header {
    name: Result<HeaderName, ConfigError>,
}

impl KeyExtractor for Header {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        let name = self.name.as_ref().ok()?;
        let value = only(parts.headers.get_all(name).iter())?.as_bytes();
        if value.is_empty() {
            return None;
        }
        key.push(value);
        Some(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.name.clone().map(|_| ())
    }
}

/// The value of a cookie, byte for byte and as it was sent: quotes and percent-encoding are part of it.
///
/// The name is compared exactly, in all `Cookie` lines. Missing when the cookie is absent, empty, or
/// there more than once.
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
        let value = only(values)?;
        if value.is_empty() {
            return None;
        }
        key.push(value);
        Some(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.name.clone().map(|_| ())
    }
}

/// What an outer middleware put into the request's extensions, such as the user it authenticated.
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
/// which axum has chosen no route count as one: those of a fallback, and all of them where the layer
/// stands around the router instead of in it.
#[cfg(feature = "axum")]
#[must_use]
pub fn path() -> impl KeyExtractor + Clone + fmt::Debug {
    Path
}

#[cfg(feature = "axum")]
#[derive(Clone, Debug)]
struct Path;

#[cfg(feature = "axum")]
impl KeyExtractor for Path {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        let route = parts.extensions.get::<axum::extract::MatchedPath>();
        key.push(route.map(axum::extract::MatchedPath::as_str));
        Some(())
    }
}

impl<K: KeyPart, F> KeyExtractor for F
where
    F: Fn(&Parts) -> Option<K> + Send + Sync + 'static,
{
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        key.push(self(parts)?);
        Some(())
    }
}

macro_rules! tuple {
    ($($extractor:ident)+) => {
        /// All of them, one after the other; missing if one is.
        impl<$($extractor: KeyExtractor),+> KeyExtractor for ($($extractor,)+) {
            #[expect(non_snake_case, reason = "each element is named as its type")]
            fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
                let ($($extractor,)+) = self;
                $($extractor.extract(parts, key)?;)+
                Some(())
            }

            #[expect(non_snake_case, reason = "each element is named as its type")]
            fn check(&self) -> Result<(), ConfigError> {
                let ($($extractor,)+) = self;
                $($extractor.check()?;)+
                Ok(())
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

/// The only item, if there is exactly one.
pub(super) fn only<I: Iterator>(mut items: I) -> Option<I::Item> {
    let item = items.next()?;
    items.next().is_none().then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    fn request(headers: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn key(subject: &Subject, parts: &Parts) -> Key {
        let mut key = KeyParts::new();
        assert_eq!(subject.resolve(parts, &mut key), Resolved::Key);
        Key::custom("test", &key)
    }

    fn missing(extractor: impl KeyExtractor, parts: &Parts) -> bool {
        let mut key = KeyParts::new().with("before");
        let before = key.len();
        let resolved = extractor.or_skip().resolve(parts, &mut key);
        assert_eq!(resolved == Resolved::Skip, key.len() == before);
        resolved == Resolved::Skip
    }

    #[test]
    fn a_missing_key_does_what_was_chosen() {
        let nothing = request(&[]);
        let resolve = |subject: Subject| subject.resolve(&nothing, &mut KeyParts::new());
        assert_eq!(resolve(header("a").or_skip()), Resolved::Skip);
        assert_eq!(resolve(header("a").or_reject()), Resolved::Reject);
        assert_eq!(resolve(header("a").or_shared()), Resolved::Key);
    }

    /// Appends nothing, which no extractor here does.
    struct Nothing;

    impl KeyExtractor for Nothing {
        fn extract(&self, parts: &Parts, _: &mut KeyParts) -> Option<()> {
            parts.headers.get("a").map(|_| ())
        }
    }

    #[test]
    fn the_shared_subject_is_no_other() {
        let told = |parts: &Parts| parts.headers.get("a").map(|_| None::<&'static str>);
        let subject = told.or_shared();
        let shared = key(&subject, &request(&[]));
        assert_ne!(shared, key(&subject, &request(&[("a", b"b")])));

        let subject = Nothing.or_shared();
        assert_eq!(shared, key(&subject, &request(&[])));
        assert_ne!(shared, key(&subject, &request(&[("a", b"b")])));
    }

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
    fn a_tuple_is_missing_if_one_element_is() {
        let only_a = request(&[("a", b"1")]);
        assert!(missing((header("a"), header("b")), &only_a));
        assert!(missing((header("b"), header("a")), &only_a));
        let both = request(&[("a", b"1"), ("b", b"2")]);
        assert!(!missing((header("a"), header("b")), &both));
        let swapped = request(&[("a", b"2"), ("b", b"1")]);
        let subject = (header("a"), header("b")).or_skip();
        assert_ne!(key(&subject, &both), key(&subject, &swapped));
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
        fn different_headers_are_different_subjects(
            a in header_bytes(), b in header_bytes(), c in header_bytes(), d in header_bytes(),
        ) {
            let subject = (header("a"), header("b")).or_shared();
            let one = key(&subject, &request(&[("a", &a), ("b", &b)]));
            let two = key(&subject, &request(&[("a", &c), ("b", &d)]));
            prop_assert_eq!(one == two, (a, b) == (c, d));
        }

        #[test]
        fn hostile_cookies_do_not_panic(line in header_bytes()) {
            let parts = request(&[("cookie", &line)]);
            let _ = cookie("sid").or_shared().resolve(&parts, &mut KeyParts::new());
        }
    }
}
