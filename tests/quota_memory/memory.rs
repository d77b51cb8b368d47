//! A memory backend on a clock that the test moves.

use std::{future::Future, time::Duration};

use tower_stash::{
    backend::{Acquire, Decision, Limit, MemoryBackend, Quota, Quotas as _, Receipt, Take},
    testing::ManualClock,
};

use crate::quota_oracle::{Fixture, Step, subject};

pub(crate) struct Memory {
    pub(crate) backend: MemoryBackend,
    pub(crate) clock: ManualClock,
    runtime: tokio::runtime::Runtime,
}

impl Memory {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn acquire(&self, request: &Acquire) -> Decision {
        self.block_on(self.backend.acquire(request))
            .expect("memory answers")
    }

    pub(crate) fn look(&self, request: &Acquire) -> Decision {
        self.acquire(&request.clone().with_cost(0))
    }

    pub(crate) fn refund(&self, receipt: &Receipt) {
        self.block_on(self.backend.refund(receipt))
            .expect("memory answers");
    }

    /// Makes the steps, and gives what each decided.
    pub(crate) fn run(&self, request: &Acquire, steps: &[Step]) -> Vec<Decision> {
        let mut decisions = Vec::with_capacity(steps.len());
        for step in steps {
            self.clock.advance(step.after);
            let request = request.clone().with_cost(step.cost).with_take(step.take);
            decisions.push(self.acquire(&request));
        }
        decisions
    }

    /// Takes what is left of everything.
    pub(crate) fn exhaust(&self, request: &Acquire) {
        let all = request.clone().with_cost(1_000_000).with_take(Take::UpTo);
        self.acquire(&all);
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

/// A request of cost one for limits with these quotas, each of a name of its own.
pub(crate) fn request(quotas: &[Quota]) -> Acquire {
    let limits = (0_u64..)
        .zip(quotas)
        .map(|(name, quota)| Limit::new(name, *quota).expect("a valid quota"));
    Acquire::new(subject(0), limits.collect::<Vec<_>>())
}

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
