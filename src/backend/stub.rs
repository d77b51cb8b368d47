//! A backend for the tests of wrappers: it answers everything at once and
//! remembers what it was asked.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Acquire, Amendment, Backend, Ban, Broadcast, Cursor, Decision, Entry, GetOptions, Hold, Index,
    KeyValue, Limit, Op, Page, Precondition, Put, PutOptions, Quotas, Receipt, Result, SlotId,
    SlotLimit, Slots, Strikes, Subscription, Version,
};
use crate::{
    clock::Timestamp,
    key::{Key, KeyParts},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Stub {
    applied: Arc<Mutex<Vec<Op>>>,
}

impl Stub {
    pub(crate) const CLOCK_SKEW: Duration = Duration::from_millis(7);

    /// The calls that reached it, in order.
    pub(crate) fn applied(&self) -> Vec<Op> {
        self.applied.lock().expect("no test poisons it").clone()
    }

    fn apply(&self, op: Op) {
        self.applied.lock().expect("no test poisons it").push(op);
    }
}

/// Makes this call, of whatever capability it is.
pub(crate) async fn call(backend: &impl Backend, op: Op) -> Result<()> {
    let key = Key::custom("wrapped", &KeyParts::new());
    let bytes = Bytes::from_static(b"stored");
    let ttl = Duration::from_secs(60);
    let acquire = Acquire::new(key.clone(), []);
    let slots = SlotLimit::new("wrapped", 1, ttl).expect("a valid limit");
    let slot = SlotId::from_u128(1);
    match op {
        Op::Get => backend.get(&key, GetOptions::new()).await.map(drop),
        Op::Put => backend
            .put(&key, bytes, PutOptions::new(ttl))
            .await
            .map(drop),
        Op::Delete => backend.delete(&key, Precondition::Any).await.map(drop),
        Op::Touch => backend.touch(&key, ttl, Precondition::Any).await.map(drop),
        Op::Acquire => backend.acquire(&acquire).await.map(drop),
        Op::Refund => {
            let decision = Decision::admitted(1, Timestamp::default(), Vec::new());
            backend.refund(&decision.receipt(&acquire)).await
        }
        Op::Reset => backend.reset(&key, &[]).await,
        Op::Amend => {
            let strikes = Strikes::new("wrapped", Ban::after(1).within(ttl).lasting(ttl));
            let strikes = strikes.expect("a valid ban");
            backend.amend(&key, &Amendment::Unban { strikes }).await
        }
        Op::SlotsHold => backend.hold(&key, &slots, slot).await.map(drop),
        Op::SlotsRenew => backend.renew(&key, &slots, &[slot]).await.map(drop),
        Op::SlotsRelease => backend.release(&key, &slots, slot).await,
        Op::IndexAdd => backend.add(&key, bytes, Timestamp::default()).await,
        Op::IndexRemove => backend.remove(&key, bytes).await.map(drop),
        Op::IndexMembers => backend.members(&key, None).await.map(drop),
        Op::Publish => backend.publish(&key, bytes).await,
        Op::Subscribe => backend.subscribe(&key).await.map(drop),
    }
}

impl KeyValue for Stub {
    async fn get(&self, _: &Key, _: GetOptions) -> Result<Option<Entry>> {
        self.apply(Op::Get);
        Ok(None)
    }

    async fn put(&self, _: &Key, _: Bytes, _: PutOptions) -> Result<Put> {
        self.apply(Op::Put);
        Ok(Put::Stored(Version::from_u64(1)))
    }

    async fn delete(&self, _: &Key, _: Precondition) -> Result<bool> {
        self.apply(Op::Delete);
        Ok(true)
    }

    async fn touch(&self, _: &Key, _: Duration, _: Precondition) -> Result<bool> {
        self.apply(Op::Touch);
        Ok(true)
    }

    fn clock_skew(&self) -> Duration {
        Self::CLOCK_SKEW
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl Quotas for Stub {
    async fn acquire(&self, _: &Acquire) -> Result<Decision> {
        self.apply(Op::Acquire);
        Ok(Decision::admitted(1, Timestamp::default(), Vec::new()))
    }

    async fn refund(&self, _: &Receipt) -> Result<()> {
        self.apply(Op::Refund);
        Ok(())
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn reset(&self, _: &Key, _: &[Limit]) -> Result<()> {
        self.apply(Op::Reset);
        Ok(())
    }

    async fn amend(&self, _: &Key, _: &Amendment) -> Result<()> {
        self.apply(Op::Amend);
        Ok(())
    }
}

impl Slots for Stub {
    async fn hold(&self, _: &Key, _: &SlotLimit, _: SlotId) -> Result<Hold> {
        self.apply(Op::SlotsHold);
        Ok(Hold::Held { in_use: 1 })
    }

    async fn renew(&self, _: &Key, _: &SlotLimit, slots: &[SlotId]) -> Result<Vec<bool>> {
        self.apply(Op::SlotsRenew);
        Ok(vec![true; slots.len()])
    }

    async fn release(&self, _: &Key, _: &SlotLimit, _: SlotId) -> Result<()> {
        self.apply(Op::SlotsRelease);
        Ok(())
    }
}

impl Index for Stub {
    async fn add(&self, _: &Key, _: Bytes, _: Timestamp) -> Result<()> {
        self.apply(Op::IndexAdd);
        Ok(())
    }

    async fn remove(&self, _: &Key, _: Bytes) -> Result<bool> {
        self.apply(Op::IndexRemove);
        Ok(true)
    }

    async fn members(&self, _: &Key, _: Option<Cursor>) -> Result<Page> {
        self.apply(Op::IndexMembers);
        Ok(Page::default())
    }
}

impl Broadcast for Stub {
    async fn publish(&self, _: &Key, _: Bytes) -> Result<()> {
        self.apply(Op::Publish);
        Ok(())
    }

    async fn subscribe(&self, _: &Key) -> Result<Subscription> {
        self.apply(Op::Subscribe);
        Ok(Subscription::new(futures_util::stream::empty()))
    }
}
