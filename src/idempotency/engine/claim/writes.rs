//! All that the owner of a key writes, one write after another.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{Claim, Progress};
use crate::{
    backend::{BackendError, Entry, GetOptions, Precondition, Put, Version},
    clock::{Monotonic, monotonic_now},
    idempotency::{
        engine::{
            sealing::{Kept, Purpose},
            store::{deadline, no_chance},
        },
        protocol::{Flags, Intent, Loss, OnConflict, Record, State, on_conflict},
    },
};

/// Why something is not written.
#[derive(Debug)]
pub(in crate::idempotency) enum Unwritten {
    /// It is settled, or over with nothing left of it: there is nothing to renew.
    Over,
    /// Somebody else has the key.
    Lost(Lost),
    /// The backend does not say whether it is written.
    Unconfirmed(BackendError),
}

/// Who has the key, and what they left there.
#[derive(Debug)]
pub(in crate::idempotency) struct Lost {
    pub(in crate::idempotency) loss: Loss,
    pub(in crate::idempotency) record: Arc<Record>,
}

impl Claim {
    /// Writes down that the handler is about to begin, unless the claim has said so.
    pub(in crate::idempotency) async fn start(&self) -> Result<(), Unwritten> {
        self.write(Intent::Start, |record| record.flags.is_started = true)
            .await
    }

    /// Says that the owner is still there.
    pub(in crate::idempotency) async fn renew(&self) -> Result<(), Unwritten> {
        self.write(Intent::Renew, |_| ()).await
    }

    /// Renews, and leaves this for the next attempt.
    pub(in crate::idempotency) async fn save(&self, payload: Bytes) -> Result<(), Unwritten> {
        let points = self.seal(payload, Purpose::RecoveryPoints)?;
        self.write(Intent::Renew, |record| {
            record.payload = points.payload.clone();
            record.flags.is_sealed = points.is_sealed;
        })
        .await
    }

    /// Writes the answer.
    pub(in crate::idempotency) async fn complete(
        &self,
        answer: Bytes,
        flags: Flags,
    ) -> Result<(), Unwritten> {
        let purpose = if flags.is_not_replayable {
            Purpose::Head
        } else {
            Purpose::Answer
        };
        let answer = self.seal(answer, purpose)?;
        self.write(Intent::Complete, |record| {
            record.state = State::Completed;
            record.payload = answer.payload.clone();
            record.flags = Flags {
                is_started: true,
                never_again: record.flags.never_again,
                is_sealed: answer.is_sealed,
                ..flags
            };
        })
        .await
    }

    /// Leaves the work to whoever comes next.
    pub(in crate::idempotency) async fn fail(&self) -> Result<(), Unwritten> {
        self.write(Intent::Fail, |record| record.state = State::Failed)
            .await
    }

    /// Leaves the key as if it had never been used.
    ///
    /// If there were attempts before this one, it is left as one that failed, since they may have
    /// done something; also if a write was not answered, which might take the empty place.
    pub(in crate::idempotency) async fn release(&self) -> Result<(), Unwritten> {
        let mut progress = self.progress.lock().await;
        // Asked behind the lock: what has it may be the write that is not answered.
        if self.attempt > 1 || !self.is_answered.load(Ordering::Acquire) {
            drop(progress);
            return self.fail().await;
        }
        // Also of a key that is known to be lost: who has it now is found on the way.
        for _ in 0..MAX_ROUNDS {
            match self.store.delete(&self.key, progress.version).await {
                Ok(true) => {
                    self.end();
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) if error.may_have_applied() => {}
                Err(error) => return Err(Unwritten::Unconfirmed(error)),
            }
            let found = self.store.get(&self.key, GetOptions::new()).await;
            match self.judge(Intent::Release, found.map_err(Unwritten::Unconfirmed)?)? {
                Next::Done(_) => {
                    self.end();
                    return Ok(());
                }
                Next::Over(precondition) => {
                    if let Precondition::Matches(version) = precondition {
                        progress.version = version;
                    }
                }
            }
        }
        Err(Unwritten::Unconfirmed(BackendError::contended()))
    }

