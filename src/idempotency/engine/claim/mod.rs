//! A key that is owned.

mod writes;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit, watch},
    time::timeout_at,
};

pub(in crate::idempotency) use self::writes::{Lost, Unwritten};
use super::{
    store::{Store, deadline},
    withdrawal::Withdrawal,
};
use crate::{
    backend::Version,
    clock::{Monotonic, monotonic_now},
    idempotency::{
        protocol::{Fingerprint, Owner, Record, State},
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

    /// For who goes on although nobody waits; none if many do, since each keeps what it has to write.
    pub(in crate::idempotency) fn background_permit(&self) -> Option<OwnedSemaphorePermit> {
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
        self.end();
        drop(Withdrawal::new(
            &self.store,
            &self.key,
            self.owner,
            self.lease,
        ));
    }

    /// There is nothing left to renew.
    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
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
