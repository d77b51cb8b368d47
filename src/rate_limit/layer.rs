//! The layer: configuration, and a service for each route it is put around.

use std::{collections::HashMap, fmt, sync::Arc};

use tower_layer::Layer;

use super::{HeaderStyle, RateLimit, RateLimitRule, limiter::Limiter};
use crate::{
    backend::{Breaker, Quotas},
    error::ConfigError,
    key::Digester,
    policy::Policy,
    respond::ProblemDetails,
};

/// Lets requests through while their subject's limits admit them, and answers the others with 429.
///
/// One layer serves a whole application: its policy says which rule a request falls under. All
/// services made by a layer and its clones share one state. `R` says how a rejection is answered.
#[derive(Clone)]
pub struct RateLimitLayer<R = ProblemDetails> {
    limiter: Arc<Limiter>,
    respond: Arc<R>,
}

impl RateLimitLayer {
    /// The layer that counts in this backend, by the rules of this policy.
    ///
    /// Five failed calls to the backend in a row open a breaker: for a second requests get
    /// their rule's [`Outage`](super::Outage) answer without a call, then one of them tries again.
    ///
    /// # Errors
    ///
    /// What the policy reports, and two rules of one name that count differently.
    pub fn new(
        backend: impl Quotas,
        policy: impl Policy<RateLimitRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        check_names(&policy)?;
        Ok(Self {
            limiter: Arc::new(Limiter {
                quotas: Arc::new(Breaker::new(backend)),
                policy: Arc::new(policy),
                digester: Digester::default(),
                headers: HeaderStyle::default(),
                counts_preflights: true,
            }),
            respond: Arc::new(ProblemDetails),
        })
    }
}

impl<R> RateLimitLayer<R> {
    /// Answers rejected requests in this way; by default as [`ProblemDetails`].
    #[must_use]
    pub fn with_respond<R2>(self, respond: R2) -> RateLimitLayer<R2> {
        RateLimitLayer {
            limiter: self.limiter,
            respond: Arc::new(respond),
        }
    }

    /// Tells clients where they stand in these headers; by default [`HeaderStyle::Draft11`].
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderStyle) -> Self {
        Arc::make_mut(&mut self.limiter).headers = headers;
        self
    }

    /// Lets CORS preflights pass uncounted: `OPTIONS` with `Origin` and
    /// `Access-Control-Request-Method`.
    ///
    /// Only for a service in which something answers every such request itself, such as tower-http's
    /// `CorsLayer` *inside* this layer. Where a handler runs for any method, as gRPC services and
    /// axum's `any` do, these three words would lift its limit for whoever writes them. A `CorsLayer`
    /// outside this layer answers preflights before they come here.
    #[must_use]
    pub fn with_uncounted_preflights(mut self) -> Self {
        Arc::make_mut(&mut self.limiter).counts_preflights = false;
        self
    }

    /// Derives the names of counters from this secret, which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain address or account has a
    /// counter in it; with it they cannot. Another secret starts every counter anew.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.limiter).digester = Digester::with_secret(secret.as_ref());
        self
    }
}

impl<S, R> Layer<S> for RateLimitLayer<R> {
    type Service = RateLimit<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.limiter), Arc::clone(&self.respond))
    }
}

impl<R> fmt::Debug for RateLimitLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("headers", &self.limiter.headers)
            .finish_non_exhaustive()
    }
}

/// Rules of one name share counters, so they must count the same.
fn check_names(policy: &impl Policy<RateLimitRule>) -> Result<(), ConfigError> {
    let mut known: HashMap<String, RateLimitRule> = HashMap::new();
    let mut clash = None;
    policy.each_rule(&mut |rule| {
        let first = known
            .entry(rule.name().to_owned())
            .or_insert_with(|| rule.clone());
        if !first.has_same_limits(rule) {
            clash = Some(rule.name().to_owned());
        }
    });
    match clash {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(format!(
            "two rules named {name:?} have different limits; give one of them another name, or use clones of one rule"
        ))),
    }
}
