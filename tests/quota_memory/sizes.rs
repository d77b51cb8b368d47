//! Limits whose size changes, and limits that cannot be.

use std::time::Duration;

use proptest::prelude::*;
use tower_stash::backend::{
    Acquire, Algorithm, Ban, DAY, HOUR, Limit, MINUTE, Quota, Retry, Strikes,
};

use crate::{
    memory::{Memory, request},
    quota_oracle::{quotas, steps},
    stress::stressed,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(300)))]

    /// P26
    #[test]
    fn lowering_a_limit_grants_nothing_and_raising_it_takes_nothing(
        quota in quotas(),
        steps in steps(60),
        sizes in prop::collection::vec(0..40_u64, 60),
    ) {
        let memory = Memory::new();
        let whole = request(&[quota]);
        let sized = |size: u64| Acquire::new(whole.subject.clone(), [whole.limits[0].resized(size)]);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (step, size) in steps.iter().zip(&sizes) {
            memory.clock.advance(step.after);
            let seen = [size / 2, *size, size + 7].map(|size| memory.look(&sized(size)).limits[0].remaining);
            // A burst in proportion is rounded up.
            let rounding = u64::from(matches!(quota.algorithm(), Algorithm::TokenBucket { .. }));
            prop_assert!(seen.is_sorted_by(|low, high| *low <= high + rounding), "{:?}", seen);
            let decision = memory.acquire(&sized(*size).with_cost(step.cost).with_take(step.take));
            let state = decision.limits[0];
            prop_assert_eq!(state.limit, *size);
            prop_assert!(state.remaining <= seen[1]);
            admitted.push((decision.now.as_millis(), decision.taken * u64::from(quota.weight())));
        }
        if matches!(quota.algorithm(), Algorithm::Log | Algorithm::Buckets { .. }) {
            let largest = sizes.iter().copied().max().unwrap_or(0);
            let window = u64::try_from(quota.window().as_millis()).expect("a short window");
            for (index, (first, _)) in admitted.iter().enumerate() {
                let within = admitted[index..].iter().filter(|(time, _)| time - first < window);
                let sum: u64 = within.map(|(_, units)| units).sum();
                prop_assert!(sum <= largest, "{} in a window, though at most {}", sum, largest);
            }
        }
    }

    /// P26: whatever the size, an accepted one is counted exactly; resizing to what was
    /// applied changes nothing.
    #[test]
    fn any_size_is_cut_to_one_that_works(quota in quotas(), size in prop_oneof![any::<u64>(), 0..100_u64]) {
        let limit = Limit::new("a", quota).expect("a valid quota");
        let resized = limit.resized(size);
        prop_assert!(resized.quota().limit() <= size);
        prop_assert_eq!(limit.resized(resized.quota().limit()), resized);
        let memory = Memory::new();
        let request = request(&[quota]);
        let all = Acquire::new(request.subject, [resized]).with_cost(9_000);
        let decision = memory.acquire(&all);
        let fits = 9_000 * u64::from(quota.weight()) <= resized.quota().capacity();
        prop_assert_eq!(decision.admitted, fits);
        prop_assert_eq!(decision.retry() == Retry::Never, !fits);
    }
}

#[test]
fn sliding_is_exact_up_to_a_thousand_and_in_twenty_buckets_above() {
    assert_eq!(Quota::sliding(1_000, HOUR), Quota::log(1_000, HOUR));
    assert_eq!(Quota::sliding(1_001, HOUR), Quota::buckets(1_001, HOUR, 20));
    assert_eq!(Quota::per_day(50_000), Quota::buckets(50_000, DAY, 20));
}

