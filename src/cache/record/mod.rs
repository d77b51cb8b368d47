//! What is stored: the bytes of each kind of record.
//!
//! ```text
//! 'e' 1 | entry: a response, or one of several of a URL
//! 'h' 1 | head: by what one of several responses of a URL is chosen
//! 'x' 1 | tombstone: the URL was purged
//! 'l' 1 | lease: who fetches a response, or that nobody is to wait for one
//! 's' 1 | stamp: when a tag was purged
//! 'j' 1 | journal: the latest purges
//! ```
//!
//! Numbers of fixed size are big-endian. The others (`n` in the layouts) are little groups of seven
//! bits, lowest first, each byte but the last with its top bit set, in as few bytes as possible. So
//! what is stored has one form only, and what is not in it is refused.

mod bytes;
#[cfg(feature = "testing")]
mod doorway;
mod entry;
mod fields;
mod flags;
mod head;
mod journal;
mod lease;
mod stamp;
mod tags;

use std::fmt;

use ::bytes::{Buf as _, Bytes};

pub(in crate::cache) use self::{
    entry::Entry,
    flags::{Flag, Flags},
    head::Head,
    lease::Lease,
    tags::Tags,
};
use super::stamps::{Journal, StampRecord};

/// What stands under a key of the cache.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it was read"
)]
pub(in crate::cache) enum Record {
    Entry {
        entry: Entry,
        body: Bytes,
    },
    Head(Head),
    /// The URL was purged when this was written.
    Tombstone,
    Lease(Lease),
    Stamp(StampRecord),
    Journal(Journal),
}

/// Why stored bytes are no record that this version of the crate can use. To the cache it is as if
/// nothing were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Unreadable {
    /// They are of a kind or format that is not known here, such as a later one.
    Format,
    /// They are not what their format says.
    Corrupt,
}

impl Record {
    /// Reads what is stored. The body and the values of headers stay slices of it.
    pub(in crate::cache) fn decode(mut stored: Bytes) -> Result<Self, Unreadable> {
        let kind = stored.try_get_u8().map_err(|_| Unreadable::Corrupt)?;
        let format = stored.try_get_u8().map_err(|_| Unreadable::Corrupt)?;
        let read = match (kind, format) {
            (ENTRY, FORMAT) => return Entry::decode(stored),
            (HEAD, FORMAT) => Head::decode(stored).map(Self::Head),
            // Of a tombstone nothing matters but its version. One of a later format that went
            // unseen would let what it purged be stored again.
            (TOMBSTONE, _) => Some(Self::Tombstone),
            (LEASE, FORMAT) => Lease::decode(stored).map(Self::Lease),
            (STAMP, FORMAT) => StampRecord::decode(stored).map(Self::Stamp),
            (JOURNAL, FORMAT) => Journal::decode(stored).map(Self::Journal),
            _ => return Err(Unreadable::Format),
        };
        read.ok_or(Unreadable::Corrupt)
    }

    /// The bytes to be stored; `None` for a response of so many fields that it could not be read again.
    /// Each kind is written by itself; this is for who reads any of them.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::cache) fn encode(&self) -> Option<Bytes> {
        Some(match self {
            Self::Entry { entry, body } => entry.encode(std::slice::from_ref(body))?,
            Self::Head(head) => head.encode(),
            Self::Tombstone => Self::tombstone(),
            Self::Lease(lease) => lease.encode(),
            Self::Stamp(stamp) => stamp.encode(),
            Self::Journal(journal) => journal.encode(),
        })
    }

    /// The bytes of a tombstone.
    pub(in crate::cache) const fn tombstone() -> Bytes {
        Bytes::from_static(&[TOMBSTONE, FORMAT])
    }
}

/// Shows nothing that a client or a handler wrote.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { entry, body } => f
                .debug_struct("Entry")
                .field("entry", entry)
                .field("body", &body.len())
                .finish(),
            Self::Head(head) => head.fmt(f),
            Self::Tombstone => f.write_str("Tombstone"),
            Self::Lease(lease) => lease.fmt(f),
            Self::Stamp(stamp) => stamp.fmt(f),
            Self::Journal(journal) => journal.fmt(f),
        }
    }
}

const ENTRY: u8 = b'e';
const HEAD: u8 = b'h';
const TOMBSTONE: u8 = b'x';
const LEASE: u8 = b'l';
const STAMP: u8 = b's';
const JOURNAL: u8 = b'j';
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests;
