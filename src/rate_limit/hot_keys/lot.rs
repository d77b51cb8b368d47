//! What one call took for several requests.

use crate::backend::{Decision, Limit, LimitState, Retry};

/// Units that were taken from the backend and not yet given to a request.
pub(super) struct Lot {
    /// What the backend told when it gave them.
    told: Decision,
    left: u64,
}

impl Lot {
    /// What this decision took.
    pub(super) fn new(told: Decision) -> Self {
        Self {
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
        let limits = self.told.limits.iter().map(|state| LimitState {
            remaining: state.remaining.saturating_add(self.left),
            retry: Retry::Now,
            ..*state
        });
        Some(Decision::admitted(cost, self.told.now, limits.collect()))
    }

    /// What the backend would have told a request that gets nothing.
    ///
    /// The wait for one more unit is the wait for this cost if the cost is one, or the limit's
    /// window has an end.
    pub(super) fn denial(&self, cost: u64, limits: &[Limit]) -> Decision {
        let limits = limits.iter().zip(&self.told.limits);
        let states = limits.map(|(limit, state)| {
            let weight = u64::from(limit.quota().weight());
            let retry = if cost <= state.remaining {
                Retry::Now
            } else if cost.saturating_mul(weight) > state.limit {
                Retry::Never
            } else {
                Retry::After(state.reset.unwrap_or_default())
            };
            LimitState {
                remaining: state.remaining.saturating_add(self.left),
                retry,
                ..*state
            }
        });
        Decision::denied(self.told.now, states.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        backend::{Acquire, MemoryBackend, Quota, Quotas as _, Take},
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

    fn quota() -> impl Strategy<Value = Quota> {
        let kind = prop_oneof![
            Just(Quota::sliding as fn(u64, Duration) -> Quota),
            Just(Quota::counter as fn(u64, Duration) -> Quota),
            Just(Quota::fixed as fn(u64, Duration) -> Quota),
            Just(Quota::fixed_aligned as fn(u64, Duration) -> Quota),
        ];
        (kind, 2_u64..12, 1_u32..3)
            .prop_map(|(kind, limit, weight)| kind(limit, MINUTE).with_weight(weight))
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
            let mut lot = Lot::new(decide(&at_once, &all));
            for _ in 0..together {
                let expected = decide(&in_turn, &asks);
                let dealt = lot.spend(1).unwrap_or_else(|| lot.denial(1, &asks.limits));
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
        let lot = Lot::new(decide(&backend(&asks, &[]), &asks));
        assert_eq!(lot.denial(3, &asks.limits).retry(), Retry::Never);
        assert_eq!(lot.denial(2, &asks.limits).retry(), Retry::After(MINUTE));
    }
}
