//! What quotas owe, worked out by brute force: no formulas, no stored state but the list of what
//! was admitted, and waits found by trying.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{future::Future, time::Duration};

use proptest::prelude::*;
use tower_stash::{
    backend::{Acquire, Algorithm, Decision, Limit, Quota, Quotas, Retry, Take},
    clock::Timestamp,
    key::{Key, KeyParts},
    testing::ManualClock,
};

/// A backend under test, and its clock.
pub(crate) trait Fixture {
    type Backend: Quotas;

    fn backend(&self) -> &Self::Backend;
    fn clock(&self) -> &ManualClock;

    /// Runs one case to its end.
    fn block_on<T>(&self, case: impl Future<Output = T>) -> T;
}

/// One call at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// How long after the step before.
    pub(crate) after: Duration,
    pub(crate) cost: u64,
    pub(crate) take: Take,
}

/// Quotas small enough that everything happens in a few dozen steps. Windows are a minute or more,
/// because a store may drop what is over by its own clock.
pub(crate) fn quotas() -> impl Strategy<Value = Quota> {
    let window = prop_oneof![Just(60_000_u64), Just(90_001), Just(3_600_000)]
        .prop_map(Duration::from_millis);
    (0..4_u8, 1..=20_u64, window, 1..=3_u32, 0..60_000_u64).prop_map(
        |(kind, limit, window, weight, offset)| {
            let limit = limit.max(u64::from(weight));
            let quota = match kind {
                0 => Quota::sliding(limit, window),
                1 => Quota::counter(limit, window),
                2 => Quota::fixed(limit, window),
                _ => Quota::fixed_aligned(limit, window).with_offset(Duration::from_millis(offset)),
            };
            quota.with_weight(weight)
        },
    )
}

/// Steps around everything that matters to windows of these lengths: their edges, and a millisecond
/// beside them.
pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        4 => Just(0_u64),
        2 => 0..5_u64,
        4 => 0..30_000_u64,
        1 => prop_oneof![Just(59_999_u64), Just(60_000), Just(60_001), Just(90_000), Just(90_001), Just(90_002)],
        1 => 0..200_000_u64,
        1 => Just(7_200_000_u64),
    ];
    let cost = prop_oneof![6 => Just(1_u64), 1 => Just(0), 2 => 0..6_u64, 1 => 0..25_u64];
    let take = prop_oneof![4 => Just(Take::All), 1 => Just(Take::UpTo)];
    let step = (after, 0..1_000_u64, cost, take).prop_map(|(millis, micros, cost, take)| Step {
        after: Duration::from_micros(millis * 1_000 + micros),
        cost,
        take,
    });
    prop::collection::vec(step, 1..count)
}

/// Runs the steps on the backend and compares every decision with the oracle's.
pub(crate) fn agrees_with_brute_force<F: Fixture>(
    fixture: &F,
    subject: &Key,
    quotas: &[Quota],
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let names = ["a", "b", "c", "d"];
    let limits: Vec<Limit> = quotas
        .iter()
        .zip(names)
        .map(|(quota, name)| Limit::new(name, *quota).expect("a valid quota"))
        .collect();
    let mut oracle: Vec<Admitted> = quotas
        .iter()
        .map(|quota| Admitted {
            quota: *quota,
            hits: Vec::new(),
        })
        .collect();
    fixture.block_on(async {
        for step in steps {
            fixture.clock().advance(step.after);
            let now = tower_stash::clock::Clock::now(fixture.clock());
            let request = Acquire::new(subject.clone(), limits.clone())
                .with_cost(step.cost)
                .with_take(step.take);
            let decision = fixture
                .backend()
                .acquire(&request)
                .await
                .expect("the backend answers");
            prop_assert_eq!(decision.now, now);
            check(&mut oracle, now, *step, &decision)?;
        }
        for admitted in &oracle {
            admitted.keeps_its_bound()?;
        }
        Ok(())
    })
}

/// A subject that no other case uses.
pub(crate) fn subject(case: u64) -> Key {
    Key::custom("quota-oracle", &KeyParts::new().with(case))
}

