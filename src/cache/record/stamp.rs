//! When a tag was purged.
//!
//! ```text
//! 's' 1 | severity u8 | floor u64 µs | other u64 µs, 0 for none
//! ```

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{FORMAT, STAMP, bytes::take_timestamp};
use crate::cache::stamps::{Severity, StampRecord};

impl StampRecord {
    /// The bytes to be stored.
    pub(in crate::cache) fn encode(&self) -> Bytes {
        let mut stored = Vec::with_capacity(LEN);
        stored.put_slice(&[STAMP, FORMAT, severity_byte(self.severity)]);
        stored.put_u64(self.floor.as_micros());
        stored.put_u64(self.other.as_micros());
        stored.into()
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let stamp = Self {
            severity: take_severity(stored)?,
            floor: take_timestamp(stored)?,
            other: take_timestamp(stored)?,
        };
        stored.is_empty().then_some(stamp)
    }
}

pub(super) const fn severity_byte(severity: Severity) -> u8 {
    match severity {
        Severity::Hard => HARD,
        Severity::Soft => SOFT,
    }
}

pub(super) fn take_severity(stored: &mut Bytes) -> Option<Severity> {
    match stored.try_get_u8().ok()? {
        HARD => Some(Severity::Hard),
        SOFT => Some(Severity::Soft),
        _ => None,
    }
}

const HARD: u8 = 1;
const SOFT: u8 = 2;

const LEN: usize = 19;
