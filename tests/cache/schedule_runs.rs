//! Schedules in memory, in virtual time.

use std::sync::OnceLock;

use crate::{
    schedules::{chance::any_seed, oracle::Sights, schedule::Schedule, shrink::shrink, stage::run},
    stress::stressed,
};

#[test]
fn every_schedule_keeps_every_promise() {
    if let Err(broken) = seen() {
        panic!("{broken}");
    }
}

#[test]
fn the_schedules_show_all_that_can_become_of_a_request() {
    let Ok(sights) = seen() else { return };
    let is_rare = |sight: &&&str| sights.get(**sight).is_none_or(|count| *count < OFTEN);
    let rare = SIGHTS.iter().find(is_rare).filter(|_| replayed().is_none());
    assert_eq!(rare, None, "{sights:#?}");
}

/// What all schedules show, or how one of them fails; they run once for all tests.
fn seen() -> &'static Result<Sights, String> {
    static SEEN: OnceLock<Result<Sights, String>> = OnceLock::new();
    SEEN.get_or_init(run_all)
}

fn run_all() -> Result<Sights, String> {
    let first = replayed().unwrap_or_else(first_seed);
    let count = replayed().map_or_else(|| stressed(SCHEDULES).into(), |_| 1);
    let mut sights = Sights::new();
    for seed in first..first + count {
        let schedule = Schedule::with_seed(seed);
        let seen = run(&schedule).map_err(|reason| {
            let (schedule, reason) = shrink(schedule, reason, run);
            format!("seed {seed}: {reason}\n{schedule:#?}")
        })?;
        for (sight, count) in seen {
            *sights.entry(sight).or_default() += count;
        }
    }
    Ok(sights)
}

/// The same ones in each run, but new ones under stress.
fn first_seed() -> u64 {
    match stressed(1) {
        1 => 0,
        _ => any_seed(),
    }
}

/// A seed that failed, to be looked at; `None` for all.
fn replayed() -> Option<u64> {
    std::env::var("TOWER_STASH_SEED").ok()?.parse().ok()
}

/// In an ordinary run.
const SCHEDULES: u32 = 500;

/// What an ordinary run has to show.
const SIGHTS: [&str; 12] = [
    "hit",
    "stale",
    "stale_if_error",
    "collapsed",
    "revalidated",
    "miss",
    "bypass",
    "unavailable",
    "invalidated",
    "an error",
    "a purge",
    "a write",
];

/// As often as means something.
const OFTEN: usize = 8;
