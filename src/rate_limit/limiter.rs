//! What happens to a request before it may run: nothing, a question to the backend, or an answer.

use std::sync::Arc;

use http::request::Parts;

use super::{HeaderStyle, Outcome, RateLimitRule, rejection};
use crate::{
    backend::{Acquire, Call, Decision, ErasedQuotas},
    key::{Digester, Key, KeyParts, Kind},
    policy::{Policy, Resolved},
    respond::Rejection,
};

/// What all services of a layer share.
#[derive(Clone)]
pub(super) struct Limiter {
    pub(super) quotas: Arc<dyn ErasedQuotas>,
    pub(super) policy: Arc<dyn Policy<RateLimitRule>>,
    pub(super) digester: Digester,
    pub(super) headers: HeaderStyle,
    pub(super) counts_preflights: bool,
}

/// What is to be done with a request before it may run.
pub(super) enum Admission {
    /// Nothing: it is not limited.
    Pass,
    /// Ask the backend.
    Ask(RateLimitRule, Call<Decision>),
    /// Answer it.
    Reject(Rejection),
}

impl Limiter {
    /// Finds out what limits a request.
    pub(super) fn admission(&self, request: &Parts) -> Admission {
        if !self.counts_preflights && is_preflight(request) {
            return Admission::Pass;
        }
        let Some(rule) = self.policy.rule(request) else {
            return Admission::Pass;
        };
        let mut subject = KeyParts::new();
        match rule.subject().resolve(request, &mut subject) {
            Resolved::Skip => Admission::Pass,
            Resolved::Reject => {
                Outcome::MissingKey.record(&rule);
                Admission::Reject(rejection::missing_key(&rule))
            }
            Resolved::Key => {
                let subject = Key::new(Kind::QUOTA, self.digester.digest(&subject));
                let request = Acquire::new(subject, Arc::clone(rule.limits()));
                let decision = Arc::clone(&self.quotas).acquire(request);
                Admission::Ask(rule, decision)
            }
        }
    }
}

/// Whether a browser asks what it may send (Fetch, §4.8 "CORS-preflight fetch"): it is not the request yet.
fn is_preflight(request: &Parts) -> bool {
    request.method == http::Method::OPTIONS
        && request.headers.contains_key(http::header::ORIGIN)
        && request
            .headers
            .contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}
