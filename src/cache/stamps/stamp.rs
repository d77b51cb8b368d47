//! When a tag was purged.

use crate::{backend::Version, clock::Timestamp};

/// The digest of a tag, or of all tags together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cache) struct Tag(pub(in crate::cache) [u8; 16]);

/// What a purge makes of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Severity {
    /// They are gone.
    Hard,
    /// They are stale.
    Soft,
}

/// One purge of one tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Purge {
    pub(in crate::cache) tag: Tag,
    pub(in crate::cache) severity: Severity,
    /// The time of its stamp.
    pub(in crate::cache) at: Timestamp,
}

/// When a tag was last purged, hard and soft; zero is never.
///
/// The two are kept apart, so that a soft purge never hides a hard one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::cache) struct StampState {
    pub(in crate::cache) hard: Timestamp,
    pub(in crate::cache) soft: Timestamp,
}

/// A stamp as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct StampRecord {
    pub(in crate::cache) severity: Severity,
    /// The purge is no earlier than this, whatever version the record got.
    pub(in crate::cache) floor: Timestamp,
    /// When the last purge of the other severity was; zero is never.
    pub(in crate::cache) other: Timestamp,
}

impl StampState {
    /// What a purge leaves where nothing was known.
    pub(in crate::cache) fn of(severity: Severity, at: Timestamp) -> Self {
        match severity {
            Severity::Hard => Self {
                hard: at,
                ..Self::default()
            },
            Severity::Soft => Self {
                soft: at,
                ..Self::default()
            },
        }
    }

    /// Takes from both what is later.
    pub(in crate::cache) fn merge(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    /// The time of the last purge of any kind.
    pub(in crate::cache) fn latest(self) -> Timestamp {
        self.hard.max(self.soft)
    }
}

impl StampRecord {
    /// The record of a new purge where this was found.
    ///
    /// The floor is raised to what was found: a purge is never earlier than the one before it, even
    /// if the backend's clock was set back.
    pub(in crate::cache) fn new(
        severity: Severity,
        floor: Timestamp,
        found: Option<StampState>,
    ) -> Self {
        let found = found.unwrap_or_default();
        Self {
            severity,
            floor: floor.max(found.latest()),
            other: match severity {
                Severity::Hard => found.soft,
                Severity::Soft => found.hard,
            },
        }
    }

    /// When the purge is that this record, written as `version`, tells of.
    pub(in crate::cache) fn at(&self, version: Version) -> Timestamp {
        version.written_at().max(self.floor)
    }

    /// What this record, written as `version`, says of its tag.
    pub(in crate::cache) fn state(&self, version: Version) -> StampState {
        let mut state = StampState::of(self.severity, self.at(version));
        state.merge(match self.severity {
            Severity::Hard => StampState::of(Severity::Soft, self.other),
            Severity::Soft => StampState::of(Severity::Hard, self.other),
        });
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_soft_stamp_keeps_the_hard_one_before_it() {
        let hard = StampRecord::new(Severity::Hard, at(0), None).state(Version::from_u64(10));
        let soft = StampRecord::new(Severity::Soft, at(0), Some(hard));
        let both = StampState {
            hard: at(10),
            soft: at(20),
        };
        assert_eq!(soft.state(Version::from_u64(20)), both);
    }

    #[test]
    fn a_stamp_is_no_earlier_than_its_floor_and_the_stamp_before() {
        let floor = StampRecord::new(Severity::Hard, at(30), None);
        assert_eq!(floor.at(Version::from_u64(10)), at(30));
        let found = StampState::of(Severity::Hard, at(40));
        let next = StampRecord::new(Severity::Hard, at(30), Some(found));
        assert_eq!(next.at(Version::from_u64(11)), at(40));
    }
}
