//! What an owner finds where its own record should be, and what follows from it.

use super::{
    fingerprint::Fingerprint,
    record::{Owner, Record, State},
};

/// What an owner wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum Intent {
    /// That the handler is about to begin.
    Start,
    /// That the owner is still there.
    Renew,
    /// The answer.
    Complete,
    /// That the work is to be tried again.
    Fail,
    /// Nothing: the key is to be as if it had never been used.
    Release,
}

/// What follows from a write that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum OnConflict {
    /// It has been done, by an earlier sending or by time.
    Done,
    /// The record is the owner's own, of another version: write again, over that one.
    Again,
    /// The record is gone and nobody has the key: write where nothing is.
    Restore,
    /// Somebody else has the key.
    Lost(Loss),
}

/// Whose a key is that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum Loss {
    /// That of another request.
    OtherRequest,
    /// The same request's, and its answer is there.
    Answered,
    /// The same request's, which is at work on it.
    AtWork,
    /// The same request's, which is to be tried again.
    Failed,
}

/// What follows when an owner finds this in the place of its record.
pub(in crate::idempotency) fn on_conflict(
    owner: Owner,
    fingerprint: &Fingerprint,
    intent: Intent,
    found: Option<&Record>,
) -> OnConflict {
    let Some(found) = found else {
        return match intent {
            Intent::Release => OnConflict::Done,
            // That it failed is written, too: it keeps the place from a claim or renewal of the
            // owner's own that was not answered and arrives late.
            _ => OnConflict::Restore,
        };
    };
    if found.owner != owner {
        return OnConflict::Lost(Loss::of(fingerprint, found));
    }
    match (found.state, intent) {
        (State::InProgress, Intent::Start) if found.flags.is_started => OnConflict::Done,
        (State::InProgress, _) => OnConflict::Again,
        (State::Completed | State::Failed, _) => OnConflict::Done,
    }
}

impl Loss {
    fn of(fingerprint: &Fingerprint, found: &Record) -> Self {
        if found.fingerprint != *fingerprint {
            return Self::OtherRequest;
        }
        match found.state {
            State::Completed => Self::Answered,
            State::InProgress => Self::AtWork,
            State::Failed => Self::Failed,
        }
    }
}
