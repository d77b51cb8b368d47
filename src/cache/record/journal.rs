//! The latest purges.
//!
//! ```text
//! 'j' 1 | created u64 µs, 0 for "with this record" | sequence u64 | complete since u64 µs
//! max life u64 ms | count n | purges, oldest first: tag 16 | kind u8 | at u64 µs
//! ```

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{
    FORMAT, JOURNAL,
    bytes::{
        millis, number_len, put_number, take_array, take_count, take_timestamp,
        take_timestamp_or_zero,
    },
    stamp::PurgeKind,
    tags::TagDigest,
};
use crate::{backend::Version, clock::Timestamp};

/// The latest purges of all tags, in one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Journal {
    /// When the first record of this journal was written; `None` is "this is the first". A journal
    /// that was lost and begun anew has another one.
    pub(in crate::cache) created: Option<Timestamp>,
    /// The number of the newest purge; those before count down from it.
    pub(in crate::cache) sequence: u64,
    /// No purge after this one is missing.
    pub(in crate::cache) complete_since: Timestamp,
    /// How long an entry may live at most that any instance stores; in whole milliseconds.
    pub(in crate::cache) max_life: Duration,
    /// Oldest first.
    pub(in crate::cache) purges: Vec<Purge>,
}

/// A purge of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Purge {
    pub(in crate::cache) tag: TagDigest,
    pub(in crate::cache) kind: PurgeKind,
    /// Its stamp's time.
    pub(in crate::cache) at: Timestamp,
}

impl Journal {
    /// When the journal was begun, by the version of its record.
    pub(in crate::cache) fn created_at(&self, version: Version) -> Timestamp {
        self.created.unwrap_or(version.written_at())
    }

    /// The bytes to be stored.
    pub(in crate::cache) fn encode(&self) -> Bytes {
        let count = self.purges.len();
        let len = FIXED_LEN + number_len(count as u64) + count * PURGE_LEN;
        let mut stored = Vec::with_capacity(len);
        stored.put_slice(&[JOURNAL, FORMAT]);
        stored.put_u64(self.created.map_or(0, Timestamp::as_micros));
        stored.put_u64(self.sequence);
        stored.put_u64(self.complete_since.as_micros());
        stored.put_u64(millis(self.max_life));
        put_number(&mut stored, count as u64);
        for purge in &self.purges {
            stored.put_slice(&purge.tag);
            stored.put_u8(purge.kind as u8);
            stored.put_u64(purge.at.as_micros());
        }
        stored.into()
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let journal = Self {
            created: take_timestamp_or_zero(stored)?,
            sequence: stored.try_get_u64().ok()?,
            complete_since: take_timestamp(stored)?,
            max_life: Duration::from_millis(stored.try_get_u64().ok()?),
            purges: {
                let count = take_count(stored, PURGE_LEN)?;
                (0..count)
                    .map(|_| Purge::decode(stored))
                    .collect::<Option<_>>()?
            },
        };
        stored.is_empty().then_some(journal)
    }
}

impl Purge {
    fn decode(stored: &mut Bytes) -> Option<Self> {
        Some(Self {
            tag: take_array(stored)?,
            kind: PurgeKind::decode(stored)?,
            at: take_timestamp(stored)?,
        })
    }
}

/// Of kind, format and the four numbers.
const FIXED_LEN: usize = 34;

/// Of tag, kind and time.
const PURGE_LEN: usize = 25;
