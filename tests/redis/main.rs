//! Tests on real servers: Redis alone, behind TLS, as a Cluster and under Sentinel, and Valkey.
//!
//! `cargo test --test redis --features full,testing -- cluster::` runs those of one topology. All
//! servers are started here, on free ports, and end with this process however it ends.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and says where"
)]

use std::{io, process::ExitCode, sync::Arc, thread};

use libtest_mimic::Arguments;
use tokio::runtime::Runtime;

use self::{servers::Servers, trial::Bed};

#[path = "../support/quota_oracle.rs"]
mod quota_oracle;
#[path = "../idempotency/schedules/mod.rs"]
#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking; some of it is for memory alone"
)]
mod schedules;
mod servers;
#[path = "../session/model/mod.rs"]
#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking; some of it is for memory alone"
)]
mod session_model;
#[path = "../support/stress.rs"]
mod stress;
mod suites;
mod trial;

fn main() -> io::Result<ExitCode> {
    suites::slots::hold_if_asked();
    if suites::processes::hit_if_asked()
        || suites::sessions::obey_if_asked()
        || suites::idempotency::serve_if_asked()
    {
        return Ok(ExitCode::SUCCESS);
    }
    let mut arguments = Arguments::from_args();
    // Tests mostly wait, so there may be more of them than processors.
    arguments
        .test_threads
        .get_or_insert_with(|| thread::available_parallelism().map_or(4, |n| n.get().max(4)));

    let runtime = Runtime::new()?;
    let bed = Bed::new(runtime.handle().clone(), Arc::new(Servers::default()));
    let trials = [
        // One line a suite.
        suites::harness::trials(&bed),
        suites::adopted::trials(&bed),
        suites::cache::trials(&bed),
        suites::conformance::trials(&bed),
        suites::connecting::trials(&bed),
        suites::counters::trials(&bed),
        suites::differential::trials(&bed),
        suites::extremes::trials(&bed),
        suites::healing::trials(&bed),
        suites::hot_keys::trials(&bed),
        suites::idempotency::trials(&bed),
        suites::idempotency_schedules::trials(&bed),
        suites::outage::trials(&bed),
        suites::payments::trials(&bed),
        suites::processes::trials(&bed),
        suites::quickstart::trials(&bed),
        suites::quota_traces::trials(&bed),
        suites::round_trips::trials(&bed),
        suites::session_model::trials(&bed),
        suites::sessions::trials(&bed),
        suites::slots::trials(&bed),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());

    // Ends what tests left running, then the servers.
    runtime.shutdown_background();
    drop(bed);
    if !arguments.list && !trial::valkey_is_tested() {
        println!("WARNING: Valkey was NOT tested: there is no valkey-server.");
        println!("WARNING: ./scripts/setup fetches one, or set VALKEY_SERVER to yours.");
    }
    Ok(conclusion.exit_code())
}
