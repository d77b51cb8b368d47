//! Whether something is so of a request.

use std::{collections::HashSet, fmt, sync::Arc};

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::ConfigError,
    key::{KeyPart, KeyParts},
};

/// Says of a request whether something holds: that it is on an allow list or a deny list, that a
/// rule skips it.
///
/// Closures `Fn(&Parts) -> bool` are conditions, and so are lists of what an extractor finds and,
/// for addresses, of networks:
///
/// ```
/// use http::{Method, request::Parts};
/// use tower_stash::policy::{Condition, KeyExtractor as _, header, peer_ip};
///
/// let reading = |parts: &Parts| parts.method == Method::GET;
/// let partner = header("x-api-key").is_one_of(["k-1f6e", "k-88c0"]);
/// let office = peer_ip().is_within(["192.0.2.0/24", "2001:db8:7::/48"])?;
/// office.check()?;
///
/// let (request, ()) = http::Request::get("/").header("x-api-key", "k-88c0").body(()).unwrap().into_parts();
/// assert!(reading.holds(&request) && partner.holds(&request));
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
pub trait Condition: Send + Sync + 'static {
    /// Whether it holds for this request.
    ///
    /// It may run for every request, so it should be quick.
    fn holds(&self, parts: &Parts) -> bool;

    /// Mistakes that were noticed while this condition was put together. A rule's constructor asks.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl<F> Condition for F
where
    F: Fn(&Parts) -> bool + Send + Sync + 'static,
{
    fn holds(&self, parts: &Parts) -> bool {
        self(parts)
    }
}

impl<C: Condition + ?Sized> Condition for Arc<C> {
    fn holds(&self, parts: &Parts) -> bool {
        (**self).holds(parts)
    }

    fn check(&self) -> Result<(), ConfigError> {
        (**self).check()
    }
}

/// Holds if an extractor finds one of some values; made by [`KeyExtractor::is_one_of`].
#[derive(Clone)]
pub struct IsOneOf<E> {
    extractor: E,
    values: HashSet<KeyParts>,
}

impl<E> IsOneOf<E> {
    pub(super) fn new<V: KeyPart>(extractor: E, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| KeyParts::new().with(value));
        Self {
            extractor,
            values: values.collect(),
        }
    }
}

impl<E: KeyExtractor> Condition for IsOneOf<E> {
    fn holds(&self, parts: &Parts) -> bool {
        let mut found = KeyParts::new();
        self.extractor.extract(parts, &mut found).is_some() && self.values.contains(&found)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.extractor.check()
    }
}

/// Shows no value: it may be a secret.
impl<E: fmt::Debug> fmt::Debug for IsOneOf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsOneOf")
            .field("extractor", &self.extractor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientAddr, extension, header, peer_ip, testing::request};
    use super::*;
    use crate::policy::PeerAddr;
    use proptest::prelude::*;

    #[test]
    fn a_list_holds_its_values_and_no_other() {
        let listed = header("x-api-key").is_one_of(["k-1", "k-2"]);
        let sent = |value: &[u8]| listed.holds(&request(&[("x-api-key", value)]));
        assert!(sent(b"k-1") && sent(b"k-2"));
        assert!(!sent(b"k-3") && !sent(b"K-1") && !sent(b"k-1 ") && !sent(b"k-\xff"));
    }

    #[test]
    fn a_list_does_not_hold_for_who_does_not_tell() {
        let listed = header("a").is_one_of(["", "1"]);
        assert!(!listed.holds(&request(&[])));
        assert!(!listed.holds(&request(&[("a", b"")])));
        assert!(!listed.holds(&request(&[("a", b"1"), ("a", b"1")])));
        let nothing: [&str; 0] = [];
        assert!(!header("a").is_one_of(nothing).holds(&request(&[])));
    }

    #[test]
    fn a_list_takes_what_any_extractor_finds() {
        let mut sent = request(&[("tenant", b"acme")]);
        sent.extensions.insert(7_u64);
        let pair = (header("tenant"), extension::<u64>());
        assert!(pair.is_one_of([("acme", 7), ("acme", 8)]).holds(&sent));
        let by_closure = |parts: &Parts| parts.extensions.get::<u64>().copied();
        assert!(by_closure.is_one_of([6_u64, 7]).holds(&sent));
        assert!(!by_closure.is_one_of(["7"]).holds(&sent));
        sent.extensions
            .insert(PeerAddr(([192, 0, 2, 1], 80).into()));
        let client = ClientAddr([192, 0, 2, 1].into());
        assert!(peer_ip().is_one_of([client]).holds(&sent));
    }

    #[test]
    fn a_mistake_in_the_extractor_is_reported() {
        let listed = header("x api").is_one_of(["a"]);
        assert!(listed.check().is_err());
        let shared: Arc<dyn Condition> = Arc::new(listed);
        assert!(shared.check().is_err());
        assert!(header("a").is_one_of(["a"]).check().is_ok());
    }

    #[test]
    fn a_list_shows_no_value() {
        let listed = header("x-api-key").is_one_of(["s3cret"]);
        assert!(!format!("{listed:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn a_list_holds_exactly_what_stands_in_it(
            listed in proptest::collection::hash_set("[ab]{1,3}", 0..6), sent in "[ab]{1,3}",
        ) {
            let condition = header("a").is_one_of(&listed);
            let holds = condition.holds(&request(&[("a", sent.as_bytes())]));
            prop_assert_eq!(holds, listed.contains(&sent));
        }
    }
}
