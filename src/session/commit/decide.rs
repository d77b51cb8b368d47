//! What a refused write means, and what is written; without a backend and without a clock.

use std::time::Duration;

use bytes::Bytes;

use super::super::{
    csrf::CsrfSeed,
    delta::Delta,
    expiry::time_to_live,
    names::is_reserved,
    record::{Attributes, Head, Record, Trail},
    rule::Family,
    store::{Stored, Via},
    token::SecretDigest,
};
use crate::clock::Timestamp;

/// What is to become of a session.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Change {
    pub(in crate::session) delta: Delta,
    pub(in crate::session) identity: Identity,
}

/// What is to become of who may use a session.
#[derive(Clone, Debug, Default)]
pub(in crate::session) enum Identity {
    /// Nothing.
    #[default]
    Same,
    /// A new secret; the one before is good for a while, and whoever came with it may write.
    Rotated(SecretDigest),
    /// A new secret; who came with the one before may not write any more.
    Renewed(SecretDigest, u64),
    /// That, and a user, and a new life.
    SignedIn(SignIn),
}

/// A session's new owner.
#[derive(Clone, Debug)]
pub(in crate::session) struct SignIn {
    pub(in crate::session) user: Bytes,
    pub(in crate::session) digest: SecretDigest,
    pub(in crate::session) generation: u64,
    pub(in crate::session) csrf_seed: CsrfSeed,
    pub(in crate::session) life: Duration,
    /// What stays of the attributes; all of them if it does not say.
    pub(in crate::session) kept: Option<Vec<Box<str>>>,
}

/// How a commit treats what others wrote meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Mode {
    /// Merges with it: changes are set again, which changes nothing the second time.
    Merge,
    /// Is refused.
    Strict,
    /// Computes anew from it, and must know whether it was applied.
    Exact,
}

/// What a refused write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Verdict {
    /// It was this commit itself, an earlier answer of which was lost.
    Done,
    /// Write again, over what is there now.
    Again,
    Refused(Refusal),
}

/// Why a commit is not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Refusal {
    /// The session is there no more, or is another generation's: it ended, or someone logged in.
    Gone,
    /// Somebody else wrote it, and this commit is strict.
    Conflict,
    /// Whether an earlier attempt was applied cannot be known any more.
    Indeterminate,
}

/// A write that was refused.
pub(in crate::session) struct Attempt<'a> {
    pub(in crate::session) base: &'a Stored,
    pub(in crate::session) nonce: u64,
    pub(in crate::session) mode: Mode,
    /// The newest mark in what it was to replace, if it was sent before without an answer.
    pub(in crate::session) unanswered_over: Option<u64>,
}

impl Attempt<'_> {
    /// What it means that this stands there, other than expected; `None` if the session was ended, or
    /// is there no more.
    pub(in crate::session) fn judge(&self, current: Option<&Stored>) -> Verdict {
        let Some(current) = current else {
            return Verdict::Refused(Refusal::Gone);
        };
        let head = &current.record.head;
        // Before the generation: a login changes that itself.
        if head.trail.has(self.nonce) {
            return Verdict::Done;
        }
        // Before all that would say that it was not applied.
        if self.mode != Mode::Merge && !self.sees_all(&head.trail) {
            return Verdict::Refused(Refusal::Indeterminate);
        }
        let base = &self.base.record.head;
        if head.generation != base.generation || current.is_over() {
            return Verdict::Refused(Refusal::Gone);
        }
        if self.mode == Mode::Strict && head.trail.newest() != base.trail.newest() {
            return Verdict::Refused(Refusal::Conflict);
        }
        Verdict::Again
    }

    /// Whether a trail goes back so far that this write would be on it if it was applied.
    fn sees_all(&self, trail: &Trail) -> bool {
        self.unanswered_over.is_none_or(|over| trail.has(over))
    }
}

