//! Whether something is so of a request.

use std::{collections::HashSet, fmt, sync::Arc};

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::ConfigError,
    key::{KeyPart, KeyParts},
};

/// Says of a request whether something holds: that it is on an allow list or a deny list, that a rule
/// skips it.
///
/// Closures `Fn(&Parts) -> bool` are conditions, and so are lists of what an extractor finds and, for
/// addresses, of networks:
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
