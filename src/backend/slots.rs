//! Slots that are held for a while, and come back by themselves.

use std::{fmt, future::Future, time::Duration};

use super::Result;
use crate::{
    error::ConfigError,
    key::{Key, KeyPart, name_id},
};

/// Lets at most so many be held of a subject's slots, each of them on a lease.
///
/// Whoever holds a slot renews it before its lease runs out, and releases it when done. A holder
/// that crashed does neither, and its slot is free again after the lease.
///
/// # Contract
///
/// * Limits with the same name and lease share their slots under one subject; others never do. The
///   limit's size is not part of it: lowering a limit takes nobody's slot away,
///   raising it acts at once.
/// * No more slots are held than the limit says, whatever runs concurrently.
/// * A slot is held until its deadline: the call that held or renewed it last, and a lease.
/// * A slot whose deadline lies ahead of the clock by more than two leases is not held, as long as
///   it does: a clock that stepped back by more locks nobody out. One that stepped back by less
///   keeps slots for as much longer.
/// * A call that finds all slots held writes nothing.
///
/// Errors and cancel safety are those of [`KeyValue`](super::KeyValue). That all slots
/// are held is not an error.
pub trait Slots: Send + Sync + 'static {
    /// Holds this slot for a lease from now, unless as many as the limit are held.
    ///
    /// Holding a slot that is held renews it. So a call whose reply was lost may be made again.
    fn hold(
        &self,
        subject: &Key,
        limit: &SlotLimit,
        slot: SlotId,
    ) -> impl Future<Output = Result<Hold>> + Send;

    /// Holds these slots for a lease from now, those of them that are held; and says of each, in
    /// their order, whether it is.
    fn renew(
        &self,
        subject: &Key,
        limit: &SlotLimit,
        slots: &[SlotId],
    ) -> impl Future<Output = Result<Vec<bool>>> + Send;

    /// Frees a slot, if it is held.
    fn release(
        &self,
        subject: &Key,
        limit: &SlotLimit,
        slot: SlotId,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// How many slots there are, with the identity under which they are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotLimit {
    /// Digest of the name.
    id: u64,
    limit: u64,
    lease: Duration,
}

impl SlotLimit {
    /// The most slots that a limit may have: each of them is stored.
    pub const MAX: u64 = 1_000_000;

    /// The longest lease: after it, what a crashed process held is free again.
    pub const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

    /// So many slots under this name, each on a lease of this length: limits with the same name and
    /// lease share their slots, whatever their size.
    ///
    /// # Errors
    ///
    /// A limit that is not 1 to [`MAX`](Self::MAX), or a lease that is not whole milliseconds up to
    /// [`MAX_LEASE`](Self::MAX_LEASE).
    pub fn new(
        name: impl KeyPart,
        limit: u64,
        lease: Duration,
    ) -> std::result::Result<Self, ConfigError> {
        if !(1..=Self::MAX).contains(&limit) {
            return Err(ConfigError::new(format!(
                "a limit of {limit} at once: write 1 to {}",
                Self::MAX
            )));
        }
        let is_whole = lease.subsec_nanos().is_multiple_of(1_000_000);
        if lease.is_zero() || lease > Self::MAX_LEASE || !is_whole {
            return Err(ConfigError::new(format!(
                "a lease of {lease:?}: write whole milliseconds, up to {:?}",
                Self::MAX_LEASE
            )));
        }
        let id = name_id(name);
        Ok(Self { id, limit, lease })
    }

    /// How many slots may be held at once.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// How long a slot is held without being renewed; whole milliseconds.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// Which slots of a subject these are, as key-safe text: `s`, the lease in milliseconds and the
    /// name's digest in hexadecimal. A backend stores those of each name on their own.
    #[must_use]
    pub fn pool_name(&self) -> String {
        format!("s{}.{:016x}", self.lease.as_millis(), self.id)
    }

    /// Whether the slots of one are slots of the other: all but the size is the same.
    pub(crate) fn shares_slots_with(&self, other: &Self) -> bool {
        self.id == other.id && self.lease == other.lease
    }
}

/// Which slot it is; whoever holds one makes up a number that nobody else has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u128);

impl SlotId {
    /// The slot with this number, of whose 128 bits 64 or more are random.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// The slot's number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a call to [`Slots::hold`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// The slot is held.
    Held {
        /// How many are, with this one.
        in_use: u64,
    },
    /// It is not: others hold as many as the limit, or more if it was lowered.
    Full {
        /// How many they hold.
        in_use: u64,
    },
}

impl Hold {
    /// Whether the slot is held.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_size_is_no_part_of_a_pools_name_and_the_lease_is() {
        let ten = SlotLimit::new("api", 10, SECOND).unwrap();
        let two = SlotLimit::new("api", 2, SECOND).unwrap();
        assert_eq!(ten.pool_name(), two.pool_name());
        assert!(ten.shares_slots_with(&two));
        for other in [
            SlotLimit::new("api", 10, 2 * SECOND),
            SlotLimit::new("login", 10, SECOND),
        ] {
            let other = other.unwrap();
            assert_ne!(ten.pool_name(), other.pool_name());
            assert!(!ten.shares_slots_with(&other));
        }
    }

    #[test]
    fn a_limit_that_cannot_work_says_what_to_write() {
        let error = |limit, lease| SlotLimit::new("api", limit, lease).unwrap_err().to_string();
        assert_eq!(error(0, SECOND), "a limit of 0 at once: write 1 to 1000000");
        assert!(error(SlotLimit::MAX + 1, SECOND).ends_with("write 1 to 1000000"));
        let leases = [
            Duration::ZERO,
            Duration::from_micros(1_500),
            SlotLimit::MAX_LEASE + Duration::from_millis(1),
        ];
        for lease in leases {
            let error = error(1, lease);
            assert!(
                error.ends_with("write whole milliseconds, up to 86400s"),
                "{error}"
            );
        }
    }
}
