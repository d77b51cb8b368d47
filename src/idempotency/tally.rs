//! What became of a request, for metrics and events.

use super::{problem::Problem, rule::IdempotencyRule};

/// What a layer did for a request that has a rule and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// The handler ran, and what became of it is recorded.
    Ran,
    Replayed,
    /// The key is that of another request.
    Mismatch,
    Busy,
    /// Nobody knows what became of it.
    Unknown,
    /// The handler ran, and what became of it is not recorded.
    Unrecorded,
    /// It ran without protection.
    Bypassed,
    /// The handler ran, and somebody else had taken the key by then.
    Lost,
    /// It is not a request that can be protected.
    Rejected,
    Unavailable,
}

impl Tally {
    pub(super) fn of_problem(problem: &Problem) -> Self {
        match problem {
            Problem::KeyMissing
            | Problem::KeyInvalid(_)
            | Problem::ScopeMissing
            | Problem::BodyTooLarge
            | Problem::BodyLate
            | Problem::BodyBroken
            | Problem::Streaming => Self::Rejected,
            Problem::KeyReused => Self::Mismatch,
            Problem::InProgress { .. } => Self::Busy,
            Problem::NotReplayable { .. } => Self::Replayed,
            Problem::OutcomeUnknown | Problem::RecordUnreadable => Self::Unknown,
            Problem::HandlerPanicked => Self::Ran,
            Problem::Unavailable => Self::Unavailable,
        }
    }

    /// Counts the outcome under its rule.
    pub(super) fn record(self, rule: &IdempotencyRule) {
        rule.shape().decisions.record(self.as_str());
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Replayed => "replayed",
            Self::Mismatch => "mismatch",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Unrecorded => "unrecorded",
            Self::Bypassed => "bypassed",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
        }
    }
}
