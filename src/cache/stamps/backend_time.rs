//! What a process knows of the backend's clock.

use std::time::Duration;

use crate::{
    backend::Version,
    clock::{Monotonic, Timestamp},
};

/// Bounds of the backend's present time, from what the last poll showed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::cache) struct BackendTime {
    largest: Timestamp,
    sample: Option<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sample {
    sent: Monotonic,
    received: Monotonic,
    shown: Timestamp,
}

impl BackendTime {
    /// A call that was sent and answered at these instants showed this time. Of two calls
    /// the one that was sent later counts.
    pub(in crate::cache) fn sample(
        &mut self,
        sent: Monotonic,
        received: Monotonic,
        shown: Timestamp,
    ) {
        self.saw(shown);
        // If the clock was set back, this is about when.
        self.largest = self.floor(received);
        if self.sample.is_some_and(|last| last.sent > sent) {
            return;
        }
        self.sample = Some(Sample {
            sent,
            received,
            shown,
        });
    }

    /// Some record or answer showed this time.
    pub(in crate::cache) fn saw(&mut self, time: Timestamp) {
        self.largest = self.largest.max(time);
    }

    /// A time no earlier than any that was ever seen, nor than what the clock would show if it was
    /// not set back since the last poll. A purge is no earlier, so that a clock set back costs
    /// misses and not purges.
    pub(in crate::cache) fn floor(&self, at: Monotonic) -> Timestamp {
        let expected = self.at_least(at).unwrap_or_default();
        self.largest.max(expected)
    }

    /// A time that the backend's clock has reached at this instant; for the start of a fill without
    /// a lease, which must not be later than it is.
    pub(in crate::cache) fn at_least(&self, at: Monotonic) -> Option<Timestamp> {
        let sample = self.sample?;
        let elapsed = at.saturating_duration_since(sample.received);
        Some(sample.shown + elapsed.saturating_sub(elapsed / DRIFT))
    }

    /// A time that the backend's clock has not passed at this instant; for ages, which must not be
    /// too low.
    pub(in crate::cache) fn at_most(&self, at: Monotonic) -> Option<Timestamp> {
        let sample = self.sample?;
        let elapsed = at.saturating_duration_since(sample.sent);
        Some(sample.shown + (elapsed + elapsed / DRIFT))
    }

    /// When a fill began whose lease got this version at this instant. The version is ahead where
    /// the clock was set back, and then a purge that comes later might seem to be the earlier one.
    pub(in crate::cache) fn started(
        &self,
        at: Monotonic,
        lease: Version,
        skew: Duration,
    ) -> Timestamp {
        let version = lease.written_at();
        if !self.is_ahead(at, version, skew) {
            return version;
        }
        self.at_least(at).map_or(version, |now| now.min(version))
    }

    /// Whether a time is later than the backend's clock can be. Then the clock was set
    /// back, and nothing says what was purged since.
    pub(in crate::cache) fn is_ahead(
        &self,
        at: Monotonic,
        time: Timestamp,
        skew: Duration,
    ) -> bool {
        self.at_most(at)
            .is_some_and(|latest| time > latest + skew + TOLERANCE)
    }
}

/// The two clocks may differ by one part in so many.
const DRIFT: u32 = 256;

/// Versions may be a little later than the clock: writes of one key in one microsecond.
const TOLERANCE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_now;

    #[test]
    fn the_present_lies_between_its_bounds() {
        let start = monotonic_now();
        let mut time = BackendTime::default();
        assert_eq!(time.at_least(start), None);
        let shown = Timestamp::from_millis(1_000);
        time.sample(start, start + Duration::from_millis(10), shown);
        let at = start + Duration::from_millis(266);
        assert_eq!(time.at_least(at), Some(Timestamp::from_millis(1_255)));
        assert!(time.at_most(at) >= Some(Timestamp::from_millis(1_266)));
    }

    #[test]
    fn of_two_samples_the_later_question_counts() {
        let start = monotonic_now();
        let later = start + Duration::from_secs(1);
        let mut time = BackendTime::default();
        time.sample(later, later, Timestamp::from_millis(2));
        time.sample(start, later, Timestamp::from_millis(3));
        assert_eq!(time.at_least(later), Some(Timestamp::from_millis(2)));
        assert_eq!(time.floor(start), Timestamp::from_millis(3));
    }

    #[test]
    fn a_clock_set_back_does_not_lower_the_floor() {
        let start = monotonic_now();
        let mut time = BackendTime::default();
        time.sample(start, start, Timestamp::from_millis(10_000));
        let later = start + Duration::from_millis(256);
        assert_eq!(time.floor(later), Timestamp::from_millis(10_255));
        time.sample(later, later, Timestamp::from_millis(1));
        assert_eq!(time.floor(later), Timestamp::from_millis(10_255));
        assert_eq!(time.at_least(later), Some(Timestamp::from_millis(1)));
    }

    #[test]
    fn a_time_ahead_of_the_clock_is_seen() {
        let start = monotonic_now();
        let mut time = BackendTime::default();
        time.sample(start, start, Timestamp::from_millis(50));
        let skew = Duration::from_millis(5);
        assert!(!time.is_ahead(start, Timestamp::from_millis(56), skew));
        assert!(time.is_ahead(start, Timestamp::from_millis(57), skew));
    }
}
