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
    (0..KINDS, 1..=20_u64, window, 1..=3_u32, 0..60_000_u64).prop_map(
        |(kind, limit, window, weight, detail)| {
            quota(kind, limit.max(u64::from(weight)), window, detail).with_weight(weight)
        },
    )
}

/// How many kinds of [`quota`] there are.
pub(crate) const KINDS: u8 = 7;

/// A quota of one of the algorithms; what only it has is made of the detail.
pub(crate) fn quota(kind: u8, limit: u64, window: Duration, detail: u64) -> Quota {
    match kind {
        0 => Quota::log(limit, window),
        1 => Quota::counter(limit, window),
        2 => Quota::fixed(limit, window),
        3 => Quota::fixed_aligned(limit, window).with_offset(Duration::from_millis(detail)),
        4 => Quota::buckets(
            limit,
            window,
            1 + u32::try_from(detail % 12).expect("a small one"),
        ),
        5 => Quota::token_bucket(limit, window),
        _ => Quota::token_bucket(1 + detail % 30, window).with_burst(limit),
    }
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
    let now = now.as_micros();
    let fitting = |cost: u64| oracle.iter().all(|limit| limit.fits(now, cost));
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
        now
    );

    let asked = match step.take {
        _ if admitted => 0,
        Take::All => step.cost,
        Take::UpTo => 1,
    };
    for (limit, state) in oracle.iter_mut().zip(&decision.limits) {
        limit.hit(now, taken);
        prop_assert_eq!(
            state.remaining,
            limit.remaining(now),
            "remaining of {:?}",
            limit
        );
        prop_assert_eq!(state.retry, limit.retry(now, asked), "retry of {:?}", limit);
        let reset = match limit.retry(now, state.remaining + 1) {
            Retry::After(wait) => Some(wait),
            Retry::Now | Retry::Never => None,
        };
        prop_assert_eq!(state.reset, reset, "reset of {:?}", limit);
    }
    Ok(())
}

/// All that one limit ever admitted: at which microsecond, and how many units.
#[derive(Debug)]
struct Admitted {
    quota: Quota,
    hits: Vec<(u64, u64)>,
}

impl Admitted {
    fn hit(&mut self, now: u64, cost: u64) {
        if cost > 0 {
            self.hits.push((now, self.units(cost)));
        }
    }

    /// What a call of this cost counts.
    fn units(&self, cost: u64) -> u64 {
        cost * u64::from(self.quota.weight())
    }

    /// Units admitted at milliseconds of which this holds.
    fn sum(&self, when: impl Fn(u64) -> bool) -> u64 {
        self.hits
            .iter()
            .filter(|(time, _)| when(time / 1_000))
            .map(|(_, units)| units)
            .sum()
    }

    /// Whether a call at this microsecond fits; all but the token bucket know milliseconds only.
    fn fits(&self, micros: u64, cost: u64) -> bool {
        let now = micros / 1_000;
        let units = self.units(cost);
        let window = millis(self.quota.window());
        let limit = self.quota.limit();
        match self.quota.algorithm() {
            Algorithm::Log => self.sum(|time| time + window > now) + units <= limit,
            Algorithm::Buckets { buckets } => {
                let buckets = u64::from(buckets);
                let width = window.div_ceil(buckets);
                self.sum(|time| time / width + buckets >= now / width) + units <= limit
            }
            Algorithm::TokenBucket { burst } => {
                units <= burst && units * self.interval() <= self.level(micros, burst)
            }
            Algorithm::Fixed => {
                let start = self.anchored_start(now);
                start.map_or(0, |start| self.sum(|time| time >= start)) + units <= limit
            }
            Algorithm::FixedAligned { offset } => {
                let number = |time: u64| (time - millis(offset)) / window;
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
        let window = millis(self.quota.window());
        let mut start: Option<u64> = None;
        for (time, _) in &self.hits {
            let time = time / 1_000;
            if start.is_none_or(|start| time >= start + window) {
                start = Some(time);
            }
        }
        start.filter(|start| now < start + window)
    }

    /// What is in a bucket that began full: each microsecond brings a drop, and a token is as many
    /// drops as its interval has microseconds.
    fn level(&self, now: u64, burst: u64) -> u64 {
        let full = burst * self.interval();
        let (mut level, mut last) = (full, 0);
        for (time, units) in &self.hits {
            level = full.min(level + (time - last)) - units * self.interval();
            last = *time;
        }
        full.min(level + (now - last))
    }

    /// Microseconds from one token to the next.
    fn interval(&self) -> u64 {
        (millis(self.quota.window()) * 1_000).div_ceil(self.quota.limit())
    }

    /// How many calls of cost one fit.
    fn remaining(&self, now: u64) -> u64 {
        let calls = 0..=self.quota.capacity();
        calls
            .rev()
            .find(|calls| self.fits(now, *calls))
            .unwrap_or(0)
    }

    /// The first millisecond, or microsecond of a token bucket, at which it fits, found by
    /// bisection: waiting never makes less fit.
    fn retry(&self, now: u64, cost: u64) -> Retry {
        if self.units(cost) > self.quota.capacity() {
            return Retry::Never;
        }
        if self.fits(now, cost) {
            return Retry::Now;
        }
        let (unit, longest) = match self.quota.algorithm() {
            Algorithm::TokenBucket { burst } => (1, burst * self.interval()),
            _ => (1_000, 3 * millis(self.quota.window())),
        };
        let now = now - now % unit;
        let (mut denied, mut admitted) = (0, longest);
        while admitted - denied > 1 {
            let middle = u64::midpoint(denied, admitted);
            if self.fits(now + middle * unit, cost) {
                admitted = middle;
            } else {
                denied = middle;
            }
        }
        Retry::After(Duration::from_micros(admitted * unit))
    }

    /// The most that was admitted in any window, against what the algorithm promises.
    fn keeps_its_bound(&self) -> Result<(), TestCaseError> {
        let limit = self.quota.limit();
        let window = millis(self.quota.window());
        let bound = match self.quota.algorithm() {
            Algorithm::TokenBucket { burst } => return self.never_outruns(burst),
            Algorithm::Log | Algorithm::Buckets { .. } => limit,
            Algorithm::FixedAligned { .. } => 2 * limit,
            _ if self.hits.iter().any(|(_, units)| *units > 1) => 2 * limit,
            _ => 2 * limit - 1,
        };
        for (start, _) in &self.hits {
            let start = start / 1_000;
            let most = self.sum(|time| time >= start && time < start + window);
            prop_assert!(
                most <= bound,
                "{} admitted within a window of {:?}",
                most,
                self.quota
            );
        }
        Ok(())
    }

    /// From any hit to any later one, both counted, no more came than the burst
    /// and what was gained since.
    fn never_outruns(&self, burst: u64) -> Result<(), TestCaseError> {
        for (index, (start, _)) in self.hits.iter().enumerate() {
            let mut sum = 0;
            for (time, units) in self.hits.iter().skip(index) {
                sum += units;
                let most = burst + (time - start) / self.interval();
                prop_assert!(sum <= most, "{} of {:?}", sum, self.quota);
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short one")
}
