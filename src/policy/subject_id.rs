//! Whose counters, said by a program.

use std::fmt;

use crate::key::{KeyPart, KeyParts};

/// Whose counters they are, given by a program rather than by a request.
///
/// It is made from the value that the rule's extractor finds in the requests of that subject, of
/// the same type or of one that is the same part of a key:
///
/// | the rule's subject | what to make it from |
/// |---|---|
/// | [`header(..)`](super::header), [`cookie(..)`](super::cookie) | the value as it is sent, as text (`&str`, `String`); as `[u8]` if it is not UTF-8 |
/// | [`extension::<T>()`](super::extension) | the `T` |
/// | [`peer_ip()`](super::peer_ip), [`client_ip(..)`](super::client_ip) | [`ClientAddr(ip)`](super::ClientAddr); not `ip`, which is one of a /64 |
/// | `matched_path()` | `Some("/users/{id}")`, and `None::<&str>` for no route |
/// | a closure | what it returns in `Some` |
/// | a tuple of these | the tuple of their values |
/// | [`or_shared()`](super::KeyExtractor::or_shared), for requests that do not tell | [`SubjectId::shared()`] |
///
/// ```
/// use tower_stash::policy::{KeyExtractor as _, SubjectId, cookie, header};
///
/// let subject = (header("x-tenant"), cookie("sid")).or_shared();
/// let request = http::Request::get("/").header("x-tenant", "acme").header("cookie", "sid=7f");
/// let (request, ()) = request.body(()).unwrap().into_parts();
/// assert_eq!(subject.identify(&request), Some(SubjectId::from(("acme", "7f"))));
///
/// let (nobody, ()) = http::Request::get("/").body(()).unwrap().into_parts();
/// assert_eq!(subject.identify(&nobody), Some(SubjectId::shared()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SubjectId {
    parts: KeyParts,
}

impl SubjectId {
    /// All requests that do not tell whose they are, under a rule whose subject is
    /// [`or_shared`](super::KeyExtractor::or_shared).
    #[must_use]
    pub fn shared() -> Self {
        Self::resolved(KeyParts::new().with(SHARED))
    }

    /// The subject that [`Subject::resolve`](super::Subject::resolve) appended to an empty key.
    pub(super) fn resolved(parts: KeyParts) -> Self {
        Self { parts }
    }

    /// Appends to the key what [`Subject::resolve`](super::Subject::resolve) appends for a request
    /// of this subject.
    pub fn append_to_key(&self, key: &mut KeyParts) {
        key.extend(&self.parts);
    }
}

impl<T: KeyPart> From<T> for SubjectId {
    fn from(part: T) -> Self {
        Self::resolved(KeyParts::new().with(KNOWN).with(part))
    }
}

/// Shows nothing of it: a client may have written it.
impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectId").finish_non_exhaustive()
    }
}

/// Begins the parts of a subject that was found, which may be any parts at all; so no such list of
/// parts equals the one of [`SHARED`].
pub(super) const KNOWN: Option<&str> = Some("");

