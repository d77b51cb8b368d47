//! Random programs, in memory.

use std::time::Duration;

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tower_stash::backend::MemoryBackend;

use crate::{
    model::{
        driver::{Virtual, runtime},
        program::{Program, logins, passes, programs, rotations},
        world,
    },
    stress::stressed,
};

#[test]
fn requests_of_all_kinds_keep_every_promise_in_every_order_of_calls() {
    keeps_every_promise(programs(passes()), 1_200);
}

#[test]
fn requests_across_a_rotation_keep_every_promise() {
    keeps_every_promise(rotations(), 400);
}

#[test]
fn logins_that_meet_the_end_of_all_sessions_keep_every_promise() {
    // A tombstone goes, a session does not.
    let seconds = prop::sample::select(vec![1, 61, 301]);
    keeps_every_promise(logins(seconds.prop_map(Duration::from_secs)), 400);
}

fn keeps_every_promise(programs: impl Strategy<Value = Program>, cases: u32) {
    let config = Config {
        cases: stressed(cases),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&programs, |program| {
        let time = Virtual::default();
        let backend = MemoryBackend::new().with_clock(time.0.clone());
        runtime()
            .block_on(world::run(backend, time, program))
            .map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, program)) => panic!("{reason}\n{program:?}"),
        Err(error) => panic!("{error}"),
    }
}
