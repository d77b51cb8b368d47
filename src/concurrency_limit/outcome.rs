//! What became of a request, for metrics and events.

use super::ConcurrencyLimitRule;

/// What a layer decided about a request that has a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    MissingKey,
    Outage,
}

impl Outcome {
    /// Counts the outcome under its rule.
    pub(super) fn record(self, rule: &ConcurrencyLimitRule) {
        rule.decisions().record(self.as_str());
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::MissingKey => "missing_key",
            Self::Outage => "outage",
        }
    }
}
