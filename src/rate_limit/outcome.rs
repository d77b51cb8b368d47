//! What became of a request, for metrics and events.

use super::RateLimitRule;

/// What a layer decided about a request that has a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    DeniedCached,
    Banned,
    ShadowDenied,
    DenyListed,
    MissingKey,
    Outage,
}

impl Outcome {
    /// Counts the outcome under its rule.
    pub(super) fn record(self, rule: &RateLimitRule) {
        rule.decisions().record(self.as_str());
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::DeniedCached => "denied_cached",
            Self::Banned => "banned",
            Self::ShadowDenied => "shadow_denied",
            Self::DenyListed => "deny_listed",
            Self::MissingKey => "missing_key",
            Self::Outage => "outage",
        }
    }
}
