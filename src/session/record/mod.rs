//! What is stored of a session, and how its bytes are laid out.
//!
//! ```text
//! 's' 1 | flags u16 | ttl u64 ms | born u64 µs | life u64 ms | generation u64 | rotated u64 µs
//! digest 32 | previous 32 | previous until u64 µs | CSRF seed 16 | trail 8 x u64
//! user u16 + bytes | count u16 | attributes by name: u8 + name, codec u8, u32 + value
//!
//! 'x' 1 | reason u8
//! ```
//!
//! Numbers are big-endian. A tombstone (`x`) says that the session under this key has ended.

mod attributes;
#[cfg(feature = "testing")]
mod doorway;
mod same_json;

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};

pub(super) use self::attributes::{Attributes, Codec, Value};
use super::{csrf::CsrfSeed, token::SecretDigest};
use crate::{backend::Version, clock::Timestamp};

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) head: Head,
    /// Who is logged in; UTF-8.
    pub(super) user: Option<Bytes>,
    pub(super) attributes: Attributes,
}

/// The part of a record that has the same size in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether a request has come with the secret that the last rotation made.
    pub(super) is_new_secret_used: bool,
    /// The time to live that the record was written with, in whole milliseconds.
    pub(super) ttl: Duration,
    /// When the session's life began; `None` is "when this record was written".
    pub(super) born: Option<Timestamp>,
    /// How long it lives from then, in whole milliseconds.
    pub(super) life: Duration,
    /// Changes with each login and renewal: who loaded another generation may not write.
    pub(super) generation: u64,
    /// When the secret was made; zero is "when the session began".
    pub(super) rotated: Timestamp,
    /// Of the secret.
    pub(super) digest: SecretDigest,
    /// Of the secret before, if there was one.
    pub(super) previous: SecretDigest,
    /// How long the secret before is good; zero if it ended with its replacement.
    pub(super) previous_until: Timestamp,
    /// What tokens against forged requests are made from.
    pub(super) csrf_seed: CsrfSeed,
    pub(super) trail: Trail,
}

/// The marks of the last commits, newest first: by its own a writer knows that its write came
/// through although the answer did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trail([u64; Self::LEN]);

impl Trail {
    pub(super) const LEN: usize = 8;

    pub(super) fn newest(&self) -> u64 {
        let [newest, ..] = self.0;
        newest
    }

    pub(super) fn has(&self, nonce: u64) -> bool {
        self.0.contains(&nonce)
    }

    /// Whether this is what one commit makes of the other.
    pub(super) fn follows(&self, other: &Self) -> bool {
        let [_, before, ..] = self.0;
        before == other.newest()
    }

    pub(super) fn push(&mut self, nonce: u64) {
        self.0.rotate_right(1);
        let [newest, ..] = &mut self.0;
        *newest = nonce;
    }
}

impl Head {
    /// When the session began; its record is of this version.
    pub(super) fn born(&self, version: Version) -> Timestamp {
        self.born.unwrap_or(version.written_at())
    }

    /// When the session ends whatever happens.
    pub(super) fn deadline(&self, version: Version) -> Timestamp {
        self.born(version) + self.life
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    /// By a request that had it.
    Destroyed = 1,
    /// From outside: by its user elsewhere, or by the program.
    Revoked = 2,
    /// To make room for a newer one of its user.
    Evicted = 3,
    /// Someone came with a secret that had been replaced long ago.
    Reused = 4,
}

impl Ending {
    /// What is stored in the place of the record.
    pub(super) fn tombstone(self) -> Bytes {
        Bytes::copy_from_slice(&[TOMBSTONE, FORMAT, self as u8])
    }
}

/// What stands under the key of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Session(Arc<Record>),
    Ended,
}

/// Why stored bytes are no session that this version of the crate can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are of a format that is not known here.
    Format,
    /// They are not what their format says.
    Corrupt,
}

