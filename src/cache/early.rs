//! Fetching anew shortly before the end, so that many requests do not come to that end at once.

use std::time::Duration;

/// Whether a response that is fresh for so much longer is fetched anew already, where that took so
/// long the last time: the more likely the longer it takes and the nearer the end, so that few do it
/// and none waits (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede
/// Prevention"). The chance is a random number above zero, and at most one.
pub(super) fn is_due(left: Duration, fill_time: Duration, chance: f64) -> bool {
    left.as_secs_f64() <= fill_time.as_secs_f64() * -chance.ln()
}

/// A random number above zero, and at most one.
pub(super) fn chance() -> f64 {
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        // Then nothing is fetched early.
        return 1.0;
    }
    (f64::from(u32::from_le_bytes(random)) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a thousand chances make it due.
    fn due_of_a_thousand(left: u64, fill_time: u64) -> usize {
        let (left, fill_time) = (
            Duration::from_millis(left),
            Duration::from_millis(fill_time),
        );
        (0..1000)
            .map(|step| (f64::from(step) + 0.5) / 1000.0)
            .filter(|chance| is_due(left, fill_time, *chance))
            .count()
    }

    #[test]
    fn it_is_the_more_likely_the_nearer_the_end_and_the_longer_it_takes() {
        // A thousand times e to the power of minus the one by the other.
        assert_eq!(due_of_a_thousand(0, 100), 1000);
        assert_eq!(due_of_a_thousand(100, 100), 368);
        assert_eq!(due_of_a_thousand(200, 100), 135);
        assert_eq!(due_of_a_thousand(200, 200), 368);
        assert_eq!(due_of_a_thousand(1000, 100), 0);
        assert_eq!(due_of_a_thousand(1, 0), 0);
    }

    #[test]
    fn chances_are_spread_evenly_above_zero() {
        let chances: Vec<_> = (0..10_000).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| *chance > 0.0 && *chance <= 1.0));
        for tenth in 0..10_u32 {
            let from = f64::from(tenth) / 10.0;
            let within = chances.iter().filter(|it| (from..from + 0.1).contains(*it));
            // Ten standard deviations.
            assert!((700..1300).contains(&within.count()));
        }
    }
}
