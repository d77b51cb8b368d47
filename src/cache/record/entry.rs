//! A stored response.
//!
//! ```text
//! 'e' 1 | flags u16 | status u16 | check 16 | shape u64 | born u64 µs | checked - born n µs
//! age n ms | lifetime n ms | while revalidate n ms | if error n ms | kept n ms | fill time n ms
//! count n | tags 16 each
//! fields: count n, and for each: name n + bytes, value n + bytes
//! fields: the trailers, if the top flag is set
//! body
//! ```
//!
//! The body comes last, so that it stays a slice of what was read.

use std::{fmt, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::{HeaderMap, StatusCode};

use super::{
    ENTRY, FORMAT, Record, Unreadable,
    bytes::{
        millis, number_len, put_number, take_digest, take_millis, take_number, take_timestamp,
    },
    fields::{fields_len, put_fields, take_fields},
    flags::Flags,
    tags::Tags,
};
use crate::{clock::Timestamp, key::Digest};

/// A stored response without its body. Durations are whole milliseconds.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cache) struct Entry {
    pub(in crate::cache) status: StatusCode,
    pub(in crate::cache) flags: Flags,
    /// When the fill began that made the body.
    pub(in crate::cache) born: Timestamp,
    /// When the request began that last said that the body still holds; else `born`.
    pub(in crate::cache) checked: Timestamp,
    /// How old the response was when this record was written (RFC 9111 §4.2.3).
    pub(in crate::cache) age: Duration,
    /// How old a fresh response may be (RFC 9111 §4.2.1).
    pub(in crate::cache) lifetime: Duration,
    /// How much longer it may be given while a new one is fetched.
    pub(in crate::cache) while_revalidate: Duration,
    /// How much longer it may stand in for an error.
    pub(in crate::cache) if_error: Duration,
    /// How much longer it is worth asking whether it still holds.
    pub(in crate::cache) kept: Duration,
    /// How long it took to fetch.
    pub(in crate::cache) fill_time: Duration,
    /// Which of the URLs or variants it belongs to that could have this key.
    pub(in crate::cache) check: Digest,
    /// By which parts of requests its rule chose: [`shape_id`](crate::cache::url::shape_id).
    pub(in crate::cache) shape: u64,
    pub(in crate::cache) tags: Tags,
    pub(in crate::cache) headers: HeaderMap,
    pub(in crate::cache) trailers: Option<HeaderMap>,
}

impl Entry {
    /// The bytes to be stored, in one allocation; `None` for a response of so many fields that it
    /// could not be read again.
    pub(in crate::cache) fn encode(&self, body: &[Bytes]) -> Option<Bytes> {
        let numbers = self.numbers();
        let numbers_len: usize = numbers.into_iter().map(number_len).sum();
        let trailers_len = self.trailers.as_ref().map_or(0, fields_len);
        let body_len: usize = body.iter().map(Bytes::len).sum();
        let len = FIXED_LEN
            + numbers_len
            + self.tags.encoded_len()
            + fields_len(&self.headers)
            + trailers_len
            + body_len;

        let mut stored = Vec::with_capacity(len);
        stored.put_slice(&[ENTRY, FORMAT]);
        let has_trailers = self.trailers.as_ref().map_or(0, |_| HAS_TRAILERS);
        stored.put_u16(self.flags.bits() | has_trailers);
        stored.put_u16(self.status.as_u16());
        stored.put_slice(self.check.as_bytes());
        stored.put_u64(self.shape);
        stored.put_u64(self.born.as_micros());
        for number in numbers {
            put_number(&mut stored, number);
        }
        self.tags.encode(&mut stored);
        put_fields(&mut stored, &self.headers)?;
        if let Some(trailers) = &self.trailers {
            put_fields(&mut stored, trailers)?;
        }
        for chunk in body {
            stored.put_slice(chunk);
        }
        Some(stored.into())
    }

    pub(super) fn decode(mut stored: Bytes) -> Result<Record, Unreadable> {
        let bits = stored.try_get_u16().map_err(|_| Unreadable::Corrupt)?;
        let flags = Flags::from_bits(bits & !HAS_TRAILERS).ok_or(Unreadable::Format)?;
        let entry = if bits & HAS_TRAILERS == 0 {
            Self::decode_rest(&mut stored, flags, |_| Some(None))
        } else {
            Self::decode_rest(&mut stored, flags, |stored| take_fields(stored).map(Some))
        };
        let entry = entry.ok_or(Unreadable::Corrupt)?;
        Ok(Record::Entry {
            entry,
            body: stored,
        })
    }

    fn decode_rest(
        stored: &mut Bytes,
        flags: Flags,
        take_trailers: impl FnOnce(&mut Bytes) -> Option<Option<HeaderMap>>,
    ) -> Option<Self> {
        let status = StatusCode::from_u16(stored.try_get_u16().ok()?).ok()?;
        let check = take_digest(stored)?;
        let shape = stored.try_get_u64().ok()?;
        let born = take_timestamp(stored)?;
        let since_born = take_number(stored)?;
        Some(Self {
            status,
            flags,
            born,
            checked: Timestamp::from_micros(born.as_micros().wrapping_add(since_born)),
            age: take_millis(stored)?,
            lifetime: take_millis(stored)?,
            while_revalidate: take_millis(stored)?,
            if_error: take_millis(stored)?,
            kept: take_millis(stored)?,
            fill_time: take_millis(stored)?,
            check,
            shape,
            tags: Tags::decode(stored)?,
            headers: take_fields(stored)?,
            trailers: take_trailers(stored)?,
        })
    }

    /// Those that take as many bytes as they need.
    fn numbers(&self) -> [u64; 7] {
        // A backend's clock that was set back may have made `checked` the earlier one.
        let since_born = self.checked.as_micros().wrapping_sub(self.born.as_micros());
        [
            since_born,
            millis(self.age),
            millis(self.lifetime),
            millis(self.while_revalidate),
            millis(self.if_error),
            millis(self.kept),
            millis(self.fill_time),
        ]
    }
}

/// Shows nothing that a handler wrote.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("status", &self.status)
            .field("flags", &self.flags)
            .field("born", &self.born)
            .field("checked", &self.checked)
            .field("age", &self.age)
            .field("lifetime", &self.lifetime)
            .field("tags", &self.tags)
            .field("headers", &self.headers.len())
            .field("trailers", &self.trailers.as_ref().map(HeaderMap::len))
            .finish_non_exhaustive()
    }
}

/// Of kind, format, flags, status, check, shape and `born`.
const FIXED_LEN: usize = 38;

/// The flag of an entry that has trailers.
const HAS_TRAILERS: u16 = 1 << 15;
