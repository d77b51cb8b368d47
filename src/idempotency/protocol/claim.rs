//! What a claim finds under its key, and what follows from it.

use std::time::Duration;

use bytes::Bytes;

use super::{
    fingerprint::Fingerprint,
    record::{Flags, Owner, Record, State},
};
use crate::{backend::Version, clock::Timestamp};

/// Someone who wants to own a key.
#[derive(Clone, Debug)]
pub(in crate::idempotency) struct Claimant {
    pub(in crate::idempotency) owner: Owner,
    pub(in crate::idempotency) fingerprint: Fingerprint,
    pub(in crate::idempotency) terms: Terms,
}

/// What a rule says of all claims under it.
#[derive(Clone, Debug)]
pub(in crate::idempotency) struct Terms {
    /// The rule's name.
    pub(in crate::idempotency) rule: Bytes,
    /// Whole milliseconds.
    pub(in crate::idempotency) lease: Duration,
    /// How long a record is kept after its last write; whole milliseconds.
    pub(in crate::idempotency) retention: Duration,
    /// What may have begun must not begin again.
    pub(in crate::idempotency) never_again: bool,
}

/// What follows from what a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum OnClaim {
    /// The key belongs to another request.
    Mismatch,
    /// The work is done: give its answer.
    Replay,
    /// An earlier sending of this very claim came through.
    Ours,
    /// Someone is at work and has so long before anyone may take over.
    Busy { left: Duration },
    /// Someone began and is gone, and nobody may begin again.
    Unknown,
    /// The key is free for [`Claimant::successor`].
    TakeOver,
}

impl Claimant {
    /// What to store where nothing is.
    pub(in crate::idempotency) fn first(&self) -> Record {
        let never_again = self.terms.never_again;
        Record {
            state: State::InProgress,
            flags: Flags {
                // Where nothing must begin twice, beginning is written down by itself.
                is_started: !never_again,
                never_again,
                ..Flags::default()
            },
            attempt: 1,
            epoch: None,
            lease: self.terms.lease,
            ttl: self.terms.retention,
            owner: self.owner,
            fingerprint: self.fingerprint,
            rule: self.terms.rule.clone(),
            payload: Bytes::new(),
        }
    }

    /// What to store in the place of a record that may be taken over: the next attempt, which has
    /// the recovery points of the one before.
    pub(in crate::idempotency) fn successor(&self, found: &Record) -> Record {
        let first = self.first();
        Record {
            flags: Flags {
                is_sealed: found.flags.is_sealed,
                // What failed has said how it ended.
                is_unaccounted: found.flags.is_unaccounted
                    || found.state == State::InProgress && found.flags.is_started,
                ..first.flags
            },
            attempt: found.attempt.saturating_add(1),
            payload: found.payload.clone(),
            ..first
        }
    }
}

/// What follows from the record that stands in the way of a claim, written as `version`, at the
/// backend's time `now`.
pub(in crate::idempotency) fn on_claim(
    me: &Claimant,
    found: &Record,
    version: Version,
    now: Timestamp,
) -> OnClaim {
    // Before all else: nobody learns anything of another request's work.
    if found.fingerprint != me.fingerprint {
        return OnClaim::Mismatch;
    }
    match found.state {
        State::Completed => OnClaim::Replay,
        State::Failed if found.is_outcome_unknown(me.terms.never_again) => OnClaim::Unknown,
        State::Failed => OnClaim::TakeOver,
        State::InProgress if found.owner == me.owner => OnClaim::Ours,
        State::InProgress => {
            let left = found.lease_left(version, now);
            if !left.is_zero() {
                OnClaim::Busy { left }
            } else if found.is_outcome_unknown(me.terms.never_again) {
                OnClaim::Unknown
            } else {
                OnClaim::TakeOver
            }
        }
    }
}
