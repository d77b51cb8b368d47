//! What is stored under a key, and how its bytes are laid out.
//!
//! ```text
//! 'i' 1 | state u8 | flags u8 | attempt u32 | epoch u64 µs | lease u32 ms | ttl u64 ms
//! owner 16 | fingerprint 32 | rule u8 + name | payload
//! ```
//!
//! Numbers are big-endian. The payload is the answer of a record that is completed, and the recovery
//! points of any other; it comes last and is not copied.

use std::{fmt, time::Duration};

use bytes::{Buf, BufMut, Bytes};

use super::fingerprint::Fingerprint;
use crate::{backend::Version, clock::Timestamp};

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::idempotency) struct Record {
    pub(in crate::idempotency) state: State,
    pub(in crate::idempotency) flags: Flags,
    /// Counts claims: above one, an earlier one may have run.
    pub(in crate::idempotency) attempt: u32,
    /// The version of the write that brought the owner in; `None` is "this write".
    pub(in crate::idempotency) epoch: Option<Version>,
    /// How long after each write the owner is to be left alone; whole milliseconds.
    pub(in crate::idempotency) lease: Duration,
    /// The time to live that the record was written with; whole milliseconds.
    pub(in crate::idempotency) ttl: Duration,
    pub(in crate::idempotency) owner: Owner,
    pub(in crate::idempotency) fingerprint: Fingerprint,
    /// The name of the rule that it was claimed under; at most 255 bytes.
    pub(in crate::idempotency) rule: Bytes,
    pub(in crate::idempotency) payload: Bytes,
}

/// How far the work under a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::idempotency) enum State {
    /// Claimed; its owner may be at work, or dead.
    InProgress = b'P',
    /// Done; its payload is the answer for ever.
    Completed = b'C',
    /// Done without an answer to keep: whoever comes next tries again.
    Failed = b'F',
}

/// What else is known of the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are stored as flags")]
pub(in crate::idempotency) struct Flags {
    /// The handler may have begun.
    pub(in crate::idempotency) is_started: bool,
    /// What may have begun must not begin again.
    pub(in crate::idempotency) never_again: bool,
    /// The answer was too large to be kept; the payload has its head alone.
    pub(in crate::idempotency) is_not_replayable: bool,
    /// The payload is encrypted.
    pub(in crate::idempotency) is_sealed: bool,
    /// It ended and nobody knows how; the payload is empty.
    pub(in crate::idempotency) is_unknown: bool,
    /// An attempt before may have begun, and never said how it ended.
    pub(in crate::idempotency) is_unaccounted: bool,
}

/// Who claimed a key: a random number for each request, by which it knows its own writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::idempotency) struct Owner([u8; Self::LEN]);

impl Owner {
    const LEN: usize = 16;

    pub(in crate::idempotency) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; Self::LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Why stored bytes are no record that this version of the crate can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum Unreadable {
    /// They are of a format that is not known here; a newer instance may know it.
    Format,
    /// They are not what their format says.
    Corrupt,
}

impl Record {
    /// The version of the write that brought the owner in, when this record has this version: the
    /// fence of all that the owner does.
    pub(in crate::idempotency) fn epoch(&self, version: Version) -> Version {
        self.epoch.unwrap_or(version)
    }

    /// How long the owner is to be left alone yet, when this record has this version and it is `now`
    /// on the backend's clock.
    pub(in crate::idempotency) fn lease_left(&self, version: Version, now: Timestamp) -> Duration {
        self.lease.saturating_sub(now - version.written_at())
    }

    /// Whether the owner is to be left alone yet, when this record has this version and it is `now` on
    /// the backend's clock.
    pub(in crate::idempotency) fn is_running(&self, version: Version, now: Timestamp) -> bool {
        self.state == State::InProgress && !self.lease_left(version, now).is_zero()
    }

