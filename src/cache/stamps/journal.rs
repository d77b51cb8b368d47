//! The last purges, in one record that every process reads.

use std::time::Duration;

use super::stamp::Purge;
use crate::{backend::Version, clock::Timestamp};

/// The last purges in the order in which they were added, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Journal {
    /// Which write began this journal; none: the write of this very record.
    pub(in crate::cache) created: Option<Version>,
    /// How many purges were ever added, which is the number of the newest one.
    pub(in crate::cache) sequence: u64,
    /// Each purge that is later than this and was added is among `purges`.
    pub(in crate::cache) complete_since: Timestamp,
    /// How long an entry may live, anywhere; stamps outlive that.
    pub(in crate::cache) max_life: Duration,
    pub(in crate::cache) purges: Vec<Purge>,
}

impl Journal {
    /// The journal to write where there is none. It knows nothing of what was before itself.
    pub(in crate::cache) fn empty(max_life: Duration) -> Self {
        Self {
            created: None,
            sequence: 0,
            complete_since: Timestamp::default(),
            max_life,
            purges: Vec::new(),
        }
    }

    /// The journal as it reads when this version of the record holds it.
    #[must_use]
    pub(in crate::cache) fn written_as(mut self, version: Version) -> Self {
        if self.created.is_none() {
            self.created = Some(version);
            self.complete_since = self.complete_since.max(version.written_at());
        }
        self
    }

    /// The journal that follows this one when these purges are added. Those that it had are not
    /// added again: an earlier sending of them came through.
    #[must_use]
    pub(in crate::cache) fn with(&self, purges: &[Purge]) -> Self {
        self.with_at_most(JOURNAL_CAPACITY, purges)
    }

    /// The same, where so many purges are kept.
    #[must_use]
    pub(in crate::cache) fn with_at_most(&self, kept: usize, purges: &[Purge]) -> Self {
        let mut next = self.clone();
        for purge in purges {
            if !next.purges.contains(purge) {
                next.purges.push(*purge);
                next.sequence = next.sequence.saturating_add(1);
            }
        }
        let surplus = next.purges.len().saturating_sub(kept);
        for dropped in next.purges.drain(..surplus) {
            next.complete_since = next.complete_since.max(dropped.at);
        }
        next
    }

    /// Whether all of these purges were added and are still there.
    pub(in crate::cache) fn has_all(&self, purges: &[Purge]) -> bool {
        purges.iter().all(|purge| self.purges.contains(purge))
    }

    /// The number before that of the oldest purge that is kept.
    pub(in crate::cache) fn reaches_back_to(&self) -> u64 {
        let kept = u64::try_from(self.purges.len()).unwrap_or(u64::MAX);
        self.sequence.saturating_sub(kept)
    }

    /// The purge of this number, if it is kept.
    pub(in crate::cache) fn purge(&self, number: u64) -> Option<&Purge> {
        let index = number.checked_sub(self.reaches_back_to())?.checked_sub(1)?;
        self.purges.get(usize::try_from(index).ok()?)
    }
}

/// How many purges a journal keeps.
pub(in crate::cache) const JOURNAL_CAPACITY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::stamps::{Severity, Tag};

    fn purge(at: u64) -> Purge {
        Purge {
            tag: Tag([1; 16]),
            severity: Severity::Hard,
            at: Timestamp::from_micros(at),
        }
    }

    fn empty() -> Journal {
        Journal::empty(Duration::from_secs(1)).written_as(Version::from_u64(5))
    }

    #[test]
    fn a_new_journal_knows_nothing_of_what_was_before_it() {
        assert_eq!(empty().complete_since, Timestamp::from_micros(5));
        assert_eq!(empty().written_as(Version::from_u64(9)), empty());
    }

    #[test]
    fn what_is_dropped_raises_the_time_since_which_all_is_known() {
        let purges: Vec<_> = (10..).take(JOURNAL_CAPACITY + 1).map(purge).collect();
        let journal = empty().with(&purges);
        assert_eq!(journal.purges.len(), JOURNAL_CAPACITY);
        assert_eq!(journal.complete_since, Timestamp::from_micros(10));
        assert_eq!(journal.sequence, JOURNAL_CAPACITY as u64 + 1);
        assert_eq!(journal.reaches_back_to(), 1);
        assert_eq!(journal.purge(1), None);
        assert_eq!(journal.purge(2), Some(&purge(11)));
    }

    #[test]
    fn a_purge_that_came_through_is_not_added_again() {
        let journal = empty().with(&[purge(10)]);
        assert!(journal.has_all(&[purge(10)]));
        assert_eq!(journal.with(&[purge(10)]), journal);
    }
}
