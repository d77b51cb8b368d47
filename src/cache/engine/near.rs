//! What was read lately, kept in the process.
//!
//! A copy here may be behind what is stored: by as much as the settings allow an instance to be
//! behind the others, and no more. So it counts from when the call was sent that brought it, and
//! every use of it asks what was purged, as the use of what was just read does. Where a purge may have
//! been missed, all copies of before are void.

use std::{
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};

use super::{lookup::Held, purges::Standing};
use crate::{backend::Version, cache::record::Entry, clock::Monotonic, key::Key};

/// Copies of stored responses, of so many bytes.
pub(in crate::cache) struct Near {
    /// `None` where nothing is kept.
    copies: Option<Cache<Key, Copied, Weigh>>,
    /// How often something was forgotten, for groups of pages.
    forgotten: [AtomicU64; GROUPS],
}

/// A copy, and since when it may be behind.
#[derive(Clone)]
struct Copied {
    entry: Arc<Entry>,
    body: Bytes,
    version: Version,
    sent: Monotonic,
    gaps: u64,
}

/// What was known before a call was sent that may bring a copy.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Begun {
    sent: Monotonic,
    gaps: u64,
    forgotten: u64,
}

#[derive(Clone)]
struct Weigh;

impl Near {
    /// Keeps copies of so many bytes, with what it takes to keep them; none at all for zero.
    pub(in crate::cache) fn new(bytes: usize) -> Self {
        let copies = (bytes > 0)
            .then(|| Cache::with_weighter((bytes / USUAL_WEIGHT).max(1), bytes as u64, Weigh));
        Self {
            copies,
            forgotten: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(in crate::cache) fn is_used(&self) -> bool {
        self.copies.is_some()
    }

    /// A stored record as it should be read: one that may be kept here does not keep alive the
    /// buffer that it came in.
    pub(in crate::cache) fn own(&self, record: Bytes) -> Bytes {
        if self.is_used() && record.len() <= LARGEST {
            return Bytes::copy_from_slice(&record);
        }
        record
    }

    /// A call is about to be sent for what stands under this page, or for one of its variants.
    pub(in crate::cache) fn begin(&self, page: &Key, sent: Monotonic, gaps: u64) -> Begun {
        Begun {
            sent,
            gaps,
            forgotten: self.group(page).load(Ordering::Acquire),
        }
    }

    /// Keeps what a call brought, unless the page was forgotten meanwhile: then it may be what was
    /// to be forgotten.
    pub(in crate::cache) fn keep(&self, page: &Key, place: &Key, begun: Begun, held: &Held) {
        let Some(copies) = &self.copies else { return };
        if held.standing != Standing::Valid || weight(&held.entry, &held.body) > LARGEST {
            return;
        }
        let group = self.group(page);
        if group.load(Ordering::Acquire) != begun.forgotten {
            return;
        }
        let is_older = copies
            .peek(place)
            .is_some_and(|present| present.version > held.version);
        if is_older {
            return;
        }
        let made = Copied {
            entry: Arc::clone(&held.entry),
            body: held.body.clone(),
            version: held.version,
            sent: begun.sent,
            gaps: begun.gaps,
        };
        copies.insert(place.clone(), made);
        // Whoever forgot it in this moment did not find it yet.
        if group.load(Ordering::Acquire) != begun.forgotten {
            copies.remove(place);
        }
    }

    /// The copy of what stands in a place, if it was sent for no longer ago than this, and
    /// nothing was missed since.
    pub(in crate::cache) fn find(
        &self,
        place: &Key,
        at: Monotonic,
        max_age: Duration,
        gaps: u64,
    ) -> Option<Held> {
        let copies = self.copies.as_ref()?;
        let found = copies.get(place)?;
        let age = at.saturating_duration_since(found.sent);
        if age >= max_age || found.gaps != gaps {
            copies.remove(place);
            return None;
        }
        Some(Held {
            entry: found.entry,
            body: found.body,
            unpacked: None,
            version: found.version,
            standing: Standing::Valid,
        })
    }

    /// Forgets the copy of a page, and lets no call bring it back that was sent before. Those of its
    /// variants are not found here; what was purged is asked of them at each use.
    pub(in crate::cache) fn forget(&self, page: &Key) {
        let Some(copies) = &self.copies else { return };
        self.group(page).fetch_add(1, Ordering::AcqRel);
        copies.remove(page);
    }

    /// Forgets one copy, which turned out to be of no use.
    pub(in crate::cache) fn discard(&self, place: &Key) {
        if let Some(copies) = &self.copies {
            copies.remove(place);
        }
    }

    fn group(&self, page: &Key) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(page);
        let [first, others @ ..] = &self.forgotten;
        let group = usize::try_from(hash % GROUPS as u64).unwrap_or_default();
        group
            .checked_sub(1)
            .and_then(|other| others.get(other))
            .unwrap_or(first)
    }
}

impl Weighter<Key, Copied> for Weigh {
    fn weight(&self, _place: &Key, copied: &Copied) -> u64 {
        weight(&copied.entry, &copied.body) as u64
    }
}

impl fmt::Debug for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near").finish_non_exhaustive()
    }
}

