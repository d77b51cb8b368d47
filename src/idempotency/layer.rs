//! The layer: configuration, and a service for each route it is put around.

use std::{fmt, sync::Arc};

use http::Uri;
use tower_layer::Layer;

#[cfg(feature = "sealed-answers")]
use super::{AnswerKeys, engine::Sealing};
use super::{
    Idempotency, IdempotencyHandle, IdempotencyRule,
    shared::{Core, Shared},
};
use crate::{
    backend::KeyValue,
    error::ConfigError,
    key::Digester,
    policy::{Policy, Subject},
    respond::ProblemDetails,
};

/// Runs each request with an idempotency key once, and gives its answer to every repetition,
/// whichever instance they reach.
///
/// One layer serves a whole application: its policy says which requests it protects. All services
/// made by a layer and its clones share one state. `R` says how a rejection is answered.
///
/// # Panics
///
/// Its services are called and their responses awaited inside a tokio runtime; elsewhere a call
/// panics that has a key.
pub struct IdempotencyLayer<R = ProblemDetails> {
    shared: Arc<Shared>,
    respond: Arc<R>,
}

impl IdempotencyLayer {
    /// The layer that keeps answers in this backend, by the rules of this policy.
    ///
    /// The scope says whose key a request has: its user or tenant. Keys of different scopes never
    /// meet, so nobody gets another's answer by guessing a key. A request that does not tell gets 400
    /// ([`or_reject`](crate::policy::KeyExtractor::or_reject)), or shares one scope with all others
    /// that do not ([`or_shared`](crate::policy::KeyExtractor::or_shared)). Take what stays the same when a
    /// client logs in anew, and not the `Authorization` header. Where one layer serves several hosts,
    /// the host belongs into the scope: it is in no fingerprint, and neither are request trailers.
    ///
    /// Claims of long handlers are renewed by one task, on the runtime on which one was first. A
    /// server that has a runtime for each thread gives each a layer of its own.
    ///
    /// Five failed calls to the backend in a row open a breaker: for a second the backend is taken
    /// for dead without a call, then one request tries again.
    ///
    /// # Errors
    ///
    /// What the policy or the scope reports; a scope that lets requests pass
    /// ([`or_skip`](crate::policy::KeyExtractor::or_skip)).
    pub fn new(
        backend: impl KeyValue,
        scope: Subject,
        policy: impl Policy<IdempotencyRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        scope.check()?;
        if scope.may_skip() {
            return Err(ConfigError::new(
                "a request that does not say whose key it has cannot pass unprotected; write or_reject() or or_shared() in the place of or_skip()",
            ));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                core: Core::new(backend),
                policy: Arc::new(policy),
                scope,
                problem_base: PROBLEM_BASE.into(),
            }),
            respond: Arc::new(ProblemDetails),
        })
    }
}

impl<R> IdempotencyLayer<R> {
    /// Answers rejected requests in this way; by default as [`ProblemDetails`].
    ///
    /// Of a request that has run, only method, URI, `Accept` and `Content-Type` are shown to it.
    #[must_use]
    pub fn with_respond<R2>(self, respond: R2) -> IdempotencyLayer<R2> {
        IdempotencyLayer {
            shared: self.shared,
            respond: Arc::new(respond),
        }
    }

    /// Derives the names of what is stored, and what requests are compared by, from this secret,
    /// which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain request was made; with it
    /// they cannot. Under another secret all keys are new.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.shared).core.digester = Digester::with_secret(secret.as_ref());
        self
    }

    /// Encrypts answers and [recovery points](super::Execution::checkpoint) in the store, with keys
    /// that all instances must share.
    ///
    /// What was stored before stays readable. What is stored encrypted, and cannot be read because
    /// the key is not among these, or there are none, is answered
    /// [`record-unreadable`](super#record-unreadable), and its handler does not run again.
    #[cfg(feature = "sealed-answers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sealed-answers")))]
    #[must_use]
    pub fn with_answer_keys(mut self, keys: AnswerKeys) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.core.store.sealing = Sealing::with(keys);
        self
    }

    /// What the types of problems begin with, to which a word such as `key-reused` is added; by
    /// default the address of the [page](super#problems) that explains them.
    ///
    /// # Errors
    ///
    /// What cannot stand in a `Link` header: write an absolute URI, up to the word.
    pub fn with_problem_base(mut self, base: &str) -> Result<Self, ConfigError> {
        // What follows `#` is no part of what is parsed.
        let is_visible = base.bytes().all(|byte| byte.is_ascii_graphic());
        if base.parse::<Uri>().is_err() || !is_visible || base.contains(['<', '>', '"']) {
            return Err(ConfigError::new(
                "the types of problems are URIs; write with_problem_base(\"https://example.com/problems#\")",
            ));
        }
        Arc::make_mut(&mut self.shared).problem_base = base.into();
        Ok(self)
    }

    /// For programs: what is recorded under a key, and shutting down.
    ///
    /// To be taken when all is said of the layer: of what is said after that, it does not know.
    #[must_use]
    pub fn handle(&self) -> IdempotencyHandle {
        IdempotencyHandle::new(Arc::clone(&self.shared))
    }
}

impl<S, R> Layer<S> for IdempotencyLayer<R> {
    type Service = Idempotency<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotency::new(inner, Arc::clone(&self.shared), Arc::clone(&self.respond))
    }
}

impl<R> Clone for IdempotencyLayer<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<R> fmt::Debug for IdempotencyLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer").finish_non_exhaustive()
    }
}

const PROBLEM_BASE: &str = "https://docs.rs/tower-stash/latest/tower_stash/idempotency/index.html#";
