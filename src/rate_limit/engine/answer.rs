//! What became of a rule's question.

use std::sync::Arc;

use super::{Engine, Question, Taken};
use crate::{
    backend::{Decision, Result, Retry},
    rate_limit::{Outage, Outcome, rejection},
    respond::Rejection,
};

/// A question with its answer.
pub(in crate::rate_limit) struct Answer {
    pub(in crate::rate_limit) question: Question,
    pub(in crate::rate_limit) found: Found,
}

/// Who answered a question, and what.
pub(in crate::rate_limit) enum Found {
    /// The backend, just now.
    Decided(Decision),
    /// The backend, when the same was asked before; a denial.
    Remembered(Decision),
    /// This process alone, because the backend does not answer.
    Local(Decision),
    /// Nobody.
    Unknown,
}

impl Answer {
    pub(in crate::rate_limit) fn new(question: Question, found: Found) -> Self {
        Self { question, found }
    }

    /// What this process said about its share of the limits.
    pub(super) fn of_share(question: Question, decision: Result<Decision>) -> Self {
        let found = match decision {
            // What does not fit a share may well fit the limit.
            Ok(decision) if decision.retry() != Retry::Never => Found::Local(decision),
            Ok(_) | Err(_) => Found::Unknown,
        };
        Self::new(question, found)
    }

    /// Whether the request may run as far as this rule goes.
    pub(in crate::rate_limit) fn admits(&self) -> bool {
        let rule = &self.question.rule;
        match &self.found {
            _ if rule.is_shadow() => true,
            Found::Unknown => rule.outage() == Outage::Allow,
            Found::Decided(decision) | Found::Remembered(decision) | Found::Local(decision) => {
                decision.admitted
            }
        }
    }

    /// Counts and tells what was decided.
    pub(in crate::rate_limit) fn record(&self) {
        self.outcome().record(&self.question.rule);
    }

    fn outcome(&self) -> Outcome {
        match &self.found {
            Found::Unknown | Found::Local(_) => Outcome::Outage,
            Found::Decided(decision) if decision.admitted => Outcome::Allowed,
            _ if self.question.rule.is_shadow() => Outcome::ShadowDenied,
            Found::Decided(decision) | Found::Remembered(decision) if decision.banned.is_some() => {
                Outcome::Banned
            }
            Found::Decided(_) => Outcome::Denied,
            Found::Remembered(_) => Outcome::DeniedCached,
        }
    }

    /// What the client is told, if the request may not run.
    pub(in crate::rate_limit) fn rejection(&self) -> Rejection {
        let Question { rule, limits, .. } = &self.question;
        match &self.found {
            Found::Unknown => rejection::outage(rule),
            Found::Decided(decision) | Found::Remembered(decision) | Found::Local(decision) => {
                if decision.banned.is_some() {
                    rejection::banned(rule, decision)
                } else {
                    rejection::denied(rule, &limits.names, decision)
                }
            }
        }
    }

    /// Where the limits stand, if it is known and clients may know.
    pub(in crate::rate_limit) fn told(&self) -> Option<&Decision> {
        match &self.found {
            _ if self.question.rule.is_shadow() => None,
            Found::Decided(decision) | Found::Remembered(decision) => Some(decision),
            Found::Local(_) | Found::Unknown => None,
        }
    }

    /// What was taken, to be given back.
    pub(in crate::rate_limit) fn taken(&self, engine: &Engine) -> Option<Taken> {
        let (quotas, decision) = match &self.found {
            Found::Decided(decision) => (&engine.quotas, decision),
            Found::Local(decision) => (&engine.local, decision),
            Found::Remembered(_) | Found::Unknown => return None,
        };
        if decision.taken == 0 {
            return None;
        }
        let receipt = decision.receipt(&self.question.acquire);
        Some(Taken::new(
            Arc::clone(quotas),
            Arc::clone(&engine.refunds),
            receipt,
        ))
    }
}