    /// Whether nobody knows what became of the work, and nobody does it again; of work in progress,
    /// once its lease is over. `never_again` is what the rule says by now.
    pub(in crate::idempotency) fn is_outcome_unknown(&self, never_again: bool) -> bool {
        match self.state {
            State::Completed => self.flags.is_unknown,
            State::InProgress => self.flags.is_started && (self.flags.never_again || never_again),
            // An attempt before the one that failed may have been by a rule that let it run again.
            State::Failed => self.flags.is_unaccounted && never_again,
        }
    }

    /// The bytes to be stored.
    pub(in crate::idempotency) fn encode(&self) -> Bytes {
        let mut stored = Vec::with_capacity(HEAD_LEN + self.rule.len() + self.payload.len());
        stored.put_slice(&[KIND, FORMAT, self.state as u8, self.flags.bits()]);
        stored.put_u32(self.attempt);
        stored.put_u64(self.epoch.map_or(0, Version::as_u64));
        stored.put_u32(u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX));
        stored.put_u64(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX));
        stored.put_slice(&self.owner.0);
        stored.put_slice(self.fingerprint.as_bytes());
        let rule = self.rule.get(..MAX_RULE).unwrap_or(&self.rule);
        stored.put_u8(u8::try_from(rule.len()).unwrap_or(u8::MAX));
        stored.put_slice(rule);
        stored.put_slice(&self.payload);
        stored.into()
    }

    /// Reads what is stored; the payload stays a slice of it.
    pub(in crate::idempotency) fn decode(mut stored: Bytes) -> Result<Self, Unreadable> {
        match (stored.try_get_u8(), stored.try_get_u8()) {
            (Ok(KIND), Ok(FORMAT)) => Self::decode_rest(stored).ok_or(Unreadable::Corrupt),
            (Ok(KIND), Ok(_)) => Err(Unreadable::Format),
            _ => Err(Unreadable::Corrupt),
        }
    }

    fn decode_rest(mut stored: Bytes) -> Option<Self> {
        let state = State::from_byte(stored.try_get_u8().ok()?)?;
        let flags = Flags::from_bits(stored.try_get_u8().ok()?);
        let attempt = stored.try_get_u32().ok()?;
        let epoch = match stored.try_get_u64().ok()? {
            0 => None,
            epoch => Some(Version::from_u64(epoch)),
        };
        let lease = Duration::from_millis(stored.try_get_u32().ok()?.into());
        let ttl = Duration::from_millis(stored.try_get_u64().ok()?);
        let owner = Owner(array(&mut stored)?);
        let fingerprint = Fingerprint::from_bytes(array(&mut stored)?);
        let rule_len = usize::from(stored.try_get_u8().ok()?);
        if stored.len() < rule_len {
            return None;
        }
        let rule = stored.split_to(rule_len);
        Some(Self {
            state,
            flags,
            attempt,
            epoch,
            lease,
            ttl,
            owner,
            fingerprint,
            rule,
            payload: stored,
        })
    }
}

impl State {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::InProgress, Self::Completed, Self::Failed]
            .into_iter()
            .find(|state| *state as u8 == byte)
    }
}

impl Flags {
    fn bits(self) -> u8 {
        [
            self.is_started,
            self.never_again,
            self.is_not_replayable,
            self.is_sealed,
            self.is_unknown,
            self.is_unaccounted,
        ]
        .into_iter()
        .rev()
        .fold(0, |bits, flag| bits << 1 | u8::from(flag))
    }

    /// Flags that a later version may add to this format say nothing here.
    fn from_bits(bits: u8) -> Self {
        Self {
            is_started: bits & 1 != 0,
            never_again: bits & 2 != 0,
            is_not_replayable: bits & 4 != 0,
            is_sealed: bits & 8 != 0,
            is_unknown: bits & 16 != 0,
            is_unaccounted: bits & 32 != 0,
        }
    }
}

fn array<const N: usize>(stored: &mut Bytes) -> Option<[u8; N]> {
    let mut array = [0; N];
    stored.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}

const KIND: u8 = b'i';
const FORMAT: u8 = 1;

/// What has the same size in all records, and the length of the rule's name.
const HEAD_LEN: usize = 77;

const MAX_RULE: usize = 255;