/// How many bytes a copy takes, about.
fn weight(entry: &Entry, body: &Bytes) -> usize {
    let fields = entry
        .headers
        .iter()
        .chain(entry.trailers.iter().flatten())
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum::<usize>();
    BARE + fields + 16 * entry.tags.as_slice().len() + body.len()
}

/// Larger ones are read each time.
const LARGEST: usize = 64 * 1024;

/// What is expected of a copy, to begin with.
const USUAL_WEIGHT: usize = 4 * 1024;

/// What a copy takes without header fields and body.
const BARE: usize = 512;

/// What a header field takes besides its bytes.
const FIELD: usize = 104;

/// A page that is forgotten keeps calls for one in so many others from being kept.
const GROUPS: usize = 64;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::{
        cache::record::{Flags, Tags},
        clock::{Timestamp, monotonic_now},
        key::{Digest, Kind},
    };

    const MAX_AGE: Duration = Duration::from_secs(2);

    fn key(number: u8) -> Key {
        Key::new(Kind::PAGE, Digest::from_bytes([number; 16]))
    }

    fn held(version: u64, len: usize) -> Held {
        let born = Timestamp::from_micros(1);
        let entry = Entry {
            status: StatusCode::OK,
            flags: Flags::none(),
            born,
            checked: born,
            age: Duration::ZERO,
            lifetime: Duration::from_secs(60),
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            kept: Duration::ZERO,
            fill_time: Duration::ZERO,
            check: Digest::from_bytes([0; 16]),
            shape: 0,
            tags: Tags::default(),
            headers: HeaderMap::new(),
            trailers: None,
        };
        Held {
            entry: Arc::new(entry),
            body: vec![0; len].into(),
            unpacked: None,
            version: Version::from_u64(version),
            standing: Standing::Valid,
        }
    }

    fn keep(near: &Near, page: &Key, held: &Held) {
        near.keep(page, page, near.begin(page, monotonic_now(), 0), held);
    }

    fn find(near: &Near, page: &Key) -> Option<u64> {
        let held = near.find(page, monotonic_now(), MAX_AGE, 0);
        held.map(|held| held.version.as_u64())
    }

    #[test]
    fn a_copy_is_found_until_it_is_too_old() {
        let near = Near::new(1 << 20);
        keep(&near, &key(1), &held(5, 10));
        assert_eq!(find(&near, &key(1)), Some(5));
        assert_eq!(find(&near, &key(2)), None);
        let later = monotonic_now() + MAX_AGE;
        assert!(near.find(&key(1), later, MAX_AGE, 0).is_none());
    }

    #[test]
    fn a_copy_of_before_a_gap_is_void() {
        let near = Near::new(1 << 20);
        keep(&near, &key(1), &held(5, 10));
        let found = near.find(&key(1), monotonic_now(), MAX_AGE, 1);
        assert!(found.is_none());
    }

    #[test]
    fn what_was_forgotten_is_not_brought_back_by_a_call_that_was_sent_before() {
        let near = Near::new(1 << 20);
        keep(&near, &key(1), &held(5, 10));
        let begun = near.begin(&key(1), monotonic_now(), 0);
        near.forget(&key(1));
        assert_eq!(find(&near, &key(1)), None);
        near.keep(&key(1), &key(1), begun, &held(5, 10));
        assert_eq!(find(&near, &key(1)), None);
        keep(&near, &key(1), &held(6, 10));
        assert_eq!(find(&near, &key(1)), Some(6));
    }

    #[test]
    fn an_older_copy_does_not_replace_a_newer_one() {
        let near = Near::new(1 << 20);
        keep(&near, &key(1), &held(6, 10));
        keep(&near, &key(1), &held(5, 10));
        assert_eq!(find(&near, &key(1)), Some(6));
    }

    #[test]
    fn large_ones_and_purged_ones_are_not_kept() {
        let near = Near::new(1 << 20);
        keep(&near, &key(1), &held(5, LARGEST));
        let purged = Held {
            standing: Standing::Purged,
            ..held(5, 10)
        };
        keep(&near, &key(2), &purged);
        assert_eq!(find(&near, &key(1)), None);
        assert_eq!(find(&near, &key(2)), None);
        keep(&near, &key(1), &held(5, LARGEST - BARE));
        assert_eq!(find(&near, &key(1)), Some(5));
    }

    #[test]
    fn copies_take_no_more_than_they_may() {
        let near = Near::new(256 * 1024);
        for number in 0..=255 {
            keep(&near, &key(number), &held(1, 8 * 1024));
        }
        let copies = near.copies.as_ref().unwrap();
        assert!((1..32).contains(&copies.len()));
        assert!(copies.weight() <= 256 * 1024);
    }

    #[test]
    fn nothing_is_kept_where_no_bytes_are_for_it() {
        let near = Near::new(0);
        keep(&near, &key(1), &held(5, 10));
        assert!(!near.is_used());
        assert_eq!(find(&near, &key(1)), None);
    }
}
