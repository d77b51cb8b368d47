//! How many responses a URL has.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hashlink::LruCache;

use crate::{
    clock::{Monotonic, monotonic_now},
    key::{Digest, Key},
};

/// What this process has stored of URLs that have several responses: what clients send decides how
/// many that are, so a client could fill the store with one URL.
pub(in crate::cache) struct Variants {
    pages: Mutex<LruCache<Key, Vec<Known>>>,
}

/// One of the responses of a URL, and until when it counts.
struct Known {
    variant: Digest,
    until: Monotonic,
}

impl Variants {
    pub(in crate::cache) fn new() -> Self {
        Self {
            pages: Mutex::new(LruCache::new(MAX_PAGES)),
        }
    }

    /// Whether this may be one of the responses stored of a page; if so, it counts as one while it is
    /// fetched.
    pub(in crate::cache) fn admits(&self, page: &Key, variant: Digest) -> bool {
        self.count(page, variant, FETCH)
    }

    /// This is one of the responses stored of a page, for so long.
    pub(in crate::cache) fn keep(&self, page: &Key, variant: Digest, life: Duration) {
        self.count(page, variant, life);
    }

    fn count(&self, page: &Key, variant: Digest, life: Duration) -> bool {
        let now = monotonic_now();
        let until = now.checked_add(life).unwrap_or(now + FETCH);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = pages.get_mut(page) else {
            pages.insert(page.clone(), vec![Known { variant, until }]);
            return true;
        };
        if let Some(known) = known.iter_mut().find(|known| known.variant == variant) {
            known.until = known.until.max(until);
            return true;
        }
        known.retain(|known| known.until > now);
        let has_room = known.len() < MAX_VARIANTS;
        if has_room {
            known.push(Known { variant, until });
        }
        has_room
    }
}

/// How many responses of one URL a process stores at a time.
const MAX_VARIANTS: usize = 32;

/// Of how many URLs a process knows how many they are.
const MAX_PAGES: usize = 4_096;

/// How long a response counts that is only about to be stored.
const FETCH: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParts;

    fn page(name: &str) -> Key {
        Key::custom(name, &KeyParts::new())
    }

    fn variant(number: usize) -> Digest {
        let mut bytes = [0; Digest::LEN];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_has_so_many_responses_and_no_more() {
        let variants = Variants::new();
        let page = page("a");
        for number in 0..MAX_VARIANTS {
            assert!(variants.admits(&page, variant(number)));
        }
        assert!(!variants.admits(&page, variant(MAX_VARIANTS)));
        assert!(variants.admits(&page, variant(0)), "it is one of them");
        assert!(variants.admits(&self::page("b"), variant(MAX_VARIANTS)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_makes_room() {
        let variants = Variants::new();
        let page = page("a");
        for number in 0..MAX_VARIANTS {
            assert!(variants.admits(&page, variant(number)));
        }
        variants.keep(&page, variant(0), Duration::from_secs(60));
        tokio::time::advance(FETCH).await;
        for number in MAX_VARIANTS..2 * MAX_VARIANTS - 1 {
            assert!(variants.admits(&page, variant(number)));
        }
        assert!(!variants.admits(&page, variant(2 * MAX_VARIANTS)));
        tokio::time::advance(FETCH).await;
        assert!(variants.admits(&page, variant(2 * MAX_VARIANTS)));
    }
}
