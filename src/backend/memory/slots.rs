//! Slots on leases, in memory.

use super::{MemoryBackend, budget::NoRoom, pools::Pools, shard::Shard};
use crate::{
    backend::{Hold, Result, SlotId, SlotLimit, Slots},
    clock::Timestamp,
    key::Key,
};

impl Slots for MemoryBackend {
    async fn hold(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<Hold> {
        self.inner.store.write(subject, TOO_LARGE, |shard, now| {
            hold(shard, subject, limit, slot, now)
        })
    }

    async fn renew(&self, subject: &Key, limit: &SlotLimit, slots: &[SlotId]) -> Result<Vec<bool>> {
        let renewed = self.inner.store.with_shard(subject, |shard, now| {
            change(shard, subject, now, |pools| pools.renew(limit, slots, now))
        });
        Ok(renewed.unwrap_or_else(|| vec![false; slots.len()]))
    }

    async fn release(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<()> {
        self.inner.store.with_shard(subject, |shard, now| {
            change(shard, subject, now, |pools| pools.release(limit, slot));
        });
        Ok(())
    }
}

/// Holds a slot, unless there is no room to remember it.
fn hold(
    shard: &mut Shard,
    subject: &Key,
    limit: &SlotLimit,
    slot: SlotId,
    now: Timestamp,
) -> std::result::Result<Hold, NoRoom> {
    let Some(stored) = shard.slots.find(subject, now) else {
        let mut pools = Pools::default();
        let hold = pools.hold(limit, slot, now);
        let deadline = pools.deadline();
        shard.slots.put(subject, pools, deadline)?;
        return Ok(hold);
    };
    let pools = &mut stored.content;
    let hold = pools.hold(limit, slot, now);
    let deadline = pools.deadline();
    shard.slots.resize(subject, deadline).inspect_err(|_| {
        // Only a slot that was not there takes more room.
        change(shard, subject, now, |pools| pools.release(limit, slot));
    })?;
    Ok(hold)
}

/// Changes the slots of a subject that has any, by which they take no more room.
fn change<T>(
    shard: &mut Shard,
    subject: &Key,
    now: Timestamp,
    change: impl FnOnce(&mut Pools) -> T,
) -> Option<T> {
    let pools = &mut shard.slots.find(subject, now)?.content;
    let changed = change(pools);
    if pools.is_empty() {
        shard.slots.remove(subject);
    } else {
        let deadline = pools.deadline();
        _ = shard.slots.resize(subject, deadline);
    }
    Some(changed)
}

const TOO_LARGE: &str = "hold a slot: its subject's slots are more than all that may be stored";
