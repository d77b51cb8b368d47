//! The layer: configuration, and a service for each route it is put around.

use std::{collections::HashMap, fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Explanation, HeaderStyle, RateLimit, RateLimitRule, RateLimiter, engine::Engine, shared::Shared,
};
use crate::{backend::Quotas, error::ConfigError, policy::Policy, respond::ProblemDetails};

/// Lets requests through while their subject's limits admit them, and answers the others with 429.
///
/// One layer serves a whole application: its policy says which rule a request falls under. All
/// services made by a layer and its clones share one state. `R` says how a rejection is answered.
pub struct RateLimitLayer<R = ProblemDetails> {
    shared: Arc<Shared>,
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
        check_rules(&policy)?;
        Ok(Self {
            shared: Arc::new(Shared {
                policy: Arc::new(policy),
                engine: Arc::new(Engine::new(backend)),
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
            shared: self.shared,
            respond: Arc::new(respond),
        }
    }

    /// Tells clients where they stand in these headers; by default [`HeaderStyle::Draft11`].
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderStyle) -> Self {
        Arc::make_mut(&mut self.shared).headers = headers;
        self
    }

    /// Lets CORS preflights pass uncounted: `OPTIONS` with `Origin` and
    /// `Access-Control-Request-Method`.
    ///
    /// Only for a service in which something answers every such request itself, such as
    /// tower-http's `CorsLayer` *inside* this layer. Where a handler runs for any method, as gRPC
    /// services and axum's `any` do, these three words would lift its limit for whoever writes
    /// them. A `CorsLayer` outside this layer answers preflights before they come here.
    #[must_use]
    pub fn with_uncounted_preflights(mut self) -> Self {
        Arc::make_mut(&mut self.shared).counts_preflights = false;
        self
    }

    /// Derives the names of counters from this secret, which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain address or account has a
    /// counter in it; with it they cannot. Another secret starts every counter anew.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.engine_mut().set_key_secret(secret.as_ref());
        self
    }

    /// Remembers denials of up to this many subjects, to repeat them without a round trip; by
    /// default 10,000, with 0 none.
    ///
    /// A denial is repeated until its wait is over, for at most five seconds, so what another
    /// instance resets, raises or gives back may be seen so much later. Denials of rules that count
    /// [by response](RateLimitRule::with_count_if) or [give permits](RateLimitRule::with_permit)
    /// are not remembered, nor any on a backend in this process.
    #[must_use]
    pub fn with_deny_cache(mut self, subjects: usize) -> Self {
        self.engine_mut().set_deny_cache(subjects);
        self
    }

    /// The limits of a rule without HTTP: to check, look at, reset or penalise a subject from a
    /// handler, a job or an admin page.
    ///
    /// It asks this rule alone, not those that it [asks too](RateLimitRule::with_and). The layer's
    /// own settings, such as [`with_key_secret`](Self::with_key_secret), come first: it does not
    /// see later ones. Give it a clone of a rule that the layer has: another one is
    /// not looked at for mistakes.
    #[must_use]
    pub fn limiter(&self, rule: &RateLimitRule) -> RateLimiter {
        RateLimiter::of(Arc::clone(&self.shared.engine), rule.clone())
    }

    /// Says what would become of a request now, and why; takes nothing.
    ///
    /// It sees what the layer would: where an outer middleware puts a user, a plan or a
    /// [`PeerAddr`](crate::policy::PeerAddr) into the extensions, put them into this request too.
    /// Every rule that applies is explained, those after a denial as well,
    /// and costs one round trip.
    pub async fn explain(&self, request: &http::request::Parts) -> Explanation {
        self.shared.explain(request).await
    }

    fn engine_mut(&mut self) -> &mut Engine {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shared).engine)
    }
}

impl<S, R> Layer<S> for RateLimitLayer<R> {
    type Service = RateLimit<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.shared), Arc::clone(&self.respond))
    }
}

impl<R> Clone for RateLimitLayer<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<R> fmt::Debug for RateLimitLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("headers", &self.shared.headers)
            .finish_non_exhaustive()
    }
}

/// What can be said about rules that are known beforehand: each is right, and those of one name,
/// which share counters, count the same.
fn check_rules(policy: &impl Policy<RateLimitRule>) -> Result<(), ConfigError> {
    let mut known: HashMap<String, RateLimitRule> = HashMap::new();
    let mut mistake = Ok(());
    policy.each_rule(&mut |rule| {
        for member in rule.members() {
            let first = known
                .entry(member.name().to_owned())
                .or_insert_with(|| member.clone());
            if mistake.is_ok() {
                mistake = member.check().and_then(|()| same_limits(first, member));
            }
        }
    });
    mistake
}

fn same_limits(first: &RateLimitRule, other: &RateLimitRule) -> Result<(), ConfigError> {
    if first.has_same_limits(other) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "two rules named {:?} have different limits; give one of them another name, or use clones of one rule",
        other.name()
    )))
}