/// Stands for all requests that do not tell.
pub(super) const SHARED: Option<&str> = None;

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, SocketAddr},
        sync::Arc,
    };

    use super::super::{
        ClientAddr, KeyExtractor as _, PeerAddr, Subject, TrustedProxies, client_ip, cookie,
        extension, header, peer_ip,
        testing::{key, request},
    };
    use super::*;
    use crate::key::Key;
    use proptest::prelude::*;

    /// The id that is made from a value is the one of a request that has it, and forms its key.
    fn is_id_of(
        id: impl Into<SubjectId>,
        subject: &Subject,
        request: &http::request::Parts,
    ) -> Result<(), TestCaseError> {
        let id = id.into();
        let mut parts = KeyParts::new();
        id.append_to_key(&mut parts);
        prop_assert_eq!(Key::custom("test", &parts), key(subject, request));
        prop_assert_eq!(subject.identify(request), Some(id));
        Ok(())
    }

    fn from_peer(peer: IpAddr, headers: &[(&str, &[u8])]) -> http::request::Parts {
        let mut parts = request(headers);
        parts
            .extensions
            .insert(PeerAddr(SocketAddr::new(peer, 4711)));
        parts
    }

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4),
            any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6),
            any::<std::net::Ipv4Addr>().prop_map(|v4| v4.to_ipv6_mapped().into()),
        ]
    }

    proptest! {
        #[test]
        fn the_id_of_a_header_is_its_text(value in "[!-~\u{e9}\u{4e2d}]{1,80}") {
            let sent = request(&[("x-api-key", value.as_bytes())]);
            is_id_of(value.as_str(), &header("x-api-key").or_skip(), &sent)?;
            is_id_of(value, &header("x-api-key").or_shared(), &sent)?;
        }

        #[test]
        fn the_id_of_a_header_that_is_no_text_is_its_bytes(
            value in proptest::collection::vec(0x80_u8.., 1..40),
        ) {
            prop_assume!(str::from_utf8(&value).is_err());
            let sent = request(&[("x-api-key", &value)]);
            is_id_of(value.as_slice(), &header("x-api-key").or_skip(), &sent)?;
        }

        #[test]
        fn the_id_of_a_cookie_is_its_text(value in "[!-:<-~]{1,40}") {
            let sent = request(&[("cookie", format!("a=b; sid={value}").as_bytes())]);
            is_id_of(value, &cookie("sid").or_reject(), &sent)?;
        }

        #[test]
        fn the_id_of_an_extension_is_its_value(user in any::<u64>()) {
            let mut sent = request(&[]);
            sent.extensions.insert(user);
            is_id_of(user, &extension::<u64>().or_skip(), &sent)?;
        }

        #[test]
        fn the_id_of_what_a_closure_finds_is_that(tenant in "[a-z]{1,60}") {
            let subject = |parts: &http::request::Parts| {
                parts.extensions.get::<Arc<str>>().cloned()
            };
            let mut sent = request(&[]);
            sent.extensions.insert::<Arc<str>>(tenant.as_str().into());
            is_id_of(tenant, &subject.or_skip(), &sent)?;
        }

        #[test]
        fn the_id_of_an_address_is_the_client_that_has_it(
            peer in any_ip(), client in any_ip(), zone in any::<bool>(),
        ) {
            is_id_of(ClientAddr(peer), &peer_ip().or_reject(), &from_peer(peer, &[]))?;

            let zone = if zone && client.is_ipv6() { "%eth0" } else { "" };
            let chain = format!("203.0.113.9, {client}{zone}");
            let forwarded = from_peer(peer, &[("x-forwarded-for", chain.as_bytes())]);
            let hops = client_ip(TrustedProxies::hops(1).unwrap());
            is_id_of(ClientAddr(client), &hops.or_skip(), &forwarded)?;
        }

        #[test]
        fn the_id_of_a_tuple_is_the_tuple(
            a in "[a-z]{1,9}", b in any::<i64>(), c in any_ip(), d in "[a-z]{1,80}",
        ) {
            let mut sent = from_peer(c, &[("a", a.as_bytes()), ("d", d.as_bytes())]);
            sent.extensions.insert(b);
            let (a, d) = (a.as_str(), d.as_str());
            let number = extension::<i64>;
            is_id_of((a, b), &(header("a"), number()).or_skip(), &sent)?;
            let three = (header("a"), number(), peer_ip()).or_skip();
            is_id_of((a, b, ClientAddr(c)), &three, &sent)?;
            let four = (header("a"), number(), peer_ip(), header("d")).or_skip();
            is_id_of((a, b, ClientAddr(c), d), &four, &sent)?;
        }

        #[test]
        fn two_values_are_two_ids(a in ".{0,12}", b in ".{0,12}", n in any::<u64>()) {
            prop_assert_eq!(SubjectId::from(&*a) == SubjectId::from(&*b), a == b);
            prop_assert_ne!(SubjectId::from((&*a, &*b)), SubjectId::from(format!("{a}{b}")));
            prop_assert_ne!(SubjectId::from(n.to_string()), SubjectId::from(n));
            prop_assert_ne!(SubjectId::from(a.as_bytes()), SubjectId::from(&*a));
        }
    }

    #[cfg(feature = "axum")]
    #[test]
    fn the_id_of_no_route_is_none_of_a_text() {
        let subject = super::super::matched_path().or_skip();
        is_id_of(None::<&str>, &subject, &request(&[])).unwrap();
    }

    #[test]
    fn who_does_not_tell_is_the_shared_one_or_nobody() {
        let nobody = request(&[]);
        let shared = header("a").or_shared();
        is_id_of(SubjectId::shared(), &shared, &nobody).unwrap();
        assert_eq!(header("a").or_skip().identify(&nobody), None);
        assert_eq!(header("a").or_reject().identify(&nobody), None);
        assert_ne!(SubjectId::shared(), SubjectId::from(None::<&str>));
        assert_ne!(SubjectId::shared(), SubjectId::from(""));
    }

    #[test]
    fn an_id_shows_nothing_of_it() {
        assert!(!format!("{:?}", SubjectId::from("s3cret")).contains("s3cret"));
        let parts = KeyParts::new().with("s3cret");
        assert!(!format!("{parts:?}").contains("s3cret"));
    }
}
