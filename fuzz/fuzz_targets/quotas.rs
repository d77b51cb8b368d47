//! Bytes as calls to quotas in memory: no panic, and never more than what the quota promises.
#![no_main]

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tower_stash::{
    backend::{Acquire, Algorithm, Decision, Limit, MemoryBackend, Quota, Quotas as _, Take},
    clock::{Clock as _, Timestamp},
    key::{Key, KeyParts},
    testing::ManualClock,
};

#[derive(Arbitrary, Debug)]
struct Input {
    kind: u8,
    limit: u8,
    window: u16,
    weight: u8,
    calls: Vec<Call>,
}

#[derive(Arbitrary, Debug)]
enum Call {
    Wait(u16),
    Step(u16),
    Acquire(u8),
    UpTo(u8),
    Refund(u8),
    Reset,
}

fuzz_target!(|input: Input| {
    let limit = u64::from(input.limit.max(1));
    let window = Duration::from_millis(u64::from(input.window.max(1)));
    let quota = match input.kind % 6 {
        0 => Quota::fixed(limit, window),
        1 => Quota::fixed_aligned(limit, window),
        2 => Quota::counter(limit, window),
        3 => Quota::log(limit, window),
        4 => Quota::buckets(limit, window, 1 + u32::from(input.kind / 6)),
        _ => Quota::token_bucket(limit, window).with_burst(1 + u64::from(input.kind / 6)),
    };
    let quota = quota.with_weight(1 + u32::from(input.weight % 4));
    let Ok(limit) = Limit::new("limit", quota) else {
        return;
    };
    Run::of(limit).all(&input.calls);
});

/// A subject of one limit, and what it took.
struct Run {
    backend: MemoryBackend,
    clock: ManualClock,
    request: Acquire,
    quota: Quota,
    taken: Vec<(Timestamp, Acquire, Decision)>,
    /// Whether the clock only moved on and nothing was given back, so that bounds hold.
    is_plain: bool,
}

impl Run {
    fn of(limit: Limit) -> Self {
        let clock = ManualClock::new();
        let subject = Key::custom("fuzz", &KeyParts::new());
        Self {
            backend: MemoryBackend::new().with_clock(clock.clone()),
            clock,
            quota: *limit.quota(),
            request: Acquire::new(subject, [limit]),
            taken: Vec::new(),
            is_plain: true,
        }
    }

    fn all(mut self, calls: &[Call]) {
        for call in calls {
            match call {
                Call::Wait(millis) => self.clock.advance(Duration::from_millis((*millis).into())),
                Call::Step(millis) => {
                    self.is_plain = false;
                    let back = Duration::from_millis((*millis).into());
                    self.clock.set(self.clock.now() - back);
                }
                Call::Acquire(cost) => self.acquire(u64::from(*cost), Take::All),
                Call::UpTo(cost) => self.acquire(u64::from(*cost), Take::UpTo),
                Call::Refund(index) => self.refund((*index).into()),
                Call::Reset => {
                    self.is_plain = false;
                    let Acquire {
                        subject, limits, ..
                    } = &self.request;
                    at_once(self.backend.reset(subject, limits)).expect("memory answers");
                }
            }
        }
        if self.is_plain {
            self.check_bound();
        }
    }

    fn acquire(&mut self, cost: u64, take: Take) {
        let request = self.request.clone().with_cost(cost).with_take(take);
        let decision = at_once(self.backend.acquire(&request)).expect("memory answers");
        let capacity = self.quota.capacity() / u64::from(self.quota.weight());
        let [state] = &*decision.limits else {
            panic!("one limit, {decision:?}")
        };
        assert!(state.remaining <= capacity, "{decision:?}");
        assert!(decision.taken <= cost, "{decision:?}");
        assert!(decision.taken <= capacity, "{decision:?}");
        if decision.taken > 0 {
            self.taken.push((self.clock.now(), request, decision));
        }
    }

    fn refund(&mut self, index: usize) {
        let Some((_, request, decision)) = self.taken.get(index) else {
            return;
        };
        self.is_plain = false;
        let receipt = decision.receipt(request);
        at_once(self.backend.refund(&receipt)).expect("memory answers");
    }

    /// The most in any half-open window, in units.
    fn check_bound(&self) {
        let limit = self.quota.limit();
        let most = match self.quota.algorithm() {
            Algorithm::Log | Algorithm::Buckets { .. } => limit,
            Algorithm::Fixed | Algorithm::FixedAligned { .. } | Algorithm::Counter => 2 * limit,
            Algorithm::TokenBucket { burst } => burst + limit,
            other => panic!("{other:?} is not tried"),
        };
        for (start, _, _) in &self.taken {
            let within = |(time, _, _): &&(Timestamp, _, Decision)| {
                time >= start && *time < *start + self.quota.window()
            };
            let taken = self.taken.iter().filter(within);
            let calls: u64 = taken.map(|(_, _, decision)| decision.taken).sum();
            let units = calls * u64::from(self.quota.weight());
            assert!(units <= most, "{units} of {most}: {:?}", self.quota);
        }
    }
}

/// The result of a future that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("memory never waits"),
    }
}
