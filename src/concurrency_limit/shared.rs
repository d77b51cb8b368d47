//! What all services of a layer share, and what it makes of a request before it may run: nothing, a
//! question to the backend, or an answer.

use std::sync::Arc;

use http::request::Parts;

use super::{
    ConcurrencyLimitRule, Outcome,
    ledger::{Ledger, Pool},
    rejection,
    slot::Asking,
};
use crate::{
    key::{Digester, Key, KeyParts, Kind},
    policy::{Policy, Resolved},
    respond::Rejection,
};

/// Settings, and pointers to what decides.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledger: Arc<Ledger>,
    pub(super) policy: Arc<dyn Policy<ConcurrencyLimitRule>>,
    pub(super) digester: Digester,
}

/// What is to be done with a request before it may run.
pub(super) enum Admission {
    /// Nothing: it is not limited.
    Pass,
    /// Ask for a slot.
    Ask(ConcurrencyLimitRule, Asking),
    /// Answer it.
    Reject(Rejection),
}

impl Shared {
    /// Finds out what limits a request.
    pub(super) fn admission(&self, request: &Parts) -> Admission {
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
                let pool = Pool {
                    subject: Key::new(Kind::QUOTA, self.digester.digest(&subject)),
                    limit: *rule.limit(),
                };
                let asking = Asking::new(&self.ledger, pool);
                Admission::Ask(rule, asking)
            }
        }
    }
}
