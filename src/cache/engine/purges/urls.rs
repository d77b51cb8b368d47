//! Which URLs were purged lately, for what is used without reading their records.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hashlink::LruCache;

use crate::{cache::url::UrlKey, clock::Timestamp, key::Key};

/// When URLs were purged. The record of a URL says it to whoever reads it; this says it to those who
/// were given a response by someone who had.
pub(super) struct Urls {
    skew: Duration,
    is_used: AtomicBool,
    purged: Mutex<Purged>,
}

struct Purged {
    urls: LruCache<Key, Timestamp>,
    /// The latest purge that is not remembered any more.
    forgotten: Timestamp,
}

impl Urls {
    pub(super) fn new(skew: Duration) -> Self {
        Self {
            skew,
            is_used: AtomicBool::new(false),
            purged: Mutex::new(Purged {
                urls: LruCache::new(MAX_URLS + 1),
                forgotten: Timestamp::default(),
            }),
        }
    }

    /// A URL was purged then.
    pub(super) fn enter(&self, page: Key, at: Timestamp) {
        let mut purged = self.lock();
        let before = purged.urls.peek(&page).copied().unwrap_or_default();
        purged.urls.insert(page, at.max(before));
        if purged.urls.len() > MAX_URLS
            && let Some((_, at)) = purged.urls.remove_lru()
        {
            purged.forgotten = purged.forgotten.max(at);
        }
        self.is_used.store(true, Ordering::Release);
    }

    /// Whether a response that was born then was purged with its URL.
    pub(super) fn is_purged(&self, url: &UrlKey, born: Timestamp) -> bool {
        if !self.is_used.load(Ordering::Acquire) {
            return false;
        }
        let purged = self.lock();
        let at = purged.urls.peek(&url.page()).copied();
        let at = at.unwrap_or(purged.forgotten);
        at > Timestamp::default() && at + self.skew >= born
    }

    fn lock(&self) -> MutexGuard<'_, Purged> {
        self.purged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_URLS: usize = 10_000;
