//! Schedules in memory, in virtual time.

use std::{sync::OnceLock, time::Duration};

use tower_stash::{
    backend::MemoryBackend,
    idempotency::{InProgress, Recovery, StorePolicy, Unrecorded},
};

use crate::{
    schedules::{
        chance::any_seed,
        oracle::Sights,
        schedule::{Ends, Event, Fate, Pace, RuleShape, Schedule, Sending, Tampering},
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

#[test]
fn who_lost_a_key_to_another_request_does_not_get_its_answer() {
    let mut pear = sending(1, 150, 0);
    pear.body = "pear";
    let schedule = Schedule {
        requests: vec![sending(0, 0, 500), pear],
        events: vec![(millis(100), Event::Delete)],
        ..two_instances(Recovery::ReExecute, Recovery::ReExecute)
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("outcome-unknown"), Some(&1), "{sights:?}");
}

#[test]
fn a_lease_is_counted_from_the_question_and_not_from_the_answer() {
    let mut slow = sending(0, 0, 2_500);
    slow.puts = vec![Fate::Pass(millis(1), millis(240))];
    let schedule = Schedule {
        requests: vec![slow, sending(1, 1_020, 100)],
        // It is not renewed any more.
        events: vec![(millis(300), Event::Pause(0, millis(2_000)))],
        ..two_instances(Recovery::ReExecute, Recovery::ReExecute)
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("a second attempt"), Some(&1), "{sights:?}");
}

#[test]
fn who_slept_past_a_lease_does_not_begin() {
    let mut slow = sending(0, 0, 100);
    slow.puts = vec![Fate::Pass(millis(1), millis(20))];
    let schedule = Schedule {
        requests: vec![slow, sending(1, 1_100, 100)],
        // It asks for the key, and hears that it has it when it has it no more.
        events: vec![(millis(5), Event::Pause(0, millis(1_500)))],
        ..two_instances(Recovery::ReExecute, Recovery::ReExecute)
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("a second attempt"), Some(&1), "{sights:?}");
    assert_eq!(sights.get("a first attempt"), None, "{sights:?}");
}

#[test]
fn a_claim_that_is_taken_back_hides_no_run_before_it() {
    let mut unheard = sending(1, 1_100, 0);
    let quick = Fate::Pass(millis(1), millis(1));
    // It takes over, and never hears of it.
    unheard.puts = vec![quick, Fate::LoseReply(millis(1)), Fate::LoseCall];
    let sights = run(&after_a_crash(unheard)).unwrap();
    assert_eq!(sights.get("unavailable"), Some(&1), "{sights:?}");
    assert_eq!(sights.get("outcome-unknown"), Some(&2), "{sights:?}");
}

#[test]
fn an_attempt_that_did_nothing_hides_no_run_before_it() {
    let mut nothing = sending(1, 1_100, 0);
    nothing.ends = Ends::NotExecuted(503);
    let sights = run(&after_a_crash(nothing)).unwrap();
    assert_eq!(sights.get("a second attempt"), Some(&1), "{sights:?}");
    assert_eq!(sights.get("outcome-unknown"), Some(&2), "{sights:?}");
}

/// A handler dies that may run again; then this request comes, then one that must not run again. It
/// is told so, and so is the last one of all.
fn after_a_crash(second: Sending) -> Schedule {
    Schedule {
        requests: vec![sending(1, 0, 500), second, sending(0, 2_000, 0)],
        events: vec![(millis(100), Event::Crash(1))],
        ..two_instances(Recovery::Never(Unrecorded::Withhold), Recovery::ReExecute)
    }
}

#[test]
fn no_renewal_makes_room_over_an_answer() {
    let quick = Fate::Pass(millis(1), millis(1));
    let lost = Fate::LoseReply(millis(1));
    // It ends about when its claim is renewed. The answer is recorded, and it is not told; then the
    // renewal, which had to wait, finds the answer.
    for takes in 320..350 {
        let mut request = sending(0, 0, takes);
        request.puts = vec![quick, lost, lost];
        let schedule = Schedule {
            requests: vec![request],
            ..two_instances(Recovery::ReExecute, Recovery::ReExecute)
        };
        run(&schedule).unwrap();
    }
}

#[test]
fn an_answer_is_put_where_nothing_is_only_while_nothing_is() {
    let quick = Fate::Pass(millis(1), millis(1));
    let mut slow = sending(0, 0, 500);
    // Claim, renewal, and the answer, which finds nothing and hears of it late.
    slow.puts = vec![quick, quick, Fate::Pass(millis(1), millis(200))];
    let schedule = Schedule {
        requests: vec![slow, sending(1, 550, 300)],
        events: vec![(millis(400), Event::Delete)],
        ..two_instances(Recovery::ReExecute, Recovery::ReExecute)
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("in-progress"), Some(&1), "{sights:?}");
}

/// One instance answers what it cannot record; then the other one is asked, which runs again what it
/// may. Only the record says that it must not.
fn forbidden_pair() -> Schedule {
    Schedule {
        requests: vec![sending(0, 0, 100), sending(1, 3_000, 100)],
        // The outage begins while the handler is at work. The instance that could record the answer at
        // last is gone when it is over.
        events: vec![
            (millis(50), Event::Outage(millis(2_000))),
            (millis(1_900), Event::Crash(0)),
        ],
        ..two_instances(Recovery::Never(Unrecorded::Answer), Recovery::ReExecute)
    }
}

/// Two instances, to which nothing happens.
fn two_instances(one: Recovery, other: Recovery) -> Schedule {
    let rule = |recovery| RuleShape {
        recovery,
        store: StorePolicy::Settled,
        in_progress: InProgress::Reject,
        lease: PACE.lease,
        max_execution: PACE.lease * 3,
        retention: PACE.lease * 6,
    };
    Schedule {
        pace: PACE,
        rules: vec![rule(one), rule(other)],
        requests: Vec::new(),
        other_calls: vec![Vec::new(); 2],
        events: Vec::new(),
        doom: None,
        tampering: Tampering::None,
    }
}

/// A request to this instance, at this time, that takes so long; in milliseconds.
fn sending(instance: usize, at: u64, takes: u64) -> Sending {
    Sending {
        at: millis(at),
        instance,
        body: "apple",
        takes: millis(takes),
        ends: Ends::Status(201),
        hangs_up: None,
        puts: Vec::new(),
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What all schedules show, or how one of them fails; they run once for all tests.
fn seen() -> &'static Result<Sights, String> {
    static SEEN: OnceLock<Result<Sights, String>> = OnceLock::new();
    SEEN.get_or_init(run_all)
}

fn run_all() -> Result<Sights, String> {
    let first = REPLAYED.unwrap_or_else(first_seed);
    let count = REPLAYED.map_or_else(|| stressed(SCHEDULES).into(), |_| 1);
    let mut sights = Sights::new();
    for seed in first..first + count {
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
        _ => any_seed(),
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