    /// Writes the record, changed like this, over what is known of it; of what stands there instead,
    /// the intent decides.
    async fn write(&self, intent: Intent, change: impl Fn(&mut Record)) -> Result<(), Unwritten> {
        let mut progress = self.progress.lock().await;
        // What waited for the last write comes after it, and there is nothing to renew.
        if intent == Intent::Renew && self.is_over() {
            return Err(Unwritten::Over);
        }
        let mut record = progress.record.clone();
        // The version moves on with this write, and the fence must not.
        record.epoch = Some(self.epoch);
        change(&mut record);
        let mut precondition = Precondition::Matches(progress.version);
        for _ in 0..MAX_ROUNDS {
            let sent = monotonic_now();
            let current = match self.send(&record, precondition).await? {
                Put::Stored(version) => {
                    self.confirm(&mut progress, record, version, sent);
                    return Ok(());
                }
                Put::Conflict { current, .. } => current,
            };
            match self.judge(intent, current)? {
                // No renewal ever replaces an answer.
                Next::Done(_) if intent == Intent::Renew => {
                    self.end();
                    return Err(Unwritten::Over);
                }
                Next::Done(version) => {
                    if intent != Intent::Start {
                        self.end();
                    }
                    // How old that write is nobody knows; the deadline stays as it was.
                    let version = version.unwrap_or(progress.version);
                    *progress = Progress { record, version };
                    return Ok(());
                }
                // Others may have come and gone since, with larger fences.
                Next::Over(Precondition::Absent) if intent == Intent::Renew && self.is_lost() => {
                    self.end();
                    return Err(Unwritten::Over);
                }
                Next::Over(next) => {
                    if let Precondition::Matches(version) = next {
                        progress.version = version;
                    }
                    precondition = next;
                }
            }
        }
        Err(Unwritten::Unconfirmed(BackendError::contended()))
    }

    fn seal(&self, plain: Bytes, purpose: Purpose) -> Result<Kept, Unwritten> {
        let sealing = &self.store.sealing;
        sealing
            .seal(plain, &self.key, &self.fingerprint, purpose)
            .map_err(|error| Unwritten::Unconfirmed(no_chance(error)))
    }

    /// Sends the record, and notes whether that was answered.
    async fn send(&self, record: &Record, precondition: Precondition) -> Result<Put, Unwritten> {
        // Until it is answered it is not, also when this is dropped meanwhile.
        let were_answered = self.is_answered.swap(false, Ordering::AcqRel);
        let put = self.store.put(&self.key, record, precondition).await;
        let is_answered = match &put {
            Ok(put) => put.is_answered,
            Err(error) => !error.may_have_applied(),
        };
        self.is_answered
            .store(were_answered && is_answered, Ordering::Release);
        Ok(put.map_err(Unwritten::Unconfirmed)?.put)
    }

    fn confirm(&self, progress: &mut Progress, record: Record, version: Version, sent: Monotonic) {
        if record.state != State::InProgress {
            self.end();
        }
        *progress = Progress { record, version };
        self.own_until.send_replace(deadline(sent, self.lease));
    }

    /// What to do about what stands in the place of the record.
    fn judge(&self, intent: Intent, current: Option<Entry>) -> Result<Next, Unwritten> {
        let version = current.as_ref().map(|entry| entry.version);
        let found = current.map(|entry| Record::decode(entry.value));
        let found = found
            .transpose()
            .map_err(|_| Unwritten::Unconfirmed(BackendError::unreadable()))?;
        let verdict = on_conflict(self.owner, &self.fingerprint, intent, found.as_ref());
        match (verdict, version, found) {
            (OnConflict::Lost(loss), _, Some(record)) => {
                self.end();
                // From here on nobody is to be told that the key is ours.
                self.own_until.send_replace(monotonic_now());
                let record = Arc::new(record);
                Err(Unwritten::Lost(Lost { loss, record }))
            }
            (OnConflict::Again, Some(version), _) => Ok(Next::Over(Precondition::Matches(version))),
            (OnConflict::Done, version, _) => Ok(Next::Done(version)),
            _ => Ok(Next::Over(Precondition::Absent)),
        }
    }
}

/// What follows from a write that was refused.
enum Next {
    /// Nothing; the record has this version, if there is one.
    Done(Option<Version>),
    /// Write under this precondition.
    Over(Precondition),
}

/// More surprises than these in a row are given up.
const MAX_ROUNDS: u32 = 8;
