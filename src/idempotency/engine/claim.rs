//! A key that is owned: all that its owner writes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit, watch},
    time::timeout_at,
};

use super::{
    sealing::{Kept, Purpose},
    store::{Store, deadline, no_chance},
    withdrawal::Withdrawal,
};
use crate::{
    backend::{BackendError, Entry, GetOptions, Precondition, Put, Version},
    clock::{Monotonic, monotonic_now},
    idempotency::{
        protocol::{
            Fingerprint, Flags, Intent, Loss, OnConflict, Owner, Record, State, on_conflict,
        },
        recovery_points::RecoveryPoints,
    },
    key::Key,
};

/// A key that is owned, for as long as it is renewed.
///
/// Its writes follow one another: one that is not answered may still be under way when the next one
/// is sent, and is then of a version that is passed.
pub(in crate::idempotency) struct Claim {
    store: Store,
    key: Key,
    owner: Owner,
    fingerprint: Fingerprint,
    /// The fence.
    epoch: Version,
    attempt: u32,
    lease: Duration,
    /// What the attempt before left.
    inherited: RecoveryPoints,
    progress: Mutex<Progress>,
    /// Until when nobody can have taken over.
    own_until: watch::Sender<Monotonic>,
    is_over: AtomicBool,
    /// Whether every write was answered: one that was not may arrive when the record is gone.
    is_answered: AtomicBool,
}

