//! What one call took for several requests.

use std::sync::Arc;

use crate::{
    backend::{Decision, Limit, LimitState, Quota, Retry},
    rate_limit::rule::applied,
};

/// Units that were taken from the backend and not yet given to a request.
pub(super) struct Lot {
    limits: Arc<[Limit]>,
    /// What the backend told of them when it gave the units.
    told: Decision,
    left: u64,
}

impl Lot {
    /// What this decision took of these limits.
    pub(super) fn new(limits: Arc<[Limit]>, told: Decision) -> Self {
        Self {
            limits,
            left: told.taken,
            told,
        }
    }

    /// What the call that took it told.
    pub(super) fn told(&self) -> &Decision {
        &self.told
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Adds what was left of an earlier one, from the same windows.
    pub(super) fn add(&mut self, units: u64) {
        self.left = self.left.saturating_add(units);
    }

    /// Gives a request its cost, if so much is left, with what the backend would have told, had it
    /// been asked for one after the other.
    pub(super) fn spend(&mut self, cost: u64) -> Option<Decision> {
        self.left = self.left.checked_sub(cost)?;
        let states = self.states(|limit, state| LimitState {
            remaining: state.remaining.saturating_add(self.left),
            retry: Retry::Now,
            mark: applied(limit, state).mark_before(state.mark, self.left),
            ..*state
        });
        Some(Decision::admitted(cost, self.told.now, states))
    }

    /// What the backend would have told a request that gets nothing.
    ///
    /// The wait for one more unit is the wait for this cost if the cost is one, or the limit's
    /// window has an end.
    pub(super) fn denial(&self, cost: u64) -> Decision {
        let states = self.states(|limit, state| LimitState {
            remaining: state.remaining.saturating_add(self.left),
            retry: match state.reset {
                _ if cost <= state.remaining => Retry::Now,
                Some(reset) if can_fit(cost, &applied(limit, state)) => Retry::After(reset),
                _ => Retry::Never,
            },
            ..*state
        });
        Decision::denied(self.told.now, states)
    }

    fn states(&self, state: impl Fn(&Limit, &LimitState) -> LimitState) -> Vec<LimitState> {
        let limits = self.limits.iter().zip(&self.told.limits);
        limits.map(|(limit, told)| state(limit, told)).collect()
    }
}

fn can_fit(cost: u64, quota: &Quota) -> bool {
    quota.weighed(cost) <= quota.capacity()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        backend::{Acquire, MemoryBackend, Quotas as _, Take},
        clock::Timestamp,
        key::{Key, KeyParts},
        testing::ManualClock,
    };

    const MINUTE: Duration = Duration::from_secs(60);

    fn asks(quotas: &[Quota]) -> Acquire {
        let names = ["a", "b", "c", "d"];
        let limits = names.iter().zip(quotas);
        let limits = limits.map(|(name, quota)| Limit::new(*name, *quota).expect("it can work"));
        let subject = Key::custom("hot", &KeyParts::new());
        Acquire::new(subject, limits.collect::<Vec<_>>())
    }

    /// What a backend answers that has answered these calls before, on a clock that stands still.
    fn backend(asks: &Acquire, earlier: &[u64]) -> MemoryBackend {
        let start = Timestamp::from_millis(1_767_225_600_000);
        let clock = ManualClock::at(start);
        let backend = MemoryBackend::new().with_clock(clock.clone());
        for time in earlier {
            clock.set(start + Duration::from_millis(*time));
            decide(&backend, asks);
        }
        backend
    }

    fn decide(backend: &MemoryBackend, asks: &Acquire) -> Decision {
        let decision = backend.acquire(asks).now_or_never();
        decision
            .expect("it need not wait")
            .expect("it can be asked")
    }

    fn ten_buckets(limit: u64, window: Duration) -> Quota {
        Quota::buckets(limit, window, 10)
    }

    fn quota() -> impl Strategy<Value = Quota> {
        let kind = prop_oneof![
            Just(Quota::sliding as fn(u64, Duration) -> Quota),
            Just(Quota::counter as fn(u64, Duration) -> Quota),
            Just(Quota::fixed as fn(u64, Duration) -> Quota),
            Just(Quota::fixed_aligned as fn(u64, Duration) -> Quota),
            Just(Quota::token_bucket as fn(u64, Duration) -> Quota),
            Just(ten_buckets as fn(u64, Duration) -> Quota),
        ];
        let any = (kind, 2_u64..12, 1_u32..3)
            .prop_map(|(kind, limit, weight)| kind(limit, MINUTE).with_weight(weight));
        // A bucket may hold more or less than it gains in a window.
        let bucket = (1_u64..12, 1_u64..24).prop_flat_map(|(limit, burst)| {
            let most = u32::try_from(burst).unwrap_or(u32::MAX);
            (1..=most).prop_map(move |weight| {
                let bucket = Quota::token_bucket(limit, MINUTE);
                bucket.with_burst(burst).with_weight(weight)
            })
        });
        prop_oneof![4 => any, 1 => bucket]
    }

    proptest! {
        #[test]
        fn one_call_for_many_deals_out_what_a_call_for_each_would_have_brought(
            quotas in prop::collection::vec(quota(), 1..4),
            earlier in prop::collection::vec(0_u64..90_000, 0..12),
            together in 1_u64..12,
        ) {
            let asks = asks(&quotas);
            let mut earlier = earlier;
            earlier.sort_unstable();
            let in_turn = backend(&asks, &earlier);
            let at_once = backend(&asks, &earlier);
            let all = asks.clone().with_cost(together).with_take(Take::UpTo);
            let mut lot = Lot::new(Arc::clone(&asks.limits), decide(&at_once, &all));
            for _ in 0..together {
                let expected = decide(&in_turn, &asks);
                let dealt = lot.spend(1).unwrap_or_else(|| lot.denial(1));
                prop_assert_eq!(dealt.admitted, expected.admitted);
                prop_assert_eq!(remaining(&dealt), remaining(&expected));
                prop_assert_eq!(dealt.retry(), expected.retry());
                if expected.admitted {
                    prop_assert_eq!(dealt.receipt(&asks), expected.receipt(&asks));
                }
            }
        }
    }

    fn remaining(decision: &Decision) -> Vec<u64> {
        decision
            .limits
            .iter()
            .map(|state| state.remaining)
            .collect()
    }

    #[test]
    fn what_can_never_be_is_told_so() {
        let asks = asks(&[Quota::fixed(4, MINUTE).with_weight(2)]);
        let told = decide(&backend(&asks, &[]), &asks);
        let lot = Lot::new(asks.limits, told);
        assert_eq!(lot.denial(3).retry(), Retry::Never);
        assert_eq!(lot.denial(2).retry(), Retry::After(MINUTE));
    }

    #[test]
    fn a_call_that_weighs_more_than_a_bucket_gains_in_a_window_fits_its_burst() {
        let quota = Quota::token_bucket(10, MINUTE)
            .with_burst(40)
            .with_weight(20);
        let asks = asks(&[quota]);
        let all = asks.clone().with_cost(2).with_take(Take::UpTo);
        let mut lot = Lot::new(Arc::clone(&asks.limits), decide(&backend(&asks, &[]), &all));
        assert!(lot.spend(1).is_some() && lot.spend(1).is_some());
        assert_eq!(lot.denial(1).retry(), Retry::After(2 * MINUTE));
    }
}
