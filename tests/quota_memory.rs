//! The limits are theorems: random calls on the memory backend, against brute force.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;
use quota_oracle::{Fixture, agrees_with_brute_force, quotas, steps, subject};
use tower_stash::{backend::MemoryBackend, testing::ManualClock};

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
}
