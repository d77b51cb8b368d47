//! Of which responses nobody need wait for a while.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hashlink::LruCache;

use crate::{
    clock::{Monotonic, monotonic_now},
    key::Key,
};

/// What this process remembers of leases.
pub(in crate::cache) struct Marks {
    marks: Mutex<LruCache<Key, (Mark, Monotonic)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Mark {
    /// What came last could not be stored: it is fetched without asking the backend.
    Pass,
    /// Someone was waited for in vain.
    Hurry,
}

impl Marks {
    pub(in crate::cache) fn new() -> Self {
        Self {
            marks: Mutex::new(LruCache::new(MAX_MARKS)),
        }
    }

    pub(in crate::cache) fn find(&self, lease: &Key) -> Option<Mark> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let (mark, until) = *marks.peek(lease)?;
        if monotonic_now() < until {
            return Some(mark);
        }
        marks.remove(lease);
        None
    }

    pub(in crate::cache) fn clear(&self, lease: &Key) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.remove(lease);
    }

    pub(in crate::cache) fn set(&self, lease: &Key, mark: Mark) {
        let lasts = match mark {
            Mark::Pass => Duration::from_secs(1),
            Mark::Hurry => Duration::from_secs(5),
        };
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert(lease.clone(), (mark, monotonic_now() + lasts));
    }
}

const MAX_MARKS: usize = 10_000;
