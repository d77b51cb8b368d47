//! From an `async` function to a test, and from what it saw to a line in a table.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use libtest_mimic::{Failed, Trial};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    browser::{Browser, Profile},
    site::{Identity, Port, Site},
};

pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What all tests share: one browser, one certificate, one table.
#[derive(Debug)]
pub(crate) struct Bed {
    runtime: Handle,
    browser: Browser,
    identity: Identity,
    observations: Mutex<Vec<Observation>>,
}

impl Bed {
    pub(crate) fn new(runtime: Handle, browser: Browser, identity: Identity) -> Self {
        Self {
            runtime,
            browser,
            identity,
            observations: Mutex::default(),
        }
    }

    /// Serves each host's router on a port of this test's own.
    pub(crate) async fn site(
        &self,
        hosts: impl IntoIterator<Item = (&'static str, Router)>,
    ) -> Result<Site> {
        Ok(self.site_at(Port::bind().await?, hosts))
    }

    /// The same on a port that was taken before.
    pub(crate) fn site_at(
        &self,
        port: Port,
        hosts: impl IntoIterator<Item = (&'static str, Router)>,
    ) -> Site {
        Site::start(&self.identity, port, hosts)
    }

    /// A new profile, with no cookies and no cache.
    pub(crate) async fn profile(&self) -> Result<Profile> {
        self.browser.profile().await
    }

    pub(crate) fn print_observations(&self) {
        let mut observations = self.lock_observations();
        observations.sort_by(|one, other| one.scenario.cmp(&other.scenario));
        println!("| scenario | observed in {} |", self.browser.version());
        println!("|---|---|");
        for Observation { scenario, observed } in observations.iter() {
            println!("| {scenario} | {observed} |");
        }
        println!();
    }

    pub(crate) async fn close(&self) {
        self.browser.close().await;
    }

    fn lock_observations(&self) -> std::sync::MutexGuard<'_, Vec<Observation>> {
        self.observations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The test `name`, which fails when it takes longer than a minute; what it returns is a line of
/// the table.
pub(crate) fn trial<T>(bed: &Arc<Bed>, name: &str, test: T) -> Trial
where
    T: AsyncFnOnce(&Bed) -> Result<String> + Send + 'static,
{
    let bed = Arc::clone(bed);
    let scenario = name.replace("::", ": ").replace('_', " ");
    Trial::test(name, move || {
        let observed = bed
            .runtime
            .block_on(async { timeout(TIME_LIMIT, test(&bed)).await })
            .map_err(|_| Failed::from(format!("not done after {TIME_LIMIT:?}")))?
            .map_err(Failed::from)?;
        bed.lock_observations()
            .push(Observation { scenario, observed });
        Ok(())
    })
}

/// The functions of a suite as tests: `trials!(bed, "suite": function ...)`.
macro_rules! trials {
    ($bed:expr, $suite:literal: $($test:ident)*) => {
        vec![$($crate::trial::trial($bed, concat!($suite, "::", stringify!($test)), $test)),*]
    };
}

pub(crate) use trials;

#[derive(Debug)]
struct Observation {
    scenario: String,
    observed: String,
}

const TIME_LIMIT: Duration = Duration::from_mins(1);