#[test]
fn a_quota_that_cannot_work_is_refused_and_told_what_to_write() {
    let refused = [
        (Quota::fixed(0, HOUR), "a limit of 0"),
        (Quota::fixed(1, Duration::ZERO), "a window of 0"),
        (
            Quota::fixed(1, Duration::from_micros(1_500)),
            "whole milliseconds",
        ),
        (Quota::fixed(1, 400 * DAY), "366 days"),
        (Quota::fixed(1, HOUR).with_weight(0), "a weight of 0"),
        (
            Quota::fixed(4, HOUR).with_weight(5),
            "never fits a limit of 4",
        ),
        (Quota::log(10_001, HOUR), "Quota::sliding(10001, ..)"),
        (Quota::counter(1 << 30, HOUR), "2^51"),
        (Quota::buckets(1 << 32, HOUR, 10), "at most 4294967295"),
        (Quota::buckets(5, HOUR, 0), "1 to 100 buckets"),
        (Quota::buckets(5, HOUR, 101), "1 to 100 buckets"),
        (
            Quota::buckets(5, Duration::from_millis(3), 4),
            "at least a millisecond",
        ),
        (
            Quota::token_bucket(1_001, Duration::from_millis(1)),
            "one token a microsecond",
        ),
        (Quota::token_bucket(5, HOUR).with_burst(0), "a burst of 0"),
        (Quota::token_bucket(5, DAY).with_burst(1 << 40), "2^51"),
        (
            Quota::token_bucket(5, DAY).with_burst(2).with_weight(3),
            "never fits a limit of 2",
        ),
        (
            Quota::fixed_aligned(5, HOUR).with_offset(HOUR),
            "less than the window",
        ),
        (
            Quota::fixed(5, HOUR).with_offset(MINUTE),
            "with_offset is for Quota::fixed_aligned",
        ),
        (
            Quota::sliding(5, HOUR).with_burst(9),
            "with_burst is for Quota::token_bucket",
        ),
    ];
    for (quota, why) in refused {
        let error = Limit::new("a", quota).expect_err(why).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}

#[test]
fn a_size_is_cut_to_what_the_algorithm_counts() {
    let most = [
        (Quota::log(1, MINUTE), 10_000),
        (Quota::buckets(1, MINUTE, 10), u64::from(u32::MAX)),
        (Quota::token_bucket(1, MINUTE), 60_000_000),
        (Quota::counter(1, MINUTE), ((1 << 51) - 1) / 60_000),
        (Quota::fixed(1, MINUTE), 999_999_999_999_999),
        (Quota::fixed_aligned(1, MINUTE), 999_999_999_999_999),
    ];
    for (quota, most) in most {
        let limit = Limit::new("a", quota).expect("a valid quota");
        assert_eq!(limit.resized(u64::MAX).quota().limit(), most, "{quota:?}");
    }
}

#[test]
fn the_largest_quotas_that_work_count_without_overflow() {
    let year = 366 * DAY;
    let largest = [
        Quota::fixed(999_999_999_999_999, year),
        Quota::fixed_aligned(999_999_999_999_999, year),
        Quota::counter((1 << 51) / 31_622_400_000 - 1, year),
        Quota::buckets(u64::from(u32::MAX), year, 100),
        Quota::token_bucket(31_622_400_000_000, year),
        Quota::token_bucket(1, year).with_burst(71),
    ];
    for quota in largest {
        let memory = Memory::new();
        let request = request(&[quota]);
        let all = request.clone().with_cost(quota.capacity());
        assert!(memory.acquire(&all).admitted, "{quota:?}");
        assert!(!memory.acquire(&request).admitted, "{quota:?}");
        assert!(matches!(memory.acquire(&all).retry(), Retry::After(_)));
    }
}

#[test]
fn a_ban_that_cannot_work_is_refused_and_told_what_to_write() {
    let refused = [
        (Ban::after(0).within(HOUR).lasting(HOUR), "Ban::after(1)"),
        (Ban::after(3).lasting(HOUR), ".within(..)"),
        (Ban::after(3).within(HOUR), ".lasting(..)"),
        (Ban::after(3).within(HOUR).lasting(400 * DAY), "366 days"),
    ];
    for (ban, why) in refused {
        let error = Strikes::new("a", ban).expect_err(why).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}
