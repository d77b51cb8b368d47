//! The latest purges.
//!
//! ```text
//! 'j' 1 | created u64 µs, 0 for "with this record" | sequence u64 | complete since u64 µs
//! max life u64 ms | count n | purges, oldest first: tag 16 | severity u8 | at u64 µs
//! ```

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{
    FORMAT, JOURNAL,
    bytes::{millis, number_len, put_number, take_array, take_count, take_timestamp},
    stamp::{severity_byte, take_severity},
};
use crate::{
    backend::Version,
    cache::stamps::{Journal, Purge, Tag},
};

impl Journal {
    /// The bytes to be stored.
    pub(in crate::cache) fn encode(&self) -> Bytes {
        let count = self.purges.len();
        let len = FIXED_LEN + number_len(count as u64) + count * PURGE_LEN;
        let mut stored = Vec::with_capacity(len);
        stored.put_slice(&[JOURNAL, FORMAT]);
        stored.put_u64(self.created.map_or(0, Version::as_u64));
        stored.put_u64(self.sequence);
        stored.put_u64(self.complete_since.as_micros());
        stored.put_u64(millis(self.max_life));
        put_number(&mut stored, count as u64);
        for purge in &self.purges {
            stored.put_slice(&purge.tag.0);
            stored.put_u8(severity_byte(purge.severity));
            stored.put_u64(purge.at.as_micros());
        }
        stored.into()
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let created = stored.try_get_u64().ok()?;
        let journal = Self {
            created: (created != 0).then_some(Version::from_u64(created)),
            sequence: stored.try_get_u64().ok()?,
            complete_since: take_timestamp(stored)?,
            max_life: Duration::from_millis(stored.try_get_u64().ok()?),
            purges: take_purges(stored)?,
        };
        stored.is_empty().then_some(journal)
    }
}

fn take_purges(stored: &mut Bytes) -> Option<Vec<Purge>> {
    let count = take_count(stored, PURGE_LEN)?;
    let mut purges = Vec::with_capacity(count);
    for _ in 0..count {
        purges.push(take_purge(stored)?);
    }
    Some(purges)
}

fn take_purge(stored: &mut Bytes) -> Option<Purge> {
    Some(Purge {
        tag: Tag(take_array(stored)?),
        severity: take_severity(stored)?,
        at: take_timestamp(stored)?,
    })
}

/// Of kind, format and the four numbers.
const FIXED_LEN: usize = 34;

/// Of tag, severity and time.
const PURGE_LEN: usize = 25;
