//! What all services of a layer share.

use std::sync::Arc;

use http::request::Parts;

use super::{
    Explanation, HeaderStyle, Permit, RateLimitRule, RuleExplanation,
    engine::{Admission, Engine},
    teller::Teller,
};
use crate::policy::Policy;

/// Settings, and pointers to what decides; a clone with another setting
/// decides together with this one.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) policy: Arc<dyn Policy<RateLimitRule>>,
    pub(super) engine: Arc<Engine>,
    pub(super) headers: HeaderStyle,
    pub(super) counts_preflights: bool,
}

impl Shared {
    /// What is to be done with a request before it may run. Where a rule promises a permit the request
    /// has one from now on, so that handlers find it whatever happens.
    pub(super) fn admission(&self, request: &mut Parts) -> Admission {
        let Some(rule) = self.rule(request) else {
            return Admission::Pass;
        };
        if rule.members().any(RateLimitRule::gives_permit) {
            Permit::default().put_into(&mut request.extensions);
        }
        self.engine.admission(&rule, request)
    }

    /// What would become of a request now.
    pub(super) async fn explain(&self, request: &Parts) -> Explanation {
        let mut rules = Vec::new();
        if let Some(rule) = self.rule(request) {
            for member in rule.members() {
                rules.push(RuleExplanation::of(&self.engine, member, request).await);
            }
        }
        Explanation { rules }
    }

    /// The rule that applies to a request, and says which others do.
    fn rule(&self, request: &Parts) -> Option<RateLimitRule> {
        if !self.counts_preflights && is_preflight(request) {
            return None;
        }
        self.policy.rule(request)
    }

    pub(super) fn teller(&self, request: &Parts) -> Teller {
        Teller::new(self.headers, request)
    }
}

/// Whether a browser asks what it may send (Fetch, §4.8 "CORS-preflight fetch"):
/// it is not the request yet.
fn is_preflight(request: &Parts) -> bool {
    request.method == http::Method::OPTIONS
        && request.headers.contains_key(http::header::ORIGIN)
        && request
            .headers
            .contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}