/// What is known of the record.
struct Progress {
    record: Record,
    version: Version,
}

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
    /// The claim that this record is, written as this version by a call that was sent then;
    /// `is_answered` says whether all calls before were answered.
    pub(super) fn new(
        store: &Store,
        key: &Key,
        record: Record,
        version: Version,
        sent: Monotonic,
        is_answered: bool,
    ) -> Self {
        Self {
            store: store.clone(),
            key: key.clone(),
            owner: record.owner,
            fingerprint: record.fingerprint,
            epoch: record.epoch(version),
            attempt: record.attempt,
            lease: record.lease,
            inherited: RecoveryPoints::default(),
            own_until: watch::Sender::new(deadline(sent, record.lease)),
            progress: Mutex::new(Progress { record, version }),
            is_over: AtomicBool::new(false),
            is_answered: AtomicBool::new(is_answered),
        }
    }

    /// This claim, to which the attempt before left this.
    pub(super) fn inheriting(mut self, inherited: RecoveryPoints) -> Self {
        self.inherited = inherited;
        self
    }

    pub(in crate::idempotency) fn key(&self) -> &Key {
        &self.key
    }

    pub(in crate::idempotency) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The fence: larger than that of every earlier owner.
    pub(in crate::idempotency) fn epoch(&self) -> Version {
        self.epoch
    }

    pub(in crate::idempotency) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(in crate::idempotency) fn lease(&self) -> Duration {
        self.lease
    }

    /// Until when nobody can have taken over, as far as is known.
    pub(in crate::idempotency) fn own_until(&self) -> Monotonic {
        *self.own_until.borrow()
    }

    /// Whether somebody may have taken over.
    pub(in crate::idempotency) fn is_lost(&self) -> bool {
        self.own_until() <= monotonic_now()
    }

    /// Ends when somebody may have taken over.
    pub(in crate::idempotency) async fn lost(&self) {
        let mut own_until = self.own_until.subscribe();
        loop {
            let until = *own_until.borrow_and_update();
            if until <= monotonic_now() {
                return;
            }
            // A renewal moves it.
            _ = timeout_at(until, own_until.changed()).await;
        }
    }

    /// Whether half of the lease is over.
    pub(in crate::idempotency) fn is_due(&self) -> bool {
        let left = self.own_until().saturating_duration_since(monotonic_now());
        left < self.lease / 2
    }

    /// Whether there is nothing left to renew: it is settled, or somebody else's.
    pub(in crate::idempotency) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// What the attempt before left.
    pub(in crate::idempotency) fn inherited(&self) -> &RecoveryPoints {
        &self.inherited
    }

    /// The record, if it has the answer.
    pub(in crate::idempotency) async fn answer(&self) -> Option<Arc<Record>> {
        let progress = self.progress.lock().await;
        let record = &progress.record;
        (record.state == State::Completed).then(|| Arc::new(record.clone()))
    }

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
        for _ in 0..MAX_ROUNDS {
            if self.is_over() {
                break;
            }
            match self.store.delete(&self.key, progress.version).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.may_have_applied() => {}
                Err(error) => return Err(Unwritten::Unconfirmed(error)),
            }
            let found = self.store.get(&self.key, GetOptions::new()).await;
            match self.judge(Intent::Release, found.map_err(Unwritten::Unconfirmed)?)? {
                Next::Done(_) => break,
                Next::Over(precondition) => {
                    if let Precondition::Matches(version) = precondition {
                        progress.version = version;
                    }
                }
            }
        }
        self.is_over.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets someone go on for whom nobody waits, unless many do: each keeps what it has to write.
    pub(in crate::idempotency) fn may_go_on(&self) -> Option<OwnedSemaphorePermit> {
        let background = Arc::clone(&self.store.background);
        background.try_acquire_owned().ok()
    }

    /// Releases it in the background; if that fails, it is over when its lease is.
    pub(in crate::idempotency) fn give_back(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current() {
            let claim = Arc::clone(self);
            runtime.spawn(async move { claim.release().await });
        }
    }

    /// Looks for this claim for a lease and takes it back; for one whose handler has not begun, and
    /// never will.
    pub(in crate::idempotency) fn withdraw(&self) {
        self.is_over.store(true, Ordering::Release);
        drop(Withdrawal::new(
            &self.store,
            &self.key,
            self.owner,
            self.lease,
        ));
    }

    fn seal(&self, plain: Bytes, purpose: Purpose) -> Result<Kept, Unwritten> {
        let sealing = &self.store.sealing;
        sealing
            .seal(plain, &self.key, &self.fingerprint, purpose)
            .map_err(|error| Unwritten::Unconfirmed(no_chance(error)))
    }

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
            let put = self
                .store
                .put(&self.key, record.encode(), record.ttl, precondition);
            // Until it is answered it is not, also when this is dropped meanwhile.
            let were_answered = self.is_answered.swap(false, Ordering::AcqRel);
            let put = put.await;
            let is_answered = match &put {
                Ok(put) => put.is_answered,
                Err(error) => !error.may_have_applied(),
            };
            self.is_answered
                .store(were_answered && is_answered, Ordering::Release);
            let current = match put.map_err(Unwritten::Unconfirmed)?.put {
                Put::Stored(version) => {
                    self.confirm(&mut progress, record, version, sent);
                    return Ok(());
                }
                Put::Conflict { current, .. } => current,
            };
            match self.judge(intent, current)? {
                // No renewal ever replaces an answer.
                Next::Done(_) if intent == Intent::Renew => {
                    self.is_over.store(true, Ordering::Release);
                    return Err(Unwritten::Over);
                }
                Next::Done(version) => {
                    if intent != Intent::Start {
                        self.is_over.store(true, Ordering::Release);
                    }
                    // How old that write is nobody knows; the deadline stays as it was.
                    let version = version.unwrap_or(progress.version);
                    *progress = Progress { record, version };
                    return Ok(());
                }
                // Others may have come and gone since, with larger fences.
                Next::Over(Precondition::Absent) if intent == Intent::Renew && self.is_lost() => {
                    self.is_over.store(true, Ordering::Release);
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

    fn confirm(&self, progress: &mut Progress, record: Record, version: Version, sent: Monotonic) {
        if record.state != State::InProgress {
            self.is_over.store(true, Ordering::Release);
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
                self.is_over.store(true, Ordering::Release);
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

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("epoch", &self.epoch)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
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
