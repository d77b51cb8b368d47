//! What rules ask about a request.

use std::sync::Arc;

use crate::{
    backend::{Acquire, Limit},
    key::Key,
    rate_limit::{RateLimitRule, rule::NamedLimits},
};

/// What a rule asks about a request.
#[derive(Clone)]
pub(in crate::rate_limit) struct Question {
    pub(in crate::rate_limit) rule: RateLimitRule,
    pub(in crate::rate_limit) limits: NamedLimits,
    pub(in crate::rate_limit) acquire: Acquire,
    /// Whether a denial may be remembered: it stands whatever becomes of other requests.
    pub(in crate::rate_limit) denial_stands: bool,
}

/// What the rules of one request ask, in order; the first needs no room of its own.
#[derive(Default)]
pub(in crate::rate_limit) struct Questions {
    pub(super) first: Option<Question>,
    pub(super) later: Vec<Question>,
}

impl Questions {
    pub(in crate::rate_limit) fn push(&mut self, question: Question) {
        let Some(first) = &mut self.first else {
            self.first = Some(question);
            return;
        };
        // What an earlier rule took is given back if a later one denies.
        self.later.last_mut().unwrap_or(first).denial_stands = false;
        self.later.push(question);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Question> {
        self.first.iter().chain(&self.later)
    }
}

impl Question {
    pub(super) fn new(rule: &RateLimitRule, limits: NamedLimits, subject: Key, cost: u64) -> Self {
        let mut acquire = Acquire::new(subject, Arc::clone(&limits.limits)).with_cost(cost);
        acquire.strikes = rule.strikes();
        acquire.resizable = rule.has_overrides();
        Self {
            acquire,
            denial_stands: !rule.gives_back(),
            rule: rule.clone(),
            limits,
        }
    }

    /// The same about the share of each limit that one of so many instances has.
    pub(in crate::rate_limit) fn share_of_one(mut self, instances: u32) -> Self {
        let share = |limit: &Limit| {
            let quota = limit.quota();
            let share = quota.limit() / u64::from(instances.max(1));
            let of_one_call = u64::from(quota.weight());
            limit.resized(share.max(of_one_call).min(quota.limit()))
        };
        self.limits.limits = self.limits.limits.iter().map(share).collect();
        self.acquire.limits = Arc::clone(&self.limits.limits);
        self
    }
}
