//! The model of sessions on real servers: the same programs as in memory, without time passing.

use std::time::Duration;

use libtest_mimic::Trial;
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tokio::{
    runtime::{Builder, Handle},
    task::spawn_blocking,
};
use tower_stash::clock::{Clock as _, SystemClock, Timestamp};

use super::connect;
use crate::{
    servers::{Result, Servers, Topology},
    session_model::{
        driver::Time,
        program::{Program, logins, programs},
        world,
    },
    stress::stressed,
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "session_model":
        Standalone::requests_of_all_kinds_keep_every_promise
        Standalone::logins_that_meet_the_end_of_all_sessions_keep_every_promise
    )
}

async fn requests_of_all_kinds_keep_every_promise(servers: &Servers) -> Result<()> {
    keeps_every_promise(servers, programs(moments())).await
}

async fn logins_that_meet_the_end_of_all_sessions_keep_every_promise(
    servers: &Servers,
) -> Result<()> {
    keeps_every_promise(servers, logins(moments())).await
}

/// The server's clock cannot be moved, so nothing ends by itself here.
fn moments() -> impl Strategy<Value = Duration> + Clone {
    Just(Duration::from_millis(2))
}

async fn keeps_every_promise(
    servers: &Servers,
    programs: impl Strategy<Value = Program> + Send + 'static,
) -> Result<()> {
    let address = servers.address(Topology::Standalone).await?;
    let outside = Handle::current();
    // A program runs on a thread of its own: the driver takes turns with all that runs there.
    let test = spawn_blocking(move || {
        let config = Config {
            cases: stressed(40),
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        TestRunner::new(config).run(&programs, |program| {
            let connected = outside.block_on(connect(address.clone()));
            let backend = connected.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let inside = Builder::new_current_thread().enable_time().build()?;
            let kept = inside.block_on(world::run(backend.clone(), Real, program));
            outside.block_on(backend.close());
            kept.map_err(TestCaseError::fail)
        })
    });
    match test.await? {
        Err(TestError::Fail(reason, program)) => Err(format!("{reason}\n{program:?}").into()),
        other => Ok(other.map_err(|error| error.to_string())?),
    }
}

/// This machine's clock, which is the servers' as well.
#[derive(Clone, Copy, Debug)]
struct Real;

impl Time for Real {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// As busy as the machine may be.
    const SLACK: Duration = Duration::from_secs(2);
}
