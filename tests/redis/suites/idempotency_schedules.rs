//! Schedules of faults on a real server, in real time: those of the memory backend, with shorter leases.

use std::time::Duration;

use futures_util::future::try_join_all;
use libtest_mimic::Trial;

use super::connect;
use crate::{
    schedules::{
        chance::any_seed,
        schedule::{Event, Pace, Schedule},
        stage,
    },
    servers::{Result, Servers, Topology},
    stress::stressed,
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "idempotency_schedules":
        Standalone::every_schedule_keeps_every_promise
    )
}

async fn every_schedule_keeps_every_promise(servers: &Servers) -> Result<()> {
    let backend = connect(servers.address(Topology::Standalone).await?).await?;
    let rounds = u64::from(stressed(1));
    let first = if rounds > 1 { any_seed() } else { 0 };
    // As many at a time as leave the others their turn; each is a key of its own.
    for round in 0..rounds {
        let first = first + round * AT_ONCE;
        let schedules = (first..first + AT_ONCE).map(|seed| {
            let backend = backend.clone();
            async move {
                let mut schedule = Schedule::with_seed(seed, PACE);
                // The server's clock is this machine's.
                schedule
                    .events
                    .retain(|(_, event)| !matches!(event, Event::ClockBack(_)));
                let key = format!("schedule-{seed}");
                let run = tokio::spawn(stage::run(backend, schedule, key, |_| ()));
                match run.await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(reason)) => Err(format!("seed {seed}: {reason}")),
                    Err(panic) => Err(format!("seed {seed}: {panic}")),
                }
            }
        });
        try_join_all(schedules).await?;
    }
    backend.close().await;
    Ok(())
}

const AT_ONCE: u64 = 60;

const PACE: Pace = Pace {
    lease: Duration::from_millis(300),
    patience: Duration::from_millis(75),
    slack: Duration::from_millis(200),
};
