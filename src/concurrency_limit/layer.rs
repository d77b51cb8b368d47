//! The layer: configuration, and a service for each route it is put around.

use std::{collections::HashMap, fmt, sync::Arc};

use tower_layer::Layer;

use super::{ConcurrencyLimit, ConcurrencyLimitRule, ledger::Ledger, shared::Shared};
use crate::{
    backend::{Breaker, Slots},
    error::ConfigError,
    key::Digester,
    policy::Policy,
    respond::ProblemDetails,
};

/// Lets requests through while fewer than the limit of their subject run, on all instances
/// together, and answers the others with 429.
///
/// One layer serves a whole application: its policy says which rule a request falls under. All
/// services made by a layer and its clones share one state. `R` says how a rejection is answered.
pub struct ConcurrencyLimitLayer<R = ProblemDetails> {
    shared: Arc<Shared>,
    respond: Arc<R>,
}

impl ConcurrencyLimitLayer {
    /// The layer that holds slots in this backend, by the rules of this policy.
    ///
    /// Five failed calls to the backend in a row open a breaker: for a second requests get
    /// their rule's [`Outage`](super::Outage) answer without a call, then one of them tries again.
    ///
    /// # Errors
    ///
    /// What the policy reports, two rules of one name with different limits or leases, and an
    /// operating system without random numbers.
    pub fn new(
        backend: impl Slots,
        policy: impl Policy<ConcurrencyLimitRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        check_names(&policy)?;
        let ledger = Ledger::new(Arc::new(Breaker::new(backend)))?;
        Ok(Self {
            shared: Arc::new(Shared {
                ledger: Arc::new(ledger),
                policy: Arc::new(policy),
                digester: Digester::default(),
            }),
            respond: Arc::new(ProblemDetails),
        })
    }
}

impl<R> ConcurrencyLimitLayer<R> {
    /// Answers rejected requests in this way; by default as [`ProblemDetails`].
    #[must_use]
    pub fn with_respond<R2>(self, respond: R2) -> ConcurrencyLimitLayer<R2> {
        ConcurrencyLimitLayer {
            shared: self.shared,
            respond: Arc::new(respond),
        }
    }

    /// Derives the names of what is stored from this secret, which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain address or account has
    /// requests under way; with it they cannot. Another secret starts every count anew.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.shared).digester = Digester::with_secret(secret.as_ref());
        self
    }
}

impl<S, R> Layer<S> for ConcurrencyLimitLayer<R> {
    type Service = ConcurrencyLimit<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, Arc::clone(&self.shared), Arc::clone(&self.respond))
    }
}

impl<R> Clone for ConcurrencyLimitLayer<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<R> fmt::Debug for ConcurrencyLimitLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .finish_non_exhaustive()
    }
}

/// Rules of one name share slots, so they must have the same number of them, and the same lease.
fn check_names(policy: &impl Policy<ConcurrencyLimitRule>) -> Result<(), ConfigError> {
    let mut known: HashMap<String, ConcurrencyLimitRule> = HashMap::new();
    let mut clash = None;
    policy.each_rule(&mut |rule| {
        let first = known
            .entry(rule.name().to_owned())
            .or_insert_with(|| rule.clone());
        if !first.has_same_limit(rule) {
            clash = Some(rule.name().to_owned());
        }
    });
    match clash {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(format!(
            "two rules named {name:?} have different limits or leases; give one of them another name, or use clones of one rule"
        ))),
    }
}
