//! Schedules in memory, in virtual time.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::OnceLock,
    time::Duration,
};

use tower_stash::{
    backend::MemoryBackend,
    idempotency::{InProgress, Recovery, StorePolicy, Unrecorded},
};

use crate::{
    schedules::{
        oracle::Sights,
        schedule::{Ends, Event, Pace, RuleShape, Schedule, Sending, Tampering},
        shrink::shrink,
        stage,
        time::{Virtual, paused},
    },
    stress::stressed,
};

#[test]
fn every_schedule_keeps_every_promise() {
    if let Err(broken) = seen() {
        panic!("{broken}");
    }
}

#[test]
fn the_schedules_show_all_that_can_happen_to_a_key() {
    let Ok(sights) = seen() else { return };
    let is_rare = |sight: &&&str| sights.get(**sight).is_none_or(|count| *count < OFTEN);
    let rare = SIGHTS.iter().find(is_rare).filter(|_| REPLAYED.is_none());
    assert_eq!(rare, None, "{sights:#?}");
}

#[test]
fn answering_what_is_not_recorded_beside_running_again_gives_two_answers() {
    let mut schedule = forbidden_pair();
    run(&schedule).unwrap();
    schedule.tampering = Tampering::ForgetsNever;
    let reason = run(&schedule).unwrap_err();
    assert!(reason.contains("S7: r1 runs after r0"), "{reason}");
    assert!(reason.contains("S3: r1 gets another answer"), "{reason}");
}

/// One instance answers what it cannot record; then the other one is asked, which runs again what it
/// may. Only the record says that it must not.
fn forbidden_pair() -> Schedule {
    let rule = |recovery| RuleShape {
        recovery,
        store: StorePolicy::Settled,
        in_progress: InProgress::Reject,
        lease: PACE.lease,
        max_execution: PACE.lease * 3,
        retention: PACE.lease * 6,
    };
    let sending = |instance, at| Sending {
        at,
        instance,
        body: "apple",
        takes: PACE.lease / 10,
        ends: Ends::Status(201),
        hangs_up: None,
        puts: Vec::new(),
    };
    Schedule {
        pace: PACE,
        rules: vec![
            rule(Recovery::Never(Unrecorded::Answer)),
            rule(Recovery::ReExecute),
        ],
        requests: vec![sending(0, Duration::ZERO), sending(1, PACE.lease * 3)],
        other_calls: vec![Vec::new(); 2],
        // It begins while the handler is at work. The instance that could record the answer at last is
        // gone when the outage is over.
        events: vec![
            (PACE.lease / 20, Event::Outage(PACE.lease * 2)),
            (PACE.lease * 19 / 10, Event::Crash(0)),
        ],
        doom: None,
        tampering: Tampering::None,
    }
}

/// What all schedules show, or how one of them fails; they run once for all tests.
fn seen() -> &'static Result<Sights, String> {
    static SEEN: OnceLock<Result<Sights, String>> = OnceLock::new();
    SEEN.get_or_init(run_all)
}

fn run_all() -> Result<Sights, String> {
    let seeds = match REPLAYED {
        Some(seed) => seed..seed + 1,
        None => {
            let first = first_seed();
            first..first + u64::from(stressed(SCHEDULES))
        }
    };
    let mut sights = Sights::new();
    for seed in seeds {
        let schedule = Schedule::with_seed(seed, PACE);
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
        _ => RandomState::new().build_hasher().finish() >> 1,
    }
}

fn run(schedule: &Schedule) -> Result<Sights, String> {
    paused().block_on(async {
        let clock = Virtual::new();
        let backend = MemoryBackend::new().with_clock(clock.clone());
        let set_back = move |by| clock.step_back(by);
        stage::run(backend, schedule.clone(), "a".into(), set_back).await
    })
}

/// A seed that failed, to be looked at; `None` for all.
const REPLAYED: Option<u64> = None;

/// In an ordinary run.
const SCHEDULES: u32 = 3_000;

const PACE: Pace = Pace {
    lease: Duration::from_secs(1),
    patience: Duration::from_millis(250),
    slack: Duration::from_millis(5),
};

/// What an ordinary run has to show.
const SIGHTS: [&str; 15] = [
    "an answer",
    "a replay",
    "an unrecorded answer",
    "an error",
    "in-progress",
    "key-reused",
    "not-replayable",
    "outcome-unknown",
    "handler-panicked",
    "unavailable",
    "a first attempt",
    "a second attempt",
    "a later attempt",
    "a new life",
    "a handler that ends late",
];

/// As often as means something.
const OFTEN: usize = 8;
