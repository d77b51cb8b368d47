//! Which headers chose between the responses of a URL when it was last seen.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hashlink::LruCache;

use crate::{
    clock::{Monotonic, monotonic_now},
    key::Key,
};

/// Heads that were read lately, to go to a variant without reading its head.
pub(in crate::cache) struct Hints<T> {
    hints: Mutex<LruCache<Key, Hint<T>>>,
}

struct Hint<T> {
    head: Arc<T>,
    read: Monotonic,
}

impl<T> Hints<T> {
    pub(in crate::cache) fn new() -> Self {
        Self {
            hints: Mutex::new(LruCache::new(MAX_HINTS)),
        }
    }

    /// The head of this page, if it was read no longer ago than this.
    pub(in crate::cache) fn find(&self, page: &Key, max_age: Duration) -> Option<Arc<T>> {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        let hint = hints.get(page)?;
        if monotonic_now().saturating_duration_since(hint.read) < max_age {
            return Some(Arc::clone(&hint.head));
        }
        hints.remove(page);
        None
    }

    /// Keeps the head of a page that was asked for at this instant.
    pub(in crate::cache) fn keep(&self, page: &Key, head: Arc<T>, asked: Monotonic) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.insert(page.clone(), Hint { head, read: asked });
    }

    pub(in crate::cache) fn forget(&self, page: &Key) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.remove(page);
    }

    pub(in crate::cache) fn forget_all(&self) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.clear();
    }
}

const MAX_HINTS: usize = 10_000;
