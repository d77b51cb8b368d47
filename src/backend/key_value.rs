//! Versioned records with conditional writes.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;

use super::Result;
use crate::{clock::Timestamp, key::Key};

/// Records under keys: each has a version that grows with every write, and a time to live.
///
/// # Contract
///
/// * A write's version is the backend's time of the write in microseconds, or the version before it
///   plus one if that is larger. So it grows with every write of a key, also when the record
///   expired or was deleted in between (as long as the backend's clock does not step back over that
///   gap), and serves as a fencing token. In one process's memory versions grow over all keys.
/// * Two writes of one key in one microsecond get different versions.
/// * A record is gone the moment its time to live is over: no call sees it after that.
/// * Times to live have a resolution of one millisecond and are rounded up. Zero is
///   [`InvalidInput`](super::BackendErrorKind::InvalidInput).
///
/// # Errors
///
/// Any [`BackendErrorKind`](super::BackendErrorKind). After a write,
/// [`may_have_applied`](super::BackendError::may_have_applied) says whether to look again.
///
/// # Cancel safety
///
/// A dropped read has no effect. A dropped write is applied, not applied, or
/// applied shortly; never twice.
pub trait KeyValue: Send + Sync + 'static {
    /// Reads a record.
    ///
    /// [`GetOptions::with_expiry`] asks for the time it has left as well. The value is read before
    /// the time; a record that expires in between is `None`.
    fn get(
        &self,
        key: &Key,
        options: GetOptions,
    ) -> impl Future<Output = Result<Option<Entry>>> + Send;

    /// Writes a record if the precondition holds; if not, answers with what is there.
    ///
    /// [`Precondition::Matches`] of a key that has no record is a conflict with nothing.
    fn put(
        &self,
        key: &Key,
        value: Bytes,
        options: PutOptions,
    ) -> impl Future<Output = Result<Put>> + Send;

    /// Removes a record if the precondition holds, and says whether there was one to remove.
    ///
    /// [`Precondition::Absent`] removes nothing.
    fn delete(
        &self,
        key: &Key,
        precondition: Precondition,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Gives a record a new time to live from now if the precondition holds,
    /// and says whether it did.
    ///
    /// Neither value nor version changes. [`Precondition::Absent`] touches nothing.
    fn touch(
        &self,
        key: &Key,
        ttl: Duration,
        precondition: Precondition,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// How far apart the clocks may be that two keys' versions come from.
    ///
    /// Zero in memory and on one Redis primary; in a Cluster an assumption about its nodes.
    fn clock_skew(&self) -> Duration;

    /// Whether a call leaves this process. Then the backend's clock runs like any other, and layers
    /// remember for a moment what it showed, to save questions.
    fn is_remote(&self) -> bool;
}

/// How to read a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetOptions {
    /// Whether [`Entry::expires_in`] is asked for; on Redis it costs a second command.
    pub expiry: bool,
}

impl GetOptions {
    /// Reads value and version.
    #[must_use]
    pub const fn new() -> Self {
        Self { expiry: false }
    }

    /// Reads the time that the record has left as well.
    #[must_use]
    pub const fn with_expiry(mut self) -> Self {
        self.expiry = true;
        self
    }
}

/// How to write a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// How long the record lives; above zero.
    pub ttl: Duration,
    /// What must hold for the write to happen.
    pub precondition: Precondition,
}

impl PutOptions {
    /// Writes whatever is there, for this long.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            precondition: Precondition::Any,
        }
    }

    /// Writes only if this holds.
    #[must_use]
    pub const fn with_precondition(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: the write always happens.
    #[default]
    Any,
    /// There is no record.
    Absent,
    /// There is a record, and this is its version.
    Matches(Version),
}

/// Where a record stands in the order of its key's writes.
///
/// It is also the time of the write on the backend's clock (see [`KeyValue`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version with this number.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The version's number, for use as a fencing token.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// When the record was written, on the backend's clock.
    #[must_use]
    pub const fn written_at(self) -> Timestamp {
        Timestamp::from_micros(self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What was written.
    pub value: Bytes,
    /// Which write it was.
    pub version: Version,
    /// How long it has left to live; known after [`GetOptions::with_expiry`] and in a
    /// [`Put::Conflict`].
    pub expires_in: Option<Duration>,
}

impl Entry {
    /// A record of which the time it has left is not known.
    #[must_use]
    pub const fn new(value: Bytes, version: Version) -> Self {
        Self {
            value,
            version,
            expires_in: None,
        }
    }

    /// The same record, which has this long to live.
    #[must_use]
    pub const fn with_expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a put may be refused"]
pub enum Put {
    /// It was written, as this version.
    Stored(Version),
    /// The precondition did not hold; nothing was written.
    Conflict {
        /// What is there instead, with the time it has left.
        current: Option<Entry>,
        /// The backend's time, on the scale of versions.
        now: Timestamp,
    },
}
