//! What to do where someone else's lease is in the way of a fill.

use std::time::Duration;

use crate::{backend::Version, clock::Timestamp};

/// By which a filler knows its own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cache) struct Token(pub(in crate::cache) [u8; 16]);

/// What stands under the key of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Lease {
    /// Someone fills, or has filled.
    Filling(Token),
    /// What the URL answers is not stored: nobody waits for anybody.
    Pass,
}

/// A lease that was found, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Found {
    pub(in crate::cache) lease: Lease,
    pub(in crate::cache) version: Version,
}

/// What follows from a lease that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum OnLeaseConflict {
    /// An earlier sending came through: the lease is one's own, of this version.
    Ours(Version),
    /// It is gone: put where nothing is.
    Claim,
    /// It is spent or in vain: put over this version.
    Replace(Version),
    /// Call, as a fill that began at this time.
    CallAt(Timestamp),
    /// Look again soon.
    Wait,
    /// Call, and store nothing.
    CallUnstored,
}

/// Until when fills are over, as far as is known: each that began no later has been stored,
/// or overtaken by a later one, or what it brings is purged before it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cache) struct Settled(Timestamp);

impl Settled {
    /// An entry that was last checked then is stored, or was until now.
    #[must_use]
    pub(in crate::cache) fn by_entry(self, checked: Timestamp) -> Self {
        Self(self.0.max(checked))
    }

    /// The URL, or a tag of the entry in hand, was purged then.
    #[must_use]
    pub(in crate::cache) fn by_purge(self, at: Timestamp) -> Self {
        Self(self.0.max(at))
    }

    fn covers(self, lease: Version) -> bool {
        lease.written_at() <= self.0
    }
}

/// What follows from the lease that stands in the way at the backend's time `now`, for someone who
/// has waited so long.
pub(in crate::cache) fn on_lease_conflict(
    token: Token,
    found: Option<Found>,
    now: Timestamp,
    settled: Settled,
    waited: Duration,
) -> OnLeaseConflict {
    let Some(Found { lease, version }) = found else {
        return OnLeaseConflict::Claim;
    };
    match lease {
        Lease::Filling(owner) if owner == token => OnLeaseConflict::Ours(version),
        Lease::Pass => OnLeaseConflict::CallAt(now),
        // Also a fill that still runs: it began before a purge, so nobody may use what it brings.
        Lease::Filling(_) if settled.covers(version) => OnLeaseConflict::Replace(version),
        Lease::Filling(_) if waited >= PATIENCE => OnLeaseConflict::CallUnstored,
        Lease::Filling(_) => OnLeaseConflict::Wait,
    }
}

/// How long anyone waits for another's fill.
pub(in crate::cache) const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Token = Token([1; 16]);

    fn decide(lease: Lease, settled: u64, waited: Duration) -> OnLeaseConflict {
        let found = Found {
            lease,
            version: Version::from_u64(10),
        };
        let settled = Settled::default().by_entry(Timestamp::from_micros(settled));
        let now = Timestamp::from_micros(20);
        on_lease_conflict(ME, Some(found), now, settled, waited)
    }

    #[test]
    fn a_fill_under_way_is_waited_for_only_so_long() {
        let other = Lease::Filling(Token([2; 16]));
        let waits = decide(other, 9, PATIENCE.saturating_sub(Duration::from_millis(1)));
        assert_eq!(waits, OnLeaseConflict::Wait);
        let gives_up = decide(other, 9, PATIENCE);
        assert_eq!(gives_up, OnLeaseConflict::CallUnstored);
    }

    #[test]
    fn a_spent_lease_is_replaced() {
        let other = Lease::Filling(Token([2; 16]));
        let replaces = OnLeaseConflict::Replace(Version::from_u64(10));
        assert_eq!(decide(other, 10, Duration::ZERO), replaces);
        assert_eq!(decide(other, 11, PATIENCE), replaces);
    }

    #[test]
    fn a_lease_of_one_s_own_is_recognised() {
        let ours = OnLeaseConflict::Ours(Version::from_u64(10));
        assert_eq!(decide(Lease::Filling(ME), 10, Duration::ZERO), ours);
    }

    #[test]
    fn what_is_not_stored_is_not_waited_for() {
        let now = OnLeaseConflict::CallAt(Timestamp::from_micros(20));
        assert_eq!(decide(Lease::Pass, 30, PATIENCE), now);
    }

    #[test]
    fn a_lease_that_is_gone_is_claimed() {
        let settled = Settled::default();
        let now = Timestamp::default();
        let decision = on_lease_conflict(ME, None, now, settled, PATIENCE);
        assert_eq!(decision, OnLeaseConflict::Claim);
    }
}
