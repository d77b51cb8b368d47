//! The slots of one subject.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::table::Content;
use crate::{
    backend::{Hold, SlotId, SlotLimit},
    clock::Timestamp,
};

/// The slots of one subject, by the limits that they are of.
#[derive(Debug, Default)]
pub(super) struct Pools(Vec<(SlotLimit, Pool)>);

impl Pools {
    pub(super) fn hold(&mut self, limit: &SlotLimit, slot: SlotId, now: Timestamp) -> Hold {
        if let Some(pool) = self.find(limit) {
            return pool.hold(limit, slot, now);
        }
        let mut pool = Pool::default();
        let hold = pool.hold(limit, slot, now);
        self.0.push((*limit, pool));
        hold
    }

    pub(super) fn renew(
        &mut self,
        limit: &SlotLimit,
        slots: &[SlotId],
        now: Timestamp,
    ) -> Vec<bool> {
        match self.find(limit) {
            Some(pool) => pool.renew(slots, limit.lease(), now),
            None => vec![false; slots.len()],
        }
    }

    pub(super) fn release(&mut self, limit: &SlotLimit, slot: SlotId) {
        if let Some(pool) = self.find(limit) {
            pool.remove(slot);
        }
        self.0.retain(|(_, pool)| !pool.deadlines.is_empty());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the last slot is free again.
    pub(super) fn deadline(&self) -> Timestamp {
        let latest = self.0.iter().filter_map(|(_, pool)| pool.order.last());
        let latest = latest.map(|(deadline, _)| *deadline).max();
        latest.unwrap_or_default()
    }

    fn find(&mut self, limit: &SlotLimit) -> Option<&mut Pool> {
        let mut pools = self.0.iter_mut();
        pools
            .find(|(known, _)| known.shares_slots_with(limit))
            .map(|(_, pool)| pool)
    }
}

impl Content for Pools {
    fn size(&self) -> usize {
        let slots = self.0.iter().map(|(_, pool)| pool.deadlines.len());
        POOL_OVERHEAD * self.0.len() + SLOT_OVERHEAD * slots.sum::<usize>()
    }
}

/// Slots of one name, some of which may no longer be held: only writes of others remove them.
#[derive(Debug, Default)]
struct Pool {
    deadlines: HashMap<SlotId, Timestamp>,
    order: BTreeSet<(Timestamp, SlotId)>,
}

impl Pool {
    fn hold(&mut self, limit: &SlotLimit, slot: SlotId, now: Timestamp) -> Hold {
        let lease = limit.lease();
        let mut in_use = self.in_use(lease, now);
        if !self.is_held(slot, lease, now) {
            if in_use >= limit.limit() {
                return Hold::Full { in_use };
            }
            in_use += 1;
        }
        self.prune(lease, now);
        self.put(slot, now + lease);
        Hold::Held { in_use }
    }

    fn renew(&mut self, slots: &[SlotId], lease: Duration, now: Timestamp) -> Vec<bool> {
        let renew = |slot: &SlotId| {
            let is_held = self.is_held(*slot, lease, now);
            if is_held {
                self.put(*slot, now + lease);
            }
            is_held
        };
        let are_held: Vec<_> = slots.iter().map(renew).collect();
        if are_held.contains(&true) {
            self.prune(lease, now);
        }
        are_held
    }

    fn is_held(&self, slot: SlotId, lease: Duration, now: Timestamp) -> bool {
        let deadline = self.deadlines.get(&slot);
        deadline.is_some_and(|deadline| is_live(*deadline, lease, now))
    }

    /// How many are held: all but those at either end that are not.
    fn in_use(&self, lease: Duration, now: Timestamp) -> u64 {
        let is_over = |(deadline, _): &&(Timestamp, SlotId)| !is_live(*deadline, lease, now);
        let over = self.order.iter().take_while(is_over).count();
        if over == self.order.len() {
            return 0;
        }
        let ahead = self.order.iter().rev().take_while(is_over).count();
        (self.order.len() - over - ahead) as u64
    }

    fn prune(&mut self, lease: Duration, now: Timestamp) {
        while let Some((deadline, slot)) = self.order.first().copied()
            && !is_live(deadline, lease, now)
        {
            self.remove(slot);
        }
        while let Some((deadline, slot)) = self.order.last().copied()
            && !is_live(deadline, lease, now)
        {
            self.remove(slot);
        }
    }

    fn put(&mut self, slot: SlotId, deadline: Timestamp) {
        self.remove(slot);
        self.deadlines.insert(slot, deadline);
        self.order.insert((deadline, slot));
    }

    fn remove(&mut self, slot: SlotId) {
        if let Some(deadline) = self.deadlines.remove(&slot) {
            self.order.remove(&(deadline, slot));
        }
    }
}

/// Whether a slot is held until this deadline: it is not over, and not of a
/// clock that stepped back.
fn is_live(deadline: Timestamp, lease: Duration, now: Timestamp) -> bool {
    now < deadline && deadline <= now + 2 * lease
}

/// Bytes that the bookkeeping of a slot takes: its places in both orders.
const SLOT_OVERHEAD: usize = 120;

/// Bytes that the bookkeeping of the slots of one name takes.
const POOL_OVERHEAD: usize = 120;
