//! Taking a claim back of which nobody knows whether it was granted.

use std::time::Duration;

use tokio::{runtime::Handle, time::sleep};

use super::store::Store;
use crate::{
    backend::{GetOptions, Precondition},
    idempotency::protocol::{Claimant, Owner, Record, State},
    key::Key,
};

/// Takes back, when it is dropped, what a claim may have left: its handler has not begun.
///
/// It looks for one lease, since a write whose answer did not come may still be under way.
pub(super) struct Withdrawal {
    order: Option<Order>,
}

/// What to take back, and where.
struct Order {
    store: Store,
    key: Key,
    owner: Owner,
    lease: Duration,
}

impl Withdrawal {
    pub(super) fn of(store: &Store, key: &Key, claimant: &Claimant) -> Self {
        Self::new(store, key, claimant.owner, claimant.terms.lease)
    }

    pub(super) fn new(store: &Store, key: &Key, owner: Owner, lease: Duration) -> Self {
        let order = Order {
            store: store.clone(),
            key: key.clone(),
            owner,
            lease,
        };
        Self { order: Some(order) }
    }

    /// There is nothing to take back, or it is not to be taken back.
    pub(super) fn cancel(mut self) {
        self.order = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        let Some(order) = self.order.take() else {
            return;
        };
        let permit = order.store.background.clone().try_acquire_owned();
        let (Ok(runtime), Ok(permit)) = (Handle::try_current(), permit) else {
            return;
        };
        runtime.spawn(async move {
            order.carry_out().await;
            drop(permit);
        });
    }
}

impl Order {
    async fn carry_out(self) {
        let mut waited = Duration::ZERO;
        let mut pause = FIRST_PAUSE;
        loop {
            self.take_back().await;
            if waited >= self.lease {
                return;
            }
            sleep(pause).await;
            waited += pause;
            pause = (pause * 3).min(self.lease.saturating_sub(waited).max(FIRST_PAUSE));
        }
    }

    /// What fails here is tried again until the lease is over, and then blocks nobody.
    async fn take_back(&self) {
        let Ok(Some(entry)) = self.store.get(&self.key, GetOptions::new()).await else {
            return;
        };
        let Ok(mut record) = Record::decode(entry.value) else {
            return;
        };
        if record.owner != self.owner || record.state != State::InProgress {
            return;
        }
        if record.attempt == 1 {
            _ = self.store.delete(&self.key, entry.version).await;
            return;
        }
        // Attempts before this one may have done something, which is not to be forgotten: it stays, of
        // nobody any more. But this attempt is known not to have begun, so the next one decides by it
        // as if the owner had died before it did.
        record.flags.is_started = record.flags.is_unaccounted;
        record.epoch = Some(record.epoch(entry.version));
        record.lease = Duration::ZERO;
        let precondition = Precondition::Matches(entry.version);
        _ = self.store.put(&self.key, &record, precondition).await;
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
