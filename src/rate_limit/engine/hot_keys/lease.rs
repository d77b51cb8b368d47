//! Units taken beforehand, for requests that will come.

use std::{sync::Arc, time::Duration};

use super::lot::Lot;
use crate::{
    backend::{Decision, Limit},
    clock::Monotonic,
};

/// A lot that may be spent while the windows last that it was taken from.
pub(super) struct Lease {
    lot: Lot,
    received: Monotonic,
    ends: Monotonic,
}

impl Lease {
    /// What this decision took of these limits, which came now; `sent` is when it was asked for.
    ///
    /// Its windows last for at least their rest after the moment of sending:
    /// the backend decided later.
    pub(super) fn new(
        limits: Arc<[Limit]>,
        decision: Decision,
        sent: Monotonic,
        now: Monotonic,
    ) -> Self {
        let ends = sent.checked_add(rest_of_windows(&decision));
        Self {
            lot: Lot::new(limits, decision),
            received: now,
            ends: ends.unwrap_or(sent),
        }
    }

    /// Keeps what is left of an earlier one, if its windows still last.
    ///
    /// All of it then ends with those. They may be others: what another instance resets begins anew.
    #[must_use]
    pub(super) fn with_rest_of(mut self, earlier: Option<Self>) -> Self {
        let is_left = |earlier: &Self| earlier.lot.left() > 0 && earlier.lasts(self.received);
        if let Some(earlier) = earlier.filter(is_left) {
            self.lot.add(earlier.lot.left());
            self.ends = self.ends.min(earlier.ends);
        }
        self
    }

    pub(super) fn lasts(&self, now: Monotonic) -> bool {
        now < self.ends
    }

    /// Pays for a request that came later than the units, if it can.
    pub(super) fn spend(&mut self, cost: u64, now: Monotonic) -> Option<Decision> {
        if !self.lasts(now) {
            return None;
        }
        let decision = self.lot.spend(cost)?;
        Some(decision.told_later(now.saturating_duration_since(self.received)))
    }

    /// Answers a request that the units were asked for, whenever they came.
    pub(super) fn answer(&mut self, cost: u64) -> Decision {
        let decision = self.lot.spend(cost);
        decision.unwrap_or_else(|| self.lot.denial(cost))
    }

    /// How much one of so many instances takes next: a quarter of its part of what is left.
    ///
    /// So all of them together never hold more than a quarter of a limit.
    pub(super) fn next(&self, instances: u32, now: Monotonic) -> u64 {
        if !self.lasts(now) {
            return 0;
        }
        let limits = &self.lot.told().limits;
        let remaining = limits.iter().map(|state| state.remaining).min();
        let parts = u64::from(instances.max(1)) * 4;
        remaining.unwrap_or(0) / parts
    }
}

/// How long after the decision the first of its windows ends.
fn rest_of_windows(decision: &Decision) -> Duration {
    let resets = decision.limits.iter().filter_map(|state| state.reset);
    // Quotas count in whole milliseconds, so the decision may be up to one
    // later than the reset says.
    let since_whole_milli = Duration::from_micros(decision.now.as_micros() % 1_000);
    resets
        .min()
        .unwrap_or_default()
        .saturating_sub(since_whole_milli)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{LimitState, Quota, Retry},
        clock::{Timestamp, monotonic_now},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A decision in the middle of a millisecond, which took so much of limits
    /// in which so much is left.
    fn decision(taken: u64, limits: &[(u64, Duration)]) -> Decision {
        let states = limits.iter().map(|(remaining, reset)| {
            LimitState::new(1_000, *remaining, Retry::Now, Some(*reset), 0)
        });
        Decision::admitted(taken, Timestamp::from_micros(1_500), states.collect())
    }

    fn lease(taken: u64, left: &[(u64, Duration)], sent: Monotonic, received: Monotonic) -> Lease {
        let quota = Quota::fixed(1_000, 10 * SECOND);
        let limits = ["one", "two"].map(|name| Limit::new(name, quota).expect("it can work"));
        Lease::new(limits.into(), decision(taken, left), sent, received)
    }

    #[test]
    fn it_lasts_until_its_first_window_may_end_if_it_was_asked_for_just_then() {
        let sent = monotonic_now();
        let received = sent + SECOND / 4;
        let limits = [(5, 9 * SECOND), (7, SECOND)];
        let mut lease = lease(3, &limits, sent, received);
        let end = sent + SECOND - Duration::from_micros(500);
        assert!(lease.spend(1, end - Duration::from_micros(1)).is_some());
        assert!(lease.spend(1, end).is_none());
    }

    #[test]
    fn what_it_pays_tells_what_is_left_here_and_there_and_for_how_long() {
        let sent = monotonic_now();
        let limits = [(5, 9 * SECOND), (7, 2 * SECOND)];
        let mut lease = lease(3, &limits, sent, sent);
        let paid = lease.spend(2, sent + SECOND).expect("three are left");
        assert_eq!((paid.admitted, paid.taken), (true, 2));
        let told = paid
            .limits
            .iter()
            .map(|state| (state.remaining, state.reset));
        assert!(told.eq([(6, Some(8 * SECOND)), (8, Some(SECOND))]));
        assert!(lease.spend(2, sent + SECOND).is_none(), "one is left");
        assert!(lease.spend(1, sent + SECOND).is_some());
    }

    #[test]
    fn who_it_was_asked_for_is_answered_even_if_it_comes_too_late_for_others() {
        let sent = monotonic_now();
        let received = sent + 2 * SECOND;
        let mut lease = lease(2, &[(0, SECOND)], sent, received);
        assert!(lease.answer(1).admitted);
        assert!(lease.spend(1, received).is_none());
    }

    #[test]
    fn a_rest_is_kept_while_its_windows_last() {
        let sent = monotonic_now();
        let rest = || Some(lease(2, &[(0, SECOND)], sent, sent));
        let next = |received| lease(1, &[(0, 9 * SECOND)], sent, received);
        let soon = sent + SECOND / 2;
        assert!(next(soon).with_rest_of(rest()).spend(3, soon).is_some());
        let late = sent + SECOND;
        assert!(next(late).with_rest_of(rest()).spend(3, late).is_none());
        assert!(next(late).with_rest_of(rest()).spend(1, late).is_some());
    }

    /// Another instance may have reset the subject, whose windows then begin anew.
    #[test]
    fn a_rest_is_not_spent_after_its_own_windows() {
        let sent = monotonic_now();
        let rest = lease(2, &[(0, SECOND)], sent, sent);
        let soon = sent + SECOND / 2;
        let next = lease(1, &[(0, 9 * SECOND)], soon, soon);
        let mut next = next.with_rest_of(Some(rest));
        assert!(next.spend(1, soon).is_some());
        assert!(next.spend(1, sent + SECOND).is_none());
    }

    #[test]
    fn a_rest_of_nothing_ends_nothing() {
        let sent = monotonic_now();
        let nothing = lease(0, &[(0, SECOND)], sent, sent);
        let next = lease(1, &[(0, 9 * SECOND)], sent, sent);
        let mut next = next.with_rest_of(Some(nothing));
        assert!(next.spend(1, sent + SECOND).is_some());
    }

    #[test]
    fn the_next_one_is_a_quarter_of_a_part_of_what_is_left_of_the_tightest_limit() {
        let sent = monotonic_now();
        let lease = lease(3, &[(640, SECOND), (700, SECOND)], sent, sent);
        assert_eq!(lease.next(8, sent), 20);
        assert_eq!(lease.next(u32::MAX, sent), 0);
        assert_eq!(lease.next(8, sent + SECOND), 0, "nothing is known");
    }
}
