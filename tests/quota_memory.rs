//! The limits are theorems: random calls on the memory backend, against brute force.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use quota_oracle::{Fixture, agrees_with_brute_force, quotas, steps, subject};
use tower_stash::{
    backend::{Acquire, Algorithm, Limit, MemoryBackend, Quotas as _, Retry},
    clock::Clock as _,
    testing::ManualClock,
};

#[path = "support/quota_oracle.rs"]
mod quota_oracle;

struct Memory {
    backend: MemoryBackend,
    clock: ManualClock,
    runtime: tokio::runtime::Runtime,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::new();
        let backend = MemoryBackend::new().with_clock(clock.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        Self {
            backend,
            clock,
            runtime,
        }
    }
}

impl Fixture for Memory {
    type Backend = MemoryBackend;

    fn backend(&self) -> &MemoryBackend {
        &self.backend
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn block_on<T>(&self, case: impl Future<Output = T>) -> T {
        self.runtime.block_on(case)
    }
}

fn next_case() -> u64 {
    static CASES: AtomicU64 = AtomicU64::new(0);
    CASES.fetch_add(1, Ordering::Relaxed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_decision_of_one_limit_is_what_brute_force_says(quota in quotas(), steps in steps(60)) {
        agrees_with_brute_force(&Memory::new(), &subject(next_case()), &[quota], &steps)?;
    }

    #[test]
    fn every_decision_of_several_limits_is_what_brute_force_says(
        quotas in prop::collection::vec(quotas(), 2..=4),
        steps in steps(40),
    ) {
        agrees_with_brute_force(&Memory::new(), &subject(next_case()), &quotas, &steps)?;
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out(
        quota in quotas(),
        steps in steps(40),
        back in prop_oneof![1..200_000_u64, 1..4_000_000_000_u64],
    ) {
        let memory = Memory::new();
        let subject = subject(next_case());
        agrees_with_brute_force(&memory, &subject, &[quota], &steps)?;
        let request = Acquire::new(subject, [Limit::new("a", quota).expect("a valid quota")]);
        memory.block_on(async {
            let acquire = async || memory.backend.acquire(&request).await.expect("memory answers");
            while acquire().await.admitted {}
            memory.clock.set(memory.clock.now() - Duration::from_millis(back));

            let millisecond = Duration::from_millis(1);
            let (longest, unit) = match quota.algorithm() {
                Algorithm::Counter => (3 * quota.window(), millisecond),
                // A bucket more than the window has, and each is rounded up.
                Algorithm::Buckets { buckets } => {
                    (2 * quota.window() + quota.window() / buckets + (buckets + 1) * millisecond, millisecond)
                }
                Algorithm::TokenBucket { burst } => {
                    let filling = quota.window().as_micros().div_ceil(quota.limit().into()) * u128::from(burst);
                    let filling = Duration::from_micros(u64::try_from(filling).expect("a short time"));
                    (2 * filling, Duration::from_micros(1))
                }
                _ => (2 * quota.window(), millisecond),
            };
            let decision = acquire().await;
            if let Retry::After(wait) = decision.retry() {
                prop_assert!(wait <= longest, "told to wait {:?}", wait);
                memory.clock.advance(wait.saturating_sub(unit));
                prop_assert!(!acquire().await.admitted, "a shorter wait was enough");
                memory.clock.advance(unit);
                prop_assert!(acquire().await.admitted, "the wait was not enough");
            } else {
                prop_assert!(decision.admitted);
            }
            // Whatever was forgotten, no more than the limit is admitted at one moment.
            let mut more = 0;
            while acquire().await.admitted {
                more += u64::from(quota.weight());
            }
            prop_assert!(more <= quota.capacity());
            Ok(())
        })?;
    }
}
