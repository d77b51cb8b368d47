//! What became of a request's session, for metrics and events.

use super::{SessionRule, settle::Settled, state::State, visit::Visit};

/// What a layer did for a request that has a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was asked of the session.
    Untouched,
    Read,
    /// Read, and its idle time-out moved.
    Slid,
    Saved,
    /// Begun, or logged in.
    Created,
    /// Given another secret.
    Renewed,
    Destroyed,
    /// What changed is lost, for the session ended or somebody logged in with it.
    Gone,
    Conflict,
    /// Refused: another site's page may have made it.
    CrossSite,
    Unauthenticated,
    LoginRefused,
    Outage,
}

impl Outcome {
    /// What became of a request whose session is settled.
    pub(super) fn of(visit: &Visit, settled: &Settled) -> Self {
        match settled {
            Settled::Rested if visit.failure().is_some() => Self::Outage,
            Settled::Rested if visit.read(|state| state.is_destroyed) => Self::Destroyed,
            Settled::Rested if visit.read(State::is_untouched) => Self::Untouched,
            Settled::Rested => Self::Read,
            Settled::Slid => Self::Slid,
            Settled::Saved => Self::Saved,
            Settled::Issued(issue) if issue.is_new => Self::Created,
            Settled::Issued(_) => Self::Renewed,
            Settled::Lost => Self::Gone,
            Settled::Conflict => Self::Conflict,
            Settled::LoginRefused(_) => Self::LoginRefused,
            Settled::Failed(_) => Self::Outage,
        }
    }

    /// Counts the outcome under its rule.
    pub(super) fn record(self, rule: &SessionRule) {
        rule.family().decisions.record(self.as_str());
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Read => "read",
            Self::Slid => "slid",
            Self::Saved => "saved",
            Self::Created => "created",
            Self::Renewed => "renewed",
            Self::Destroyed => "destroyed",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::CrossSite => "cross_site",
            Self::Unauthenticated => "unauthenticated",
            Self::LoginRefused => "login_refused",
            Self::Outage => "outage",
        }
    }
}
