//! What a rule is made of, as the engine reads it.

use std::{iter, sync::Arc};

use http::{request, response};

use super::{Outage, RateLimitRule, Sharing, limits::Limits, mistake};
use crate::{
    backend::Strikes,
    error::ConfigError,
    observe::Decisions,
    policy::{Condition, Subject},
    rate_limit::twice::Looks,
};

/// All that a rule says.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) name: Arc<str>,
    pub(super) decisions: Arc<Decisions>,
    pub(super) subject: Subject,
    pub(super) limits: Limits,
    pub(super) cost: Cost,
    pub(super) skip: Option<Arc<dyn Condition>>,
    pub(super) deny: Option<Arc<dyn Condition>>,
    pub(super) count_if: Option<Arc<CountIf>>,
    pub(super) gives_permit: bool,
    pub(super) is_shadow: bool,
    pub(super) strikes: Option<Strikes>,
    pub(super) has_overrides: bool,
    pub(super) sharing: Sharing,
    pub(super) outage: Outage,
    pub(super) and: Vec<RateLimitRule>,
    pub(super) looks: Looks,
    /// The first mistake in what `with_*` was given.
    pub(super) mistake: Option<ConfigError>,
}

/// What a request takes from each limit.
#[derive(Clone)]
pub(super) enum Cost {
    Fixed(u64),
    ByRequest(Arc<dyn Fn(&request::Parts) -> u64 + Send + Sync>),
}

/// Whether a request with this response counts.
pub(in crate::rate_limit) type CountIf = dyn Fn(&response::Parts) -> bool + Send + Sync;

impl RateLimitRule {
    pub(in crate::rate_limit) fn shared_name(&self) -> &Arc<str> {
        &self.shape.name
    }

    pub(in crate::rate_limit) fn decisions(&self) -> &Decisions {
        &self.shape.decisions
    }

    /// The rule itself and those that are asked after it.
    pub(in crate::rate_limit) fn members(&self) -> impl Iterator<Item = &Self> {
        iter::once(self).chain(&self.shape.and)
    }

    pub(in crate::rate_limit) fn subject(&self) -> &Subject {
        &self.shape.subject
    }

    pub(in crate::rate_limit) fn limits(&self) -> &Limits {
        &self.shape.limits
    }

    pub(in crate::rate_limit) fn cost(&self, request: &request::Parts) -> u64 {
        match &self.shape.cost {
            Cost::Fixed(cost) => *cost,
            Cost::ByRequest(cost) => cost(request),
        }
    }

    pub(in crate::rate_limit) fn skips(&self, request: &request::Parts) -> bool {
        holds(self.shape.skip.as_ref(), request)
    }

    pub(in crate::rate_limit) fn lists_as_denied(&self, request: &request::Parts) -> bool {
        holds(self.shape.deny.as_ref(), request)
    }

    pub(in crate::rate_limit) fn count_if(&self) -> Option<&Arc<CountIf>> {
        self.shape.count_if.as_ref()
    }

    pub(in crate::rate_limit) fn gives_permit(&self) -> bool {
        self.shape.gives_permit
    }

    /// Whether what was taken may be given back once the request has run.
    pub(in crate::rate_limit) fn gives_back(&self) -> bool {
        self.shape.gives_permit || self.shape.count_if.is_some()
    }

    pub(in crate::rate_limit) fn is_shadow(&self) -> bool {
        self.shape.is_shadow
    }

    pub(in crate::rate_limit) fn strikes(&self) -> Option<Strikes> {
        self.shape.strikes
    }

    pub(in crate::rate_limit) fn has_overrides(&self) -> bool {
        self.shape.has_overrides
    }

    /// What its requests have of each other's calls.
    pub(in crate::rate_limit) fn sharing(&self) -> Sharing {
        match self.shape.strikes {
            None => self.shape.sharing,
            // Each denial is a strike, and counted by a call of its own.
            Some(_) => Sharing::Nothing,
        }
    }

    pub(in crate::rate_limit) fn outage(&self) -> Outage {
        self.shape.outage
    }

    pub(in crate::rate_limit) fn looks(&self) -> &Looks {
        &self.shape.looks
    }

    /// The first mistake in what `with_*` was given, or in how it goes together.
    pub(in crate::rate_limit) fn check(&self) -> Result<(), ConfigError> {
        if let Some(mistake) = &self.shape.mistake {
            return Err(mistake.clone());
        }
        if self.shape.sharing != Sharing::Nothing && self.strikes().is_some() {
            let clash = "a ban counts each denial, so its requests cannot be asked for together; \
                leave out with_ban, or with_coalescing and with_leases";
            return Err(mistake(self.name(), clash));
        }
        Ok(())
    }

    /// Whether two rules, which share a name, have the same limits and the same ban.
    pub(in crate::rate_limit) fn has_same_limits(&self, other: &Self) -> bool {
        self.shape.limits.all() == other.shape.limits.all()
            && self.shape.strikes == other.shape.strikes
    }
}

fn holds(condition: Option<&Arc<dyn Condition>>, request: &request::Parts) -> bool {
    condition.is_some_and(|condition| condition.holds(request))
}
