//! What to do where another record is in the way of one that is to be stored.

use std::time::Duration;

use crate::{
    backend::{Precondition, Version},
    clock::Timestamp,
};

/// What is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Storing {
    /// An entry with a body that a fill brought.
    Body,
    /// An entry whose head a 304 has refreshed, over that very entry.
    Merge,
    /// The head of a URL that varies; the entry is stored under its variant.
    Head,
}

/// What was found in the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Occupant {
    /// An entry that was last checked then.
    Entry { checked: Timestamp },
    /// A head that began then.
    Head { generation: Timestamp },
    /// The mark that the URL was purged, also softly: its version says when.
    Tombstone,
    /// Something that this process cannot read.
    Unreadable,
}

/// What follows from a store that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum OnStoreConflict {
    /// What was to be stored is overtaken or purged.
    Drop,
    /// Store it so.
    Again(Precondition),
    /// Store the entry as a variant of the head that was found.
    AsVariant,
    /// Store a head that has the names of both and began when the one that was found did, and
    /// before it the entry under its variant of that head.
    Unite(Version),
}

/// What is known of clocks when a record is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Present {
    /// The backend's time, as the conflict said it.
    pub(in crate::cache) now: Timestamp,
    /// How far apart its clocks may be.
    pub(in crate::cache) skew: Duration,
}

/// What follows for a fill or a check that began at `started`.
pub(in crate::cache) fn on_store_conflict(
    storing: Storing,
    started: Timestamp,
    found: Option<(Occupant, Version)>,
    present: Present,
) -> OnStoreConflict {
    if is_too_late(started, present.now) {
        return OnStoreConflict::Drop;
    }
    let Some((occupant, version)) = found else {
        return match storing {
            // Who took the base away may have purged it.
            Storing::Merge => OnStoreConflict::Drop,
            Storing::Body | Storing::Head => OnStoreConflict::Again(Precondition::Absent),
        };
    };
    if storing == Storing::Merge || occupant.overtakes(started, version, present) {
        return OnStoreConflict::Drop;
    }
    match (storing, occupant) {
        (Storing::Body, Occupant::Head { .. }) => OnStoreConflict::AsVariant,
        (Storing::Head, Occupant::Head { .. }) => OnStoreConflict::Unite(version),
        _ => OnStoreConflict::Again(Precondition::Matches(version)),
    }
}

/// Whether a fill has run so long that the mark of a purge since then may be gone; then it stores
/// nothing.
pub(in crate::cache) fn is_too_late(started: Timestamp, now: Timestamp) -> bool {
    now - started >= FILL_LIFE
}

/// How long a record of this life is kept: as long as any fill that it has overtaken may try to
/// store, because nothing else tells that fill of it, nor of a tombstone that it replaced.
pub(in crate::cache) fn record_life(life: Duration) -> Duration {
    life.max(TOMBSTONE_LIFE)
}

impl Occupant {
    fn overtakes(self, started: Timestamp, version: Version, present: Present) -> bool {
        let Present { now, skew } = present;
        match self {
            // What is ahead of the clock was written before the clock was set back.
            Self::Entry { checked } => checked >= started && checked <= now + skew,
            // Nor is it known what the head replaced.
            Self::Head { generation } => generation + skew >= started && generation <= now + skew,
            Self::Tombstone => version.written_at() + skew >= started,
            Self::Unreadable => false,
        }
    }
}

/// How long the mark of a purged URL is kept.
pub(in crate::cache) const TOMBSTONE_LIFE: Duration = Duration::from_secs(300);

/// How long after its start a fill may store; shorter, because a write may be under way.
pub(in crate::cache) const FILL_LIFE: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: Present = Present {
        now: Timestamp::from_micros(100),
        skew: Duration::ZERO,
    };

    fn decide(storing: Storing, found: Option<Occupant>) -> OnStoreConflict {
        let found = found.map(|occupant| (occupant, Version::from_u64(50)));
        on_store_conflict(storing, at(50), found, PRESENT)
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn over_it() -> OnStoreConflict {
        OnStoreConflict::Again(Precondition::Matches(Version::from_u64(50)))
    }

    #[test]
    fn what_was_checked_no_earlier_stays() {
        let same = Occupant::Entry { checked: at(50) };
        assert_eq!(decide(Storing::Body, Some(same)), OnStoreConflict::Drop);
        let older = Occupant::Entry { checked: at(49) };
        assert_eq!(decide(Storing::Body, Some(older)), over_it());
    }

    #[test]
    fn what_is_ahead_of_the_clock_is_replaced() {
        let ahead = Occupant::Entry { checked: at(101) };
        assert_eq!(decide(Storing::Body, Some(ahead)), over_it());
    }

    #[test]
    fn a_purge_of_the_url_after_the_start_forbids_the_store() {
        let tombstone = Some(Occupant::Tombstone);
        assert_eq!(decide(Storing::Body, tombstone), OnStoreConflict::Drop);
        let found = Some((Occupant::Tombstone, Version::from_u64(49)));
        let later = on_store_conflict(Storing::Head, at(50), found, PRESENT);
        let over_it = OnStoreConflict::Again(Precondition::Matches(Version::from_u64(49)));
        assert_eq!(later, over_it);
    }

    #[test]
    fn a_304_is_merged_over_its_base_only() {
        assert_eq!(decide(Storing::Merge, None), OnStoreConflict::Drop);
        let other = Some(Occupant::Entry { checked: at(1) });
        assert_eq!(decide(Storing::Merge, other), OnStoreConflict::Drop);
    }

    #[test]
    fn a_head_in_the_way_makes_a_variant() {
        let head = Some(Occupant::Head { generation: at(9) });
        assert_eq!(decide(Storing::Body, head), OnStoreConflict::AsVariant);
        let unites = OnStoreConflict::Unite(Version::from_u64(50));
        assert_eq!(decide(Storing::Head, head), unites);
        let later = Some(Occupant::Head { generation: at(50) });
        assert_eq!(decide(Storing::Body, later), OnStoreConflict::Drop);
    }

    #[test]
    fn a_fill_that_took_too_long_stores_nothing() {
        let present = Present {
            now: at(50) + FILL_LIFE,
            ..PRESENT
        };
        let decision = on_store_conflict(Storing::Body, at(50), None, present);
        assert_eq!(decision, OnStoreConflict::Drop);
    }

    #[test]
    fn a_record_outlives_the_fills_that_it_overtook() {
        assert!(record_life(Duration::ZERO) > FILL_LIFE);
        assert_eq!(record_life(TOMBSTONE_LIFE * 2), TOMBSTONE_LIFE * 2);
    }
}
