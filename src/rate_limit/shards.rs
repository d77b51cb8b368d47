//! What is remembered of subjects, in parts that do not wait for each other.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::key::Key;

/// Parts of what is remembered; a subject is always in the same one.
pub(super) struct Shards<T> {
    shards: Vec<Mutex<T>>,
    hasher: RandomState,
}

impl<T> Shards<T> {
    /// Shards for so many subjects in all, each made for some of them; with 0 there is none.
    pub(super) fn new(subjects: usize, shard: impl Fn(usize) -> T) -> Self {
        let of_them = |index| {
            let odd_one = usize::from(index < subjects % MOST_SHARDS);
            Mutex::new(shard(subjects / MOST_SHARDS + odd_one))
        };
        Self {
            shards: (0..MOST_SHARDS.min(subjects)).map(of_them).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Where this subject is.
    pub(super) fn of(&self, subject: &Key) -> Option<MutexGuard<'_, T>> {
        let hash = self.hasher.hash_one(subject);
        let index = usize::try_from(hash % MOST_SHARDS as u64).ok()? % self.shards.len().max(1);
        let shard = self.shards.get(index)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const MOST_SHARDS: usize = 16;
