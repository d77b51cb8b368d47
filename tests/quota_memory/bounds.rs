//! How much is admitted in which time.

use proptest::prelude::*;
use tower_stash::backend::{Algorithm, Decision, HOUR, Quota};

use crate::{
    memory::{Memory, request},
    quota_oracle::{Step, quota, steps},
    stress::stressed,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(150)))]

    /// P1
    #[test]
    fn hits_of_a_log_less_than_a_window_apart_are_at_most_the_limit(
        quota in of_kind(0), steps in steps(80)
    ) {
        most_in_any_window(quota, &steps, quota.limit())?;
    }

    /// P2
    #[test]
    fn fixed_windows_hold_the_limit_and_begin_a_window_apart(
        quota in prop_oneof![of_kind(2), of_kind(3)], steps in steps(80)
    ) {
        let hits = hits(quota, &steps);
        let mut windows: Vec<(u64, u64)> = Vec::new();
        for hit in &hits {
            match windows.last_mut() {
                Some((start, sum)) if *start == hit.mark => *sum += hit.units,
                _ => windows.push((hit.mark, hit.units)),
            }
        }
        for (start, sum) in &windows {
            prop_assert!(*sum <= quota.limit(), "{} in the window of {}", sum, start);
        }
        for pair in windows.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= window(quota), "{:?}", pair);
        }
    }

    /// P3
    #[test]
    fn a_counter_keeps_its_three_bounds(quota in of_kind(1), steps in steps(80)) {
        let (limit, window) = (quota.limit(), window(quota));
        let hits = hits(quota, &steps);
        for (index, first) in hits.iter().enumerate() {
            let mut sum = 0;
            let mut aligned = 0;
            for hit in &hits[index..] {
                sum += hit.units;
                let length = hit.time - first.time;
                if length < window {
                    prop_assert!(sum <= 2 * limit - u64::from(quota.weight() == 1), "{} in a window", sum);
                    // At most a limit, and the share of one that went by.
                    prop_assert!(sum * window <= limit * (window + length + 1), "{} in {} ms", sum, length);
                }
                if hit.time / window == first.time / window {
                    aligned += hit.units;
                    prop_assert!(aligned <= limit, "{} in an aligned window", aligned);
                }
            }
        }
    }

    /// P4
    #[test]
    fn a_token_bucket_admits_its_burst_and_what_it_gained(
        quota in prop_oneof![of_kind(5), of_kind(6)], steps in steps(80)
    ) {
        let Algorithm::TokenBucket { burst } = quota.algorithm() else { unreachable!() };
        let interval = (window(quota) * 1_000).div_ceil(quota.limit());
        let hits = hits(quota, &steps);
        for (index, first) in hits.iter().enumerate() {
            let mut sum = 0;
            for hit in &hits[index..] {
                sum += hit.units;
                let most = burst + (hit.micros - first.micros) / interval;
                prop_assert!(sum <= most, "{} of {}", sum, most);
            }
        }
    }

    /// P5
    #[test]
    fn hits_of_buckets_less_than_a_window_apart_are_at_most_the_limit(
        quota in of_kind(4), steps in steps(80)
    ) {
        most_in_any_window(quota, &steps, quota.limit())?;
    }

    /// P6, and the second half of P5
    #[test]
    fn after_its_silence_a_limit_is_whole(quota in of_any_kind(), steps in steps(40)) {
        let memory = Memory::new();
        let request = request(&[quota]);
        memory.run(&request, &steps);
        memory.exhaust(&request);
        memory.clock.advance(std::time::Duration::from_micros(silence(quota)));
        let seen = memory.look(&request);
        prop_assert_eq!(seen.limits[0].remaining, quota.capacity() / u64::from(quota.weight()));
        prop_assert_eq!(seen.limits[0].reset, None);
    }
}

/// One admission of one limit.
struct Hit {
    /// In milliseconds.
    time: u64,
    micros: u64,
    units: u64,
    mark: u64,
}

fn hits(quota: Quota, steps: &[Step]) -> Vec<Hit> {
    let decisions = Memory::new().run(&request(&[quota]), steps);
    let taken = decisions.iter().filter(|decision| decision.taken > 0);
    taken.map(|decision| hit(quota, decision)).collect()
}

fn hit(quota: Quota, decision: &Decision) -> Hit {
    Hit {
        time: decision.now.as_millis(),
        micros: decision.now.as_micros(),
        units: decision.taken * u64::from(quota.weight()),
        mark: decision.limits[0].mark,
    }
}

fn most_in_any_window(quota: Quota, steps: &[Step], most: u64) -> Result<(), TestCaseError> {
    let hits = hits(quota, steps);
    for (index, first) in hits.iter().enumerate() {
        let within = hits[index..]
            .iter()
            .filter(|hit| hit.time - first.time < window(quota));
        let sum: u64 = within.map(|hit| hit.units).sum();
        prop_assert!(sum <= most, "{} in a window of {:?}", sum, quota);
    }
    Ok(())
}

/// In how many microseconds everything is there again.
fn silence(quota: Quota) -> u64 {
    let window = window(quota);
    match quota.algorithm() {
        Algorithm::Counter => 2 * window * 1_000,
        Algorithm::Buckets { buckets } => {
            let parts = u64::from(buckets);
            (parts + 1) * window.div_ceil(parts) * 1_000
        }
        Algorithm::TokenBucket { burst } => burst * (window * 1_000).div_ceil(quota.limit()),
        _ => window * 1_000,
    }
}

fn window(quota: Quota) -> u64 {
    u64::try_from(quota.window().as_millis()).expect("a short window")
}

fn of_kind(kind: u8) -> impl Strategy<Value = Quota> {
    (1..=20_u64, 1..=3_u32, 0..60_000_u64).prop_map(move |(limit, weight, detail)| {
        quota(kind, limit.max(u64::from(weight)), HOUR / 60, detail).with_weight(weight)
    })
}

fn of_any_kind() -> impl Strategy<Value = Quota> {
    crate::quota_oracle::quotas()
}
