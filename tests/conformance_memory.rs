//! The conformance suite on the memory backend, with a clock that the cases move.

use std::{process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Trial};
use tower_stash::{
    backend::MemoryBackend,
    clock::{Clock, Timestamp},
    testing::{
        ManualClock,
        conformance::{self, Case, Fixture},
    },
};

fn main() -> ExitCode {
    let trials = [
        trials("key_value", conformance::key_value()),
        trials("index", conformance::index()),
        trials("broadcast", conformance::broadcast()),
        trials("quotas", conformance::quotas()),
        trials("slots", conformance::slots()),
    ];
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// Every case as a test of its own, on a backend of its own.
fn trials(capability: &str, cases: Vec<Case<Memory>>) -> Vec<Trial> {
    let trial = |case: Case<Memory>| {
        Trial::test(format!("{capability}::{}", case.name()), move || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(4)
                .enable_time()
                .build()?
                .block_on(case.run(Arc::new(Memory::new())));
            Ok(())
        })
    };
    cases.into_iter().map(trial).collect()
}

struct Memory {
    backend: MemoryBackend,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::new();
        let backend = MemoryBackend::new().with_clock(clock.clone());
        Self { backend, clock }
    }
}

impl Fixture for Memory {
    type Backend = MemoryBackend;

    fn backend(&self) -> &MemoryBackend {
        &self.backend
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}
