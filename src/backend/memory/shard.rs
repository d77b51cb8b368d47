//! One shard: what one lock protects.

use std::sync::Arc;

use super::{budget::Budget, key_value::Value, pools::Pools, set::Set, table::Table};
use crate::{backend::quotas::States, clock::Timestamp};

/// A share of all keys. Each kind of entry has a table of its own, so that one key can never be
/// read as something it is not.
pub(super) struct Shard {
    pub(super) values: Table<Value>,
    pub(super) sets: Table<Set>,
    pub(super) counters: Table<States>,
    pub(super) slots: Table<Pools>,
}

impl Shard {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            values: Table::new(Arc::clone(budget)),
            sets: Table::new(Arc::clone(budget)),
            counters: Table::new(Arc::clone(budget)),
            slots: Table::new(Arc::clone(budget)),
        }
    }

    /// Removes up to this many expired entries of each kind.
    pub(super) fn sweep(&mut self, now: Timestamp, at_most: usize) {
        self.values.sweep(now, at_most);
        self.sets.sweep(now, at_most);
        self.counters.sweep(now, at_most);
        self.slots.sweep(now, at_most);
    }

    /// Removes the entry that was used least recently.
    pub(super) fn evict(&mut self) {
        let Some(oldest) = self.oldest_use() else {
            return;
        };
        if self.values.oldest_use() == Some(oldest) {
            self.values.evict();
        } else if self.sets.oldest_use() == Some(oldest) {
            self.sets.evict();
        } else if self.counters.oldest_use() == Some(oldest) {
            self.counters.evict();
        } else {
            self.slots.evict();
        }
    }

    /// When the entry that was used least recently was used.
    pub(super) fn oldest_use(&self) -> Option<u64> {
        let uses = [
            self.values.oldest_use(),
            self.sets.oldest_use(),
            self.counters.oldest_use(),
            self.slots.oldest_use(),
        ];
        uses.into_iter().flatten().min()
    }

    pub(super) fn earliest_deadline(&self) -> Option<Timestamp> {
        let deadlines = [
            self.values.earliest_deadline(),
            self.sets.earliest_deadline(),
            self.counters.earliest_deadline(),
            self.slots.earliest_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
