//! What a handler knows of its run.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    engine::{Claim, Unwritten},
    outcome::Outcome,
    recovery_points::RecoveryPoints,
    shared::Core,
    tracker::Tracker,
};
use crate::{
    clock::{Monotonic, monotonic_now},
    key::{Digester, KeyParts},
};

/// One run of a handler under an idempotency key; in the request's extensions, cheap to clone.
///
/// ```
/// use tower_stash::idempotency::Execution;
///
/// async fn charge(run: &Execution) -> Result<(), std::io::Error> {
///     // The payment provider has idempotency keys of its own: one per key of ours and step.
///     let key = run.downstream_key("charge");
///     // UPDATE accounts SET .., fence = $1 WHERE id = $2 AND fence < $1
///     let fence = run.fence();
///     # let _ = (key, fence);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Execution {
    inner: Arc<Inner>,
}

struct Inner {
    claim: Arc<Claim>,
    key: Box<str>,
    digester: Digester,
    /// Of the layer that claimed it.
    tracker: Arc<Tracker>,
    ends: Monotonic,
    outcome: Mutex<Option<Outcome>>,
    points: Mutex<RecoveryPoints>,
    /// One point is written at a time, since each is written with all before it.
    writing: tokio::sync::Mutex<()>,
}

/// Why a recovery point is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Somebody else has the key, or it has its answer: this run had better stop.
    Lost,
    /// The backend does not say whether it is recorded; it can be tried again.
    Unavailable,
    /// All points of a run may have 64 KiB together, and a label 1 to 64 bytes.
    TooLarge,
}

impl Execution {
    pub(super) fn new(claim: &Arc<Claim>, key: &str, core: &Core, ends: Monotonic) -> Self {
        Self {
            inner: Arc::new(Inner {
                claim: Arc::clone(claim),
                key: key.into(),
                digester: core.digester.clone(),
                tracker: Arc::clone(&core.tracker),
                ends,
                outcome: Mutex::default(),
                points: Mutex::new(claim.inherited().clone()),
                writing: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// The key as the client sent it, without quotes; empty in a run of
    /// [`Idempotent`](super::Idempotent), which was given it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.inner.key
    }

    /// Counts the runs under this key: above one, an earlier one may have had effects.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.claim.attempt()
    }

    /// A number that is larger than that of every earlier run under this key: whoever stores it with
    /// each effect, and refuses smaller ones, is safe from a run that was taken for dead and is not.
    ///
    /// Microseconds since the Unix epoch, as the backend's clock has them; above 2^50 in these years,
    /// so it needs a 64-bit column.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.inner.claim.epoch().as_u64()
    }

    /// How long the handler may still take, by
    /// [`max_execution`](super::IdempotencyRule::with_max_execution).
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.inner.ends.saturating_duration_since(monotonic_now())
    }

    /// Whether another run may have begun, because this one could not say in time that it goes on.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.inner.claim.is_lost()
    }

    /// Ends when another run may have begun; a handler that is about to do something which cannot be
    /// undone had better stop then.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn lease_lost(&self) {
        self.inner.claim.lost().await;
    }

    /// A key for a step of this work elsewhere: the same for every run of the same request under the
    /// same key, also when the record of it was lost; 32 hexadecimal digits.
    #[must_use]
    pub fn downstream_key(&self, label: &str) -> String {
        let claim = &self.inner.claim;
        let parts = KeyParts::new()
            .with("downstream")
            .with(claim.key().as_str())
            .with(*claim.fingerprint().as_bytes())
            .with(label);
        let mut key = self.inner.digester.hash(&parts).to_hex().to_string();
        key.truncate(32);
        key
    }

    /// Records how far this run is, for the next one if this one does not come to its end: what a
    /// provider answered, say, so that it is not asked again.
    ///
    /// One call to the backend, which renews the lease as well. Points are kept until an answer is
    /// recorded, and those of earlier runs with them; the last one under a label counts.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]; then the next run may not see it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is recorded or not.
    pub async fn checkpoint(
        &self,
        label: &str,
        value: impl Into<Bytes>,
    ) -> Result<(), CheckpointError> {
        let _writing = self.inner.writing.lock().await;
        let points = lock(&self.inner.points).with(label, value.into());
        let points = points.ok_or(CheckpointError::TooLarge)?;
        match self.inner.claim.save(points.encode()).await {
            Ok(()) => {
                *lock(&self.inner.points) = points;
                Ok(())
            }
            Err(Unwritten::Over | Unwritten::Lost(_)) => Err(CheckpointError::Lost),
            Err(Unwritten::Unconfirmed(_)) => Err(CheckpointError::Unavailable),
        }
    }

    /// What an earlier run under this key recorded under this label, or this one.
    #[must_use]
    pub fn recovered(&self, label: &str) -> Option<Bytes> {
        lock(&self.inner.points).get(label).cloned()
    }

    /// Says what the answer means for the key, against what the rule's
    /// [`StorePolicy`](super::StorePolicy) would say, or what an error would; an [`Outcome`] in the
    /// response's extensions is heard before this.
    pub fn set_outcome(&self, outcome: Outcome) {
        *lock(&self.inner.outcome) = Some(outcome);
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        *lock(&self.inner.outcome)
    }

    /// Whether the layer that has this core claimed it.
    pub(super) fn is_of(&self, core: &Core) -> bool {
        Arc::ptr_eq(&self.inner.tracker, &core.tracker)
    }

    pub(super) fn claim(&self) -> &Arc<Claim> {
        &self.inner.claim
    }
}

/// Does not show the key.
impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("attempt", &self.attempt())
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "could not record a recovery point: another run has the key",
            Self::Unavailable => "could not record a recovery point: the backend did not answer",
            Self::TooLarge => "could not record a recovery point: it is too large",
        })
    }
}

impl Error for CheckpointError {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
