//! Which URLs were purged lately, for what is used without reading their records.

use std::{
    collections::HashMap,
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
    /// Those of which the store does not know yet, and for how many purges.
    held: HashMap<Key, u32>,
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
                held: HashMap::new(),
                urls: LruCache::new(MAX_URLS + 1),
                forgotten: Timestamp::default(),
            }),
        }
    }

    /// A URL was purged then; says whether that is news.
    pub(super) fn enter(&self, page: Key, at: Timestamp) -> bool {
        let mut purged = self.lock();
        let before = purged.urls.peek(&page).copied().unwrap_or_default();
        purged.urls.insert(page, at.max(before));
        if purged.urls.len() > MAX_URLS
            && let Some((_, at)) = purged.urls.remove_lru()
        {
            purged.forgotten = purged.forgotten.max(at);
        }
        self.is_used.store(true, Ordering::Release);
        at > before
    }

    /// Takes all responses of a URL for purged, whenever they were born, until it is released.
    pub(super) fn hold(&self, page: Key) {
        let mut purged = self.lock();
        *purged.held.entry(page).or_default() += 1;
        self.is_used.store(true, Ordering::Release);
    }

    pub(super) fn release(&self, page: &Key) {
        let mut purged = self.lock();
        if let Some(holds) = purged.held.get_mut(page) {
            *holds -= 1;
            if *holds == 0 {
                purged.held.remove(page);
            }
        }
    }

    /// Whether a response that was born then was purged with its URL.
    pub(super) fn is_purged(&self, url: &UrlKey, born: Timestamp) -> bool {
        if !self.is_used.load(Ordering::Acquire) {
            return false;
        }
        let page = url.page();
        let purged = self.lock();
        if purged.held.contains_key(&page) {
            return true;
        }
        let at = purged.urls.peek(&page).copied();
        let at = at.unwrap_or(purged.forgotten);
        at > Timestamp::default() && at + self.skew >= born
    }

    fn lock(&self) -> MutexGuard<'_, Purged> {
        self.purged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_URLS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{CacheRule, url::Target},
        key::Digester,
    };

    fn url(path: &str) -> UrlKey {
        let rule = CacheRule::new("rule").unwrap();
        let uri = format!("http://example.com{path}").parse().unwrap();
        let target = Target::from_absolute(&uri, rule.shape()).unwrap();
        UrlKey::of(&target, &Digester::default())
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn what_was_born_before_or_with_the_purge_of_its_url_is_purged() {
        let urls = Urls::new(Duration::from_micros(2));
        assert!(!urls.is_purged(&url("/"), at(0)));
        assert!(urls.enter(url("/").page(), at(10)));
        assert!(urls.is_purged(&url("/"), at(10)));
        assert!(urls.is_purged(&url("/"), at(12)));
        assert!(!urls.is_purged(&url("/"), at(13)));
        assert!(!urls.is_purged(&url("/other"), at(1)));
    }

    #[test]
    fn an_earlier_purge_is_no_news_and_hides_no_later_one() {
        let urls = Urls::new(Duration::ZERO);
        assert!(urls.enter(url("/").page(), at(10)));
        assert!(!urls.enter(url("/").page(), at(10)));
        assert!(!urls.enter(url("/").page(), at(9)));
        assert!(urls.is_purged(&url("/"), at(10)));
    }

    #[test]
    fn what_is_held_is_purged_until_the_last_has_released_it() {
        let urls = Urls::new(Duration::ZERO);
        urls.hold(url("/").page());
        urls.hold(url("/").page());
        urls.release(&url("/").page());
        assert!(urls.is_purged(&url("/"), at(u64::MAX)));
        urls.release(&url("/").page());
        assert!(!urls.is_purged(&url("/"), at(1)));
        urls.release(&url("/").page());
    }

    #[test]
    fn of_a_url_that_is_not_remembered_nothing_older_than_the_forgotten_ones_is_used() {
        let urls = Urls::new(Duration::ZERO);
        urls.enter(url("/first").page(), at(10));
        for number in 0..MAX_URLS {
            urls.enter(url(&format!("/{number}")).page(), at(20));
        }
        assert!(urls.is_purged(&url("/first"), at(10)));
        assert!(urls.is_purged(&url("/never"), at(10)));
        assert!(!urls.is_purged(&url("/never"), at(11)));
    }
}
