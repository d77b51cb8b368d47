//! The calls to the backend, and the claim, which is one of them as a rule.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{claim::Claim, error::ClaimError, sealing::Sealing, withdrawal::Withdrawal};
use crate::{
    backend::{
        BackendError, BackendErrorKind, Entry, ErasedKeyValue, GetOptions, Precondition, Put,
        PutOptions, Result, Version,
    },
    clock::{Monotonic, monotonic_now},
    idempotency::{
        protocol::{Claimant, Fingerprint, OnClaim, Owner, Record, Terms, on_claim},
        recovery_points::RecoveryPoints,
    },
    key::Key,
};

/// Where records are; cheap to clone.
#[derive(Clone)]
pub(in crate::idempotency) struct Store {
    backend: Arc<dyn ErasedKeyValue>,
    /// How answers and recovery points are kept.
    pub(in crate::idempotency) sealing: Sealing,
    /// One for each call that may wait in the background.
    pub(super) background: Arc<Semaphore>,
}

/// What a claim came to.
#[derive(Debug)]
pub(in crate::idempotency) enum Found {
    /// The key is the claimant's own.
    Ours(Arc<Claim>),
    /// The key belongs to another request.
    Mismatch,
    /// The work is done, and this is its record.
    Answer(Arc<Record>),
    /// Someone is at work and has so long before anyone may take over.
    Busy { left: Duration },
    /// Someone began and is gone, and nobody may begin again.
    Unknown,
}

/// What became of a write.
#[derive(Debug)]
pub(in crate::idempotency) struct Sent {
    pub(in crate::idempotency) put: Put,
    /// Whether each sending of it was answered: one that was not may arrive yet.
    pub(in crate::idempotency) is_answered: bool,
}

impl Store {
    pub(in crate::idempotency) fn new(backend: Arc<dyn ErasedKeyValue>) -> Self {
        Self {
            backend,
            sealing: Sealing::default(),
            background: Arc::new(Semaphore::new(MAX_BACKGROUND)),
        }
    }

    /// Claims a key, or says who has it: one call if the key is free, or nobody else's to take.
    ///
    /// # Cancel safety
    ///
    /// Dropped, or failed, it leaves at most a claim that is deleted in the background; if that
    /// fails too, it blocks the key for a lease.
    pub(in crate::idempotency) async fn claim(
        &self,
        key: &Key,
        fingerprint: Fingerprint,
        terms: &Terms,
    ) -> Result<Found, ClaimError> {
        let me = Claimant {
            // Another one for each claim: an earlier one may still be being taken back.
            owner: Owner::random().map_err(no_chance)?,
            fingerprint,
            terms: terms.clone(),
        };
        let withdrawal = Withdrawal::of(self, key, &me);
        let mut is_answered = true;
        let found = self.try_claim(key, &me, &mut is_answered).await;
        // Whatever is found, what was not answered may arrive yet.
        let may_be_left = match &found {
            Ok(Found::Ours(_)) => false,
            Err(ClaimError::Unavailable(error)) => !is_answered || error.may_have_applied(),
            _ => !is_answered,
        };
        if !may_be_left {
            withdrawal.cancel();
        }
        found
    }