/// Which record to write over this one; `None` if its session's life is over.
pub(in crate::session) fn next_record(
    current: &Stored,
    base: (&Head, Via),
    change: &Change,
    nonce: u64,
    family: &Family,
    now: Timestamp,
) -> Option<Record> {
    let mut record = Record::clone(&current.record);
    record.head.born = Some(record.head.born(current.version));
    record.head.trail.push(nonce);
    note_first_use(&mut record.head, base, now);
    match &change.identity {
        Identity::Same => {}
        // Somebody else was first, and theirs is what the client has.
        Identity::Rotated(_) if record.head.digest != base.0.digest => {}
        Identity::Rotated(digest) => {
            replace_secret(&mut record.head, *digest, now);
            record.head.previous_until = now + LONGEST_OVERLAP;
        }
        Identity::Renewed(digest, generation) => {
            replace_secret(&mut record.head, *digest, now);
            record.head.generation = *generation;
        }
        Identity::SignedIn(sign_in) => sign_in.apply(&mut record, now),
    }
    record.attributes = change.delta.apply(&record.attributes);
    let idle = family.timeouts(&record).idle;
    record.head.ttl = time_to_live(&record.head, current.version, idle, now)?;
    Some(record)
}

/// The same record, written again so that it lives on.
pub(in crate::session) fn slid_record(
    current: &Stored,
    via: Via,
    family: &Family,
    now: Timestamp,
) -> Option<Record> {
    let mut record = Record::clone(&current.record);
    record.head.born = Some(record.head.born(current.version));
    note_first_use(&mut record.head, (&current.record.head, via), now);
    let idle = family.timeouts(&record).idle;
    record.head.ttl = time_to_live(&record.head, current.version, idle, now)?;
    Some(record)
}

/// Whether a request is the first that comes with the secret of the last rotation.
pub(in crate::session) fn is_first_use(head: &Head, via: Via) -> bool {
    via == Via::Current && !head.is_new_secret_used && head.previous_until > Timestamp::default()
}

/// The client has the new secret, so the one before ends soon.
fn note_first_use(head: &mut Head, base: (&Head, Via), now: Timestamp) {
    if is_first_use(head, base.1) && head.digest == base.0.digest {
        head.is_new_secret_used = true;
        head.previous_until = head.previous_until.min(now + OVERLAP);
    }
}

fn replace_secret(head: &mut Head, digest: SecretDigest, now: Timestamp) {
    head.previous = head.digest;
    head.digest = digest;
    head.previous_until = Timestamp::default();
    head.is_new_secret_used = false;
    head.rotated = now;
}

impl SignIn {
    fn apply(&self, record: &mut Record, now: Timestamp) {
        replace_secret(&mut record.head, self.digest, now);
        record.head.generation = self.generation;
        record.head.csrf_seed = self.csrf_seed;
        record.head.born = Some(now);
        record.head.life = self.life;
        record.user = Some(self.user.clone());
        if let Some(kept) = &self.kept {
            // What is this crate's own stays as well: messages for the next page.
            let is_kept = |name: &str| is_reserved(name) || kept.iter().any(|kept| &**kept == name);
            record.attributes.retain(is_kept);
        }
    }
}

/// A session that nobody has used yet.
pub(in crate::session) fn new_record(
    digest: SecretDigest,
    generation: u64,
    csrf_seed: CsrfSeed,
    family: &Family,
) -> Record {
    let timeouts = family.anonymous;
    Record {
        head: Head {
            is_new_secret_used: false,
            ttl: timeouts.idle,
            born: None,
            life: timeouts.absolute,
            generation,
            rotated: Timestamp::default(),
            digest,
            previous: SecretDigest::NONE,
            previous_until: Timestamp::default(),
            csrf_seed,
            trail: Trail::default(),
        },
        user: None,
        attributes: Attributes::default(),
    }
}

/// How long the secret before a rotation is good once the client has used the new one.
const OVERLAP: Duration = Duration::from_secs(30);

/// How long it is good at most: an answer that never came leaves a client without the new one.
const LONGEST_OVERLAP: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests;
