//! What an operator sees of a key.

use std::{fmt, time::Duration};

use http::StatusCode;

use super::{
    engine::Read,
    protocol::{Record, State},
};
use crate::backend::Version;

/// What is recorded under a key, as it was when it was read.
///
/// Nothing of what a client sent or was answered is in it but the answer's status, so it may be
/// logged.
#[derive(Clone)]
pub struct Inspection {
    record: Record,
    version: Version,
    expires_in: Duration,
    state: KeyState,
    status: Option<StatusCode>,
    is_outcome_unknown: bool,
}

/// How far the work under a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Somebody claimed it.
    #[non_exhaustive]
    InProgress {
        /// Whether the handler may have begun.
        is_started: bool,
        /// How long its instance is to be left alone yet. A hint, of the moment of reading; an
        /// instance that lives renews it.
        lease_left: Duration,
    },
    /// It is done.
    #[non_exhaustive]
    Completed {
        /// Whether repetitions get the answer; if not, it was too large to be kept.
        is_replayable: bool,
    },
    /// It ended, and nobody knows how.
    OutcomeUnknown,
    /// It is done, and its answer cannot be read here: it is damaged, or sealed with a secret that
    /// this program does not have.
    Unreadable,
    /// It ended without an answer to keep; the next request with the key runs it again, unless
    /// [nobody knows](Inspection::is_outcome_unknown) what earlier attempts did.
    Failed,
}

/// What could be read of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// That of a request.
    Response(StatusCode),
    /// What work came to that is no request.
    Result,
    Unreadable,
}

impl Inspection {
    /// What was read, where `payload` reads what is recorded of an answer, and `never_again` is what
    /// the record's rule says by now.
    pub(super) fn of(
        read: Read,
        never_again: bool,
        payload: impl FnOnce(&Record) -> Payload,
    ) -> Self {
        let Read {
            record,
            version,
            expires_in,
        } = read;
        // Whoever made it live for ever took away its age.
        let expires_in = expires_in.unwrap_or(record.ttl);
        let age = record.ttl.saturating_sub(expires_in);
        let lease_left = record.lease.saturating_sub(age);
        let (state, status) = match record.state {
            State::InProgress => (
                KeyState::InProgress {
                    is_started: record.flags.is_started,
                    lease_left,
                },
                None,
            ),
            State::Failed => (KeyState::Failed, None),
            State::Completed if record.flags.is_unknown => (KeyState::OutcomeUnknown, None),
            State::Completed => match payload(&record) {
                Payload::Response(status) => (KeyState::completed(&record), Some(status)),
                Payload::Result => (KeyState::completed(&record), None),
                Payload::Unreadable => (KeyState::Unreadable, None),
            },
        };
        let is_running = record.state == State::InProgress && !lease_left.is_zero();
        Self {
            is_outcome_unknown: !is_running && record.is_outcome_unknown(never_again),
            record,
            version,
            expires_in,
            state,
            status,
        }
    }

    /// How far the work is.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// The status of the answer, if there is one and it is a response; what
    /// [`Idempotent::run`](super::Idempotent::run) came to has none.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Whether a repetition is told that nobody knows what became of the request, so that it can be
    /// [settled](super::IdempotencyHandle::settle). A hint while it is in progress, by
    /// [`age`](Self::age).
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.is_outcome_unknown
    }

    /// Which write of the record was read: what [`forget`](super::IdempotencyHandle::forget) and
    /// [`settle`](super::IdempotencyHandle::settle) change is this one, or nothing.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many claims there were, this one included; above one, an earlier one may have run.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.record.attempt
    }

    /// The [fence](super::Execution::fence) of the last claim.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.record.epoch(self.version).as_u64()
    }

    /// The name of the rule that it was claimed under.
    #[must_use]
    pub fn rule(&self) -> &str {
        str::from_utf8(&self.record.rule).unwrap_or_default()
    }

    /// Whether a handler that may have begun never begins again, by what the rule said when the key
    /// was claimed.
    #[must_use]
    pub fn is_never_again(&self) -> bool {
        self.record.flags.never_again
    }

    /// How long ago the record was last written. A hint: the time to live that it was written with,
    /// less what is left of it.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.record.ttl.saturating_sub(self.expires_in)
    }

    /// How long the record is kept yet, unless it is written again.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl KeyState {
    fn completed(record: &Record) -> Self {
        Self::Completed {
            is_replayable: !record.flags.is_not_replayable,
        }
    }
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("state", &self.state)
            .field("status", &self.status)
            .field("is_outcome_unknown", &self.is_outcome_unknown)
            .field("version", &self.version)
            .field("attempt", &self.attempt())
            .field("fence", &self.fence())
            .field("rule", &self.rule())
            .field("is_never_again", &self.is_never_again())
            .field("age", &self.age())
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}