    /// Puts and decides until it is settled; says whether every put was answered.
    async fn try_claim(
        &self,
        key: &Key,
        me: &Claimant,
        is_answered: &mut bool,
    ) -> Result<Found, ClaimError> {
        let mut record = me.first();
        let mut precondition = Precondition::Absent;
        let mut inherited = RecoveryPoints::default();
        for _ in 0..MAX_ROUNDS {
            let sent = monotonic_now();
            let put = self.put(key, &record, precondition);
            let put = put.await?;
            *is_answered &= put.is_answered;
            let (entry, now) = match put.put {
                Put::Stored(version) => {
                    let claim = Claim::new(self, key, record, version, sent, *is_answered)
                        .inheriting(inherited);
                    return Ok(Found::Ours(Arc::new(claim)));
                }
                Put::Conflict { current: None, .. } => {
                    record = me.first();
                    precondition = Precondition::Absent;
                    inherited = RecoveryPoints::default();
                    continue;
                }
                Put::Conflict {
                    current: Some(entry),
                    now,
                } => (entry, now),
            };
            let found = Record::decode(entry.value)?;
            match on_claim(me, &found, entry.version, now) {
                OnClaim::Mismatch => return Ok(Found::Mismatch),
                OnClaim::Replay => return Ok(Found::Answer(Arc::new(found))),
                OnClaim::Busy { left } => return Ok(Found::Busy { left }),
                OnClaim::Unknown => return Ok(Found::Unknown),
                // How old it is nobody knows, so it is written again before it counts, and its
                // fence is that of this write: others may have come and gone with larger ones.
                OnClaim::Ours => {
                    inherited = self.inheritance(key, &found)?;
                    record = Record {
                        epoch: None,
                        ..found
                    };
                    precondition = Precondition::Matches(entry.version);
                }
                OnClaim::TakeOver => {
                    inherited = self.inheritance(key, &found)?;
                    record = me.successor(&found);
                    precondition = Precondition::Matches(entry.version);
                }
            }
        }
        Ok(Found::Busy { left: CROWDED })
    }

    /// What the attempt before left. Who cannot read it does not take over: it would do again what
    /// is done.
    fn inheritance(&self, key: &Key, found: &Record) -> Result<RecoveryPoints, ClaimError> {
        let inherited = self.sealing.open(key, found);
        inherited
            .and_then(RecoveryPoints::decode)
            .ok_or(ClaimError::Corrupt)
    }

    /// Reads the record, if there is one that can be read.
    pub(in crate::idempotency) async fn get(
        &self,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Entry>> {
        Arc::clone(&self.backend).get(key.clone(), options).await
    }

    /// Writes, and once more the very same while it is not known whether it was written: under its
    /// precondition at most one of the two is.
    pub(in crate::idempotency) async fn put(
        &self,
        key: &Key,
        record: &Record,
        precondition: Precondition,
    ) -> Result<Sent> {
        self.put_bytes(key, || record.encode(), record.ttl, precondition)
            .await
    }

    /// The same with what this makes of a record, for each sending anew: the second one is rare.
    pub(super) async fn put_bytes(
        &self,
        key: &Key,
        value: impl Fn() -> Bytes,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Sent> {
        let options = PutOptions::new(ttl).with_precondition(precondition);
        let put = || Arc::clone(&self.backend).put(key.clone(), value(), options);
        let first = put().await;
        match first {
            // Of the two errors the first one says more: that it may have been written.
            Err(error) if error.may_have_applied() => {
                let put = put().await.map_err(|_| error)?;
                Ok(Sent {
                    put,
                    is_answered: false,
                })
            }
            answer => answer.map(|put| Sent {
                put,
                is_answered: true,
            }),
        }
    }

    /// Deletes the record if it is of this version, and says whether it was.
    pub(in crate::idempotency) async fn delete(&self, key: &Key, version: Version) -> Result<bool> {
        let precondition = Precondition::Matches(version);
        Arc::clone(&self.backend)
            .delete(key.clone(), precondition)
            .await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

pub(super) fn no_chance(error: getrandom::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::Unavailable,
        "claim a key: the operating system gives no random numbers",
    )
    .with_source(error)
}

/// The instant after which a write that was sent at this one is no protection any more.
pub(super) fn deadline(sent: Monotonic, lease: Duration) -> Monotonic {
    sent + lease
}

/// More surprises than these in a row are given up: many want the key.
const MAX_ROUNDS: u32 = 8;

/// How long someone waits who found the key changing hands all the time.
const CROWDED: Duration = Duration::from_millis(100);

/// The most claims that are withdrawn, or written, without anybody waiting for it; others block
/// their keys for a lease.
const MAX_BACKGROUND: usize = 1_024;
