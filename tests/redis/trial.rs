//! From an `async` function to a test.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    servers::{Result, Servers, Topology, valkey},
    stress::stressed,
};

/// Makes tests that share one runtime and one set of servers.
#[derive(Clone, Debug)]
pub(crate) struct Bed {
    runtime: Handle,
    servers: Arc<Servers>,
}

impl Bed {
    pub(crate) fn new(runtime: Handle, servers: Arc<Servers>) -> Self {
        Self { runtime, servers }
    }

    /// The test `topology::name`, which fails when it takes longer than a minute,
    /// or than its stress allows.
    ///
    /// Tests run side by side, so each has to stay in a [`namespace`] of its own.
    pub(crate) fn trial<T>(&self, topology: Topology, name: &str, test: T) -> Trial
    where
        T: AsyncFnOnce(&Servers) -> Result<()> + Send + 'static,
    {
        let Self { runtime, servers } = self.clone();
        let time_limit = TIME_LIMIT * stressed(1);
        let run = move || {
            runtime
                .block_on(async { timeout(time_limit, test(&servers)).await })
                .map_err(|_| Failed::from(format!("not done after {time_limit:?}")))?
                .map_err(Failed::from)
        };
        let skipped = topology == Topology::Valkey && !valkey_is_tested();
        Trial::test(format!("{topology}::{name}"), run).with_ignored_flag(skipped)
    }
}

/// The functions of a suite as tests: `trials!(bed, "suite": Topology::function ...)`.
macro_rules! trials {
    ($bed:expr, $suite:literal: $($topology:ident :: $test:ident)*) => {
        vec![$($bed.trial(
            $crate::servers::Topology::$topology,
            concat!($suite, "::", stringify!($test)),
            $test,
        )),*]
    };
}

pub(crate) use trials;

/// Whether the tests on Valkey run: where it is, and in CI, where its absence has to be seen.
pub(crate) fn valkey_is_tested() -> bool {
    valkey::find().is_some() || env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// A namespace that no other test of this run has; the README's user may use it.
pub(crate) fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("stash:t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

const TIME_LIMIT: Duration = Duration::from_secs(60);
