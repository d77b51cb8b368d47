//! The layer: configuration, and a service for each route it is put around.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;
use serde::{Serialize, de::DeserializeOwned};
use tower_layer::Layer;

use super::{
    Cache, CacheRule, Explanation, Purge, Values,
    engine::{Coalescing, Consistency},
    semantics::status::CacheName,
    shared::Shared,
};
use crate::{
    backend::{Broadcast, KeyValue},
    error::ConfigError,
    key::Digester,
    policy::Policy,
};

/// Answers requests from what earlier ones were answered, on whatever instance.
///
/// One layer serves a whole application: its policy says which responses it stores, and how. All
/// services made by a layer and its clones share one state.
///
/// Its services are called, and their responses awaited, inside a tokio runtime.
#[derive(Clone)]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

impl CacheLayer {
    /// The layer that stores responses in this backend, by the rules of this policy.
    ///
    /// Five failed calls to the backend in a row open a breaker: for a second the backend is taken
    /// for dead without a call, then one request tries again.
    ///
    /// # Errors
    ///
    /// What the policy or its rules report.
    pub fn new(
        backend: impl KeyValue + Broadcast + Clone,
        policy: impl Policy<CacheRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        let mut checked = Ok(());
        policy.each_rule(&mut |rule| {
            if checked.is_ok() {
                checked = rule.check();
            }
        });
        checked?;
        Ok(Self {
            shared: Arc::new(Shared::new(backend, policy)),
        })
    }

    /// Who fetches where many want the same; by default one request among all instances.
    #[must_use]
    pub fn with_coalescing(mut self, coalescing: Coalescing) -> Self {
        Arc::make_mut(&mut self.shared).settings.coalescing = coalescing;
        self
    }

    /// How soon this instance heeds what others purge; by default within two seconds.
    #[must_use]
    pub fn with_consistency(mut self, consistency: Consistency) -> Self {
        Arc::make_mut(&mut self.shared).settings.consistency = consistency;
        self
    }

    /// The longest that anything is stored; by default 24 hours.
    #[must_use]
    pub fn with_max_life(mut self, max_life: Duration) -> Self {
        Arc::make_mut(&mut self.shared).settings.max_life = max_life;
        self
    }

    /// Derives the names of what is stored from this secret, which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain URL is in it.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.shared).restart(Digester::with_secret(secret.as_ref()));
        self
    }

    /// Keeps copies of what is read in the memory of this process, of so many bytes together; by
    /// default none.
    ///
    /// What many ask for is then answered without the backend, about as fast as from a map. A copy
    /// is used for no longer than the [consistency](Self::with_consistency) allows an instance to be
    /// behind, counted from when it was asked for, and each use heeds what was purged, as the use of
    /// what is stored does. Responses of more than 64 KiB are not copied. Under
    /// [`Consistency::Strict`] nothing is.
    ///
    /// On a [`MemoryBackend`](crate::backend::MemoryBackend) there is no point in it: what is stored
    /// there is in the process already.
    #[must_use]
    pub fn with_near_cache(mut self, bytes: usize) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.settings.near = bytes;
        shared.restart(shared.core.digester.clone());
        self
    }

    /// What this cache calls itself in `Cache-Status`; by default `tower-stash`. Where several caches
    /// are passed, each is to have a name of its own.
    ///
    /// # Errors
    ///
    /// A name that is not 1 to 64 printable ASCII characters.
    pub fn with_name(mut self, name: &str) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.shared).settings.name = CacheName::new(name)?;
        Ok(self)
    }

    /// Waits until what goes on without a client has ended: responses that are being stored, and
    /// refreshes. For a program that ends. Says how many had not in this time.
    pub async fn drain(&self, budget: Duration) -> usize {
        self.shared.core.tasks.drain(budget).await
    }

    /// Decides by these numbers, above 0 and up to 1, what a rule with
    /// [early refresh](CacheRule::with_early_refresh) fetches anew, and not by random ones. For tests.
    #[cfg(feature = "testing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    #[must_use]
    pub fn with_chance(mut self, chance: fn() -> f64) -> Self {
        Arc::make_mut(&mut self.shared).settings.chance = chance;
        self
    }

    /// What would become of a GET or HEAD without a body, or of another request, and why; for people
    /// and admin pages.
    ///
    /// It asks what is stored as such a request would, and does nothing else: no handler is called,
    /// nothing is stored, purged or counted.
    pub async fn explain(&self, request: &Parts) -> Explanation {
        Explanation::of(&self.shared, request).await
    }

    /// What purges the layer's responses, for handlers and the rest of the program. It belongs to the
    /// layer as it is set up now, so it is asked for last.
    #[must_use]
    pub fn purge(&self) -> Purge {
        Purge::new(Arc::clone(&self.shared))
    }

    /// Values of the program's of one type, which are cached beside the responses and purged by the
    /// same tags. They belong to the layer as it is set up now, so they are asked for last.
    ///
    /// The name is that of the values in the store and in metrics; the version that of the form in
    /// which they are stored.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn values<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Values<T>, ConfigError> {
        Values::new(Arc::clone(&self.shared), name, version)
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").finish_non_exhaustive()
    }
}
