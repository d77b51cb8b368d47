//! The entries of one kind in one shard, in the order of their last use and of their deadlines.

use std::{collections::BTreeSet, sync::Arc};

use hashlink::{LinkedHashMap, linked_hash_map::RawEntryMut};

use super::budget::{Budget, NoRoom};
use crate::{clock::Timestamp, key::Key};

/// Entries with this content.
pub(super) struct Table<T> {
    /// Least recently used first.
    entries: LinkedHashMap<Key, Stored<T>>,
    /// The deadline of each entry, earliest first.
    deadlines: BTreeSet<(Timestamp, Key)>,
    budget: Arc<Budget>,
}

/// One entry.
pub(super) struct Stored<T> {
    pub(super) content: T,
    deadline: Timestamp,
    size: usize,
    last_use: u64,
}

/// What an entry holds.
pub(super) trait Content {
    /// How many bytes it takes, without its key and the bookkeeping of an entry.
    fn size(&self) -> usize;
}

impl<T: Content> Table<T> {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            entries: LinkedHashMap::new(),
            deadlines: BTreeSet::new(),
            budget,
        }
    }

    /// The entry under this key, which thereby is the one used last. An expired one is removed.
    pub(super) fn find(&mut self, key: &Key, now: Timestamp) -> Option<&mut Stored<T>> {
        let RawEntryMut::Occupied(mut entry) = self.entries.raw_entry_mut().from_key(key) else {
            return None;
        };
        if entry.get().deadline <= now {
            let (key, expired) = entry.remove_entry();
            self.budget.release(expired.size);
            self.deadlines.remove(&(expired.deadline, key));
            return None;
        }
        entry.to_back();
        let stored = entry.into_mut();
        stored.last_use = self.budget.next_use();
        Some(stored)
    }

    /// Stores this under the key, in place of what was there.
    pub(super) fn put(&mut self, key: &Key, content: T, deadline: Timestamp) -> Result<(), NoRoom> {
        let size = size_of_entry(key, &content);
        let last_use = self.budget.next_use();
        if let Some(stored) = self.entries.to_back(key) {
            self.budget.resize(stored.size, size)?;
            self.deadlines.remove(&(stored.deadline, key.clone()));
            *stored = Stored {
                content,
                deadline,
                size,
                last_use,
            };
        } else {
            self.budget.admit(size)?;
            let stored = Stored {
                content,
                deadline,
                size,
                last_use,
            };
            self.entries.insert(key.clone(), stored);
        }
        self.deadlines.insert((deadline, key.clone()));
        Ok(())
    }

    /// Accounts for a change of the content under this key, and gives it this deadline.
    pub(super) fn resize(&mut self, key: &Key, deadline: Timestamp) -> Result<(), NoRoom> {
        let Some(stored) = self.entries.get_mut(key) else {
            return Ok(());
        };
        let size = size_of_entry(key, &stored.content);
        self.budget.resize(stored.size, size)?;
        stored.size = size;
        self.expire_at(key, deadline);
        Ok(())
    }

    /// Gives the entry under this key this deadline.
    pub(super) fn expire_at(&mut self, key: &Key, deadline: Timestamp) {
        let Some(stored) = self.entries.get_mut(key) else {
            return;
        };
        if stored.deadline != deadline {
            self.deadlines.remove(&(stored.deadline, key.clone()));
            self.deadlines.insert((deadline, key.clone()));
            stored.deadline = deadline;
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some((key, removed)) = self.entries.remove_entry(key) {
            self.budget.release(removed.size);
            self.deadlines.remove(&(removed.deadline, key));
        }
    }

    /// Removes this many of the expired entries, if there are as many.
    pub(super) fn sweep(&mut self, now: Timestamp, at_most: usize) {
        for _ in 0..at_most {
            let Some((deadline, _)) = self.deadlines.first() else {
                return;
            };
            if *deadline > now {
                return;
            }
            if let Some((_, key)) = self.deadlines.pop_first() {
                self.remove(&key);
            }
        }
    }

    /// Removes the entry that was used least recently.
    pub(super) fn evict(&mut self) {
        if let Some((key, evicted)) = self.entries.pop_front() {
            self.budget.release(evicted.size);
            self.deadlines.remove(&(evicted.deadline, key));
        }
    }

    /// When the entry that was used least recently was used.
    pub(super) fn oldest_use(&self) -> Option<u64> {
        self.entries.front().map(|(_, stored)| stored.last_use)
    }

    pub(super) fn earliest_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The number of entries and the sum of their sizes, counted anew.
    #[cfg(test)]
    pub(super) fn recount(&self) -> (usize, usize) {
        assert_eq!(self.entries.len(), self.deadlines.len());
        let sizes = self.entries.iter().map(|(key, stored)| {
            assert!(self.deadlines.contains(&(stored.deadline, key.clone())));
            size_of_entry(key, &stored.content)
        });
        (self.entries.len(), sizes.sum())
    }
}

impl<T> Stored<T> {
    pub(super) fn deadline(&self) -> Timestamp {
        self.deadline
    }
}

fn size_of_entry(key: &Key, content: &impl Content) -> usize {
    key.as_str().len() + content.size() + ENTRY_OVERHEAD
}

/// Bytes that the bookkeeping of an entry takes: a node, a slot of the hash table, a place in the
/// order of deadlines, and what the allocator adds.
pub(super) const ENTRY_OVERHEAD: usize = 200;