impl Content {
    /// Reads what is stored; values stay slices of it.
    pub(super) fn decode(mut stored: Bytes) -> Result<Self, Unreadable> {
        let kind = stored.try_get_u8().map_err(|_| Unreadable::Corrupt)?;
        let format = stored.try_get_u8().map_err(|_| Unreadable::Corrupt)?;
        match (kind, format) {
            (SESSION, FORMAT) => Record::decode(stored)
                .map(|record| Self::Session(Arc::new(record)))
                .ok_or(Unreadable::Corrupt),
            // Of a tombstone nothing but its being there matters.
            (TOMBSTONE, _) => Ok(Self::Ended),
            _ => Err(Unreadable::Format),
        }
    }
}

impl Record {
    /// The bytes to be stored.
    pub(super) fn encode(&self) -> Bytes {
        let head = &self.head;
        let mut stored = Vec::with_capacity(self.encoded_len());
        stored.extend_from_slice(&[SESSION, FORMAT]);
        stored.put_u16(u16::from(head.is_new_secret_used) * NEW_SECRET_USED);
        stored.put_u64(millis(head.ttl));
        stored.put_u64(head.born.map_or(0, Timestamp::as_micros));
        stored.put_u64(millis(head.life));
        stored.put_u64(head.generation);
        stored.put_u64(head.rotated.as_micros());
        stored.put_slice(head.digest.as_bytes());
        stored.put_slice(head.previous.as_bytes());
        stored.put_u64(head.previous_until.as_micros());
        stored.put_slice(head.csrf_seed.as_bytes());
        for nonce in head.trail.0 {
            stored.put_u64(nonce);
        }
        let user = self.user.as_deref().unwrap_or_default();
        stored.put_u16(u16::try_from(user.len()).unwrap_or(u16::MAX));
        stored.put_slice(user);
        self.attributes.encode(&mut stored);
        stored.into()
    }

    /// How many bytes [`encode`](Self::encode) gives.
    pub(super) fn encoded_len(&self) -> usize {
        let user = self.user.as_ref().map_or(0, Bytes::len);
        HEAD_LEN + 2 + user + self.attributes.encoded_len()
    }

    fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let flags = stored.try_get_u16().ok()?;
        let ttl = Duration::from_millis(stored.try_get_u64().ok()?);
        let born = match stored.try_get_u64().ok()? {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        };
        let head = Head {
            is_new_secret_used: flags & NEW_SECRET_USED != 0,
            ttl,
            born,
            life: Duration::from_millis(stored.try_get_u64().ok()?),
            generation: stored.try_get_u64().ok()?,
            rotated: Timestamp::from_micros(stored.try_get_u64().ok()?),
            digest: SecretDigest::from_bytes(array(stored)?),
            previous: SecretDigest::from_bytes(array(stored)?),
            previous_until: Timestamp::from_micros(stored.try_get_u64().ok()?),
            csrf_seed: CsrfSeed::from_bytes(array(stored)?),
            trail: {
                let mut trail = [0; Trail::LEN];
                for nonce in &mut trail {
                    *nonce = stored.try_get_u64().ok()?;
                }
                Trail(trail)
            },
        };
        let user_len = stored.try_get_u16().ok()?;
        let user = slice(stored, user_len.into())?;
        str::from_utf8(&user).ok()?;
        let attributes = Attributes::decode(stored)?;
        stored.is_empty().then_some(Self {
            head,
            user: (!user.is_empty()).then_some(user),
            attributes,
        })
    }
}

fn array<const N: usize>(stored: &mut Bytes) -> Option<[u8; N]> {
    let mut array = [0; N];
    stored.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}

/// The next `len` bytes, not copied.
fn slice(stored: &mut Bytes, len: usize) -> Option<Bytes> {
    (stored.len() >= len).then(|| stored.split_to(len))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const SESSION: u8 = b's';
const TOMBSTONE: u8 = b'x';
const FORMAT: u8 = 1;

const NEW_SECRET_USED: u16 = 1;

/// Kind, format, and what has the same size in all records.
const HEAD_LEN: usize = 196;

#[cfg(test)]
mod tests;
