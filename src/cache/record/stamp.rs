//! When a tag was purged.
//!
//! ```text
//! 's' 1 | kind u8 | floor u64 µs | other u64 µs, 0 for none
//! ```

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{
    FORMAT, STAMP,
    bytes::{take_timestamp, take_timestamp_or_zero},
};
use crate::{backend::Version, clock::Timestamp};

/// What stands under the key of a tag: its latest purge, which was when the record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Stamp {
    pub(in crate::cache) kind: PurgeKind,
    /// The largest time of the backend that the writer had seen: the purge was not before it, even if
    /// the backend's clock was set back.
    pub(in crate::cache) floor: Timestamp,
    /// When the latest purge of the other kind was, if there was one.
    pub(in crate::cache) other: Option<Timestamp>,
}

/// What becomes of what a purge is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(in crate::cache) enum PurgeKind {
    /// It is gone.
    Hard = 1,
    /// It is stale.
    Soft = 2,
}

impl Stamp {
    /// When the latest purge was, by the version of the record.
    pub(in crate::cache) fn at(&self, version: Version) -> Timestamp {
        version.written_at().max(self.floor)
    }

    /// When the latest purge of this kind was, by the version of the record.
    pub(in crate::cache) fn latest(&self, kind: PurgeKind, version: Version) -> Option<Timestamp> {
        if self.kind == kind {
            Some(self.at(version))
        } else {
            self.other
        }
    }

    /// The bytes to be stored.
    pub(in crate::cache) fn encode(self) -> Bytes {
        let mut stored = Vec::with_capacity(LEN);
        stored.put_slice(&[STAMP, FORMAT, self.kind as u8]);
        stored.put_u64(self.floor.as_micros());
        stored.put_u64(self.other.map_or(0, Timestamp::as_micros));
        stored.into()
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let stamp = Self {
            kind: PurgeKind::decode(stored)?,
            floor: take_timestamp(stored)?,
            other: take_timestamp_or_zero(stored)?,
        };
        stored.is_empty().then_some(stamp)
    }
}

impl PurgeKind {
    pub(super) fn decode(stored: &mut Bytes) -> Option<Self> {
        match stored.try_get_u8().ok()? {
            1 => Some(Self::Hard),
            2 => Some(Self::Soft),
            _ => None,
        }
    }
}

const LEN: usize = 19;