fn check(
    oracle: &mut [Admitted],
    now: Timestamp,
    step: Step,
    decision: &Decision,
) -> Result<(), TestCaseError> {
    let millis = now.as_millis();
    let fitting = |cost: u64| oracle.iter().all(|limit| limit.fits(millis, cost));
    let taken = match step.take {
        Take::All => {
            if fitting(step.cost) {
                step.cost
            } else {
                0
            }
        }
        Take::UpTo => (0..=step.cost)
            .rev()
            .find(|cost| fitting(*cost))
            .unwrap_or(0),
    };
    let admitted = taken > 0 || step.cost == 0;
    prop_assert_eq!(
        (decision.admitted, decision.taken),
        (admitted, taken),
        "{:?} at {}",
        step,
        millis
    );

    let asked = match step.take {
        _ if admitted => 0,
        Take::All => step.cost,
        Take::UpTo => 1,
    };
    for (limit, state) in oracle.iter_mut().zip(&decision.limits) {
        limit.hit(millis, taken);
        prop_assert_eq!(
            state.remaining,
            limit.remaining(millis),
            "remaining of {:?}",
            limit
        );
        prop_assert_eq!(
            state.retry,
            limit.retry(millis, asked),
            "retry of {:?}",
            limit
        );
        let reset = match limit.retry(millis, state.remaining + 1) {
            Retry::After(wait) => Some(wait),
            Retry::Now | Retry::Never => None,
        };
        prop_assert_eq!(state.reset, reset, "reset of {:?}", limit);
    }
    Ok(())
}

/// All that one limit ever admitted: when, and how many units.
#[derive(Debug)]
struct Admitted {
    quota: Quota,
    hits: Vec<(u64, u64)>,
}

impl Admitted {
    fn window(&self) -> u64 {
        u64::try_from(self.quota.window().as_millis()).expect("a short window")
    }

    fn hit(&mut self, now: u64, cost: u64) {
        if cost > 0 {
            self.hits.push((now, self.units(cost)));
        }
    }

    /// What a call of this cost counts.
    fn units(&self, cost: u64) -> u64 {
        cost * u64::from(self.quota.weight())
    }

    /// Units admitted at times of which this holds.
    fn sum(&self, when: impl Fn(u64) -> bool) -> u64 {
        self.hits
            .iter()
            .filter(|(time, _)| when(*time))
            .map(|(_, units)| units)
            .sum()
    }

    fn fits(&self, now: u64, cost: u64) -> bool {
        let units = self.units(cost);
        let window = self.window();
        let limit = self.quota.limit();
        match self.quota.algorithm() {
            Algorithm::Log => self.sum(|time| time + window > now) + units <= limit,
            Algorithm::Fixed => {
                let start = self.anchored_start(now);
                start.map_or(0, |start| self.sum(|time| time >= start)) + units <= limit
            }
            Algorithm::FixedAligned { offset } => {
                let offset = u64::try_from(offset.as_millis()).expect("a short offset");
                let number = |time: u64| (time - offset) / window;
                self.sum(|time| number(time) == number(now)) + units <= limit
            }
            Algorithm::Counter => {
                let (number, elapsed) = (now / window, now % window);
                let current = self.sum(|time| time / window == number);
                let previous = self.sum(|time| time / window + 1 == number);
                u128::from(current + units) * u128::from(window)
                    + u128::from(previous) * u128::from(window - elapsed)
                    <= u128::from(limit) * u128::from(window)
            }
            other => panic!("no oracle for {other:?}"),
        }
    }

    /// When the anchored window began that lasts now: with the first hit after the one before.
    fn anchored_start(&self, now: u64) -> Option<u64> {
        let mut start: Option<u64> = None;
        for (time, _) in &self.hits {
            if start.is_none_or(|start| *time >= start + self.window()) {
                start = Some(*time);
            }
        }
        start.filter(|start| now < start + self.window())
    }

    /// How many calls of cost one fit.
    fn remaining(&self, now: u64) -> u64 {
        let calls = 0..=self.quota.limit();
        calls
            .rev()
            .find(|calls| self.fits(now, *calls))
            .unwrap_or(0)
    }

    /// The first millisecond at which it fits, found by bisection: waiting never makes less fit.
    fn retry(&self, now: u64, cost: u64) -> Retry {
        if self.units(cost) > self.quota.limit() {
            return Retry::Never;
        }
        if self.fits(now, cost) {
            return Retry::Now;
        }
        let (mut denied, mut admitted) = (0, 3 * self.window());
        while admitted - denied > 1 {
            let middle = u64::midpoint(denied, admitted);
            if self.fits(now + middle, cost) {
                admitted = middle;
            } else {
                denied = middle;
            }
        }
        Retry::After(Duration::from_millis(admitted))
    }

    /// The most that was admitted in any window, against what the algorithm promises.
    fn keeps_its_bound(&self) -> Result<(), TestCaseError> {
        let limit = self.quota.limit();
        let bound = match self.quota.algorithm() {
            Algorithm::Log => limit,
            Algorithm::FixedAligned { .. } => 2 * limit,
            _ if self.quota.weight() > 1 || self.hits.iter().any(|(_, units)| *units > 1) => {
                2 * limit
            }
            _ => 2 * limit - 1,
        };
        for (start, _) in &self.hits {
            let end = start + self.window();
            let most = self.sum(|time| time >= *start && time < end);
            prop_assert!(
                most <= bound,
                "{} admitted within a window of {:?}",
                most,
                self.quota
            );
        }
        Ok(())
    }
}
