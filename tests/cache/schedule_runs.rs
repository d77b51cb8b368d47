//! Schedules in memory, in virtual time.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use tower_stash::{backend::BackendErrorKind, cache::Coalescing, testing::Fault};

use crate::{
    schedules::{
        chance::any_seed,
        oracle::Sights,
        schedule::{Behaviour, Ends, Event, Getting, Page, Schedule, What, Who},
        shrink::shrink,
        stage::run,
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
fn the_schedules_show_all_that_can_become_of_a_request() {
    let Ok(sights) = seen() else { return };
    let is_rare = |sight: &&&str| sights.get(**sight).is_none_or(|count| *count < OFTEN);
    let rare = SIGHTS.iter().find(is_rare).filter(|_| replayed().is_none());
    assert_eq!(rare, None, "{sights:#?}");
}

#[test]
fn who_waits_for_another_instance_waits_for_all_who_wait_with_him() {
    let gets = (0..8).map(|number| get(number / 4, 10 * number as u64));
    let schedule = Schedule {
        calls: vec![taking(300)],
        events: gets.collect(),
        ..two_instances()
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("a call"), Some(&1), "{sights:?}");
    assert_eq!(sights.get("collapsed"), Some(&7), "{sights:?}");
}

#[test]
fn a_response_that_is_stored_ends_what_its_forerunner_forbade() {
    let private = Behaviour {
        ends: Ends::Private,
        ..Behaviour::QUICK
    };
    let schedule = Schedule {
        calls: vec![private, Behaviour::QUICK, taking(300)],
        events: vec![
            get(0, 0),
            // It is stored, and stale when the others come.
            get(0, 2_000),
            get(0, 20_000),
            get(1, 20_100),
        ],
        ..two_instances()
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("a call"), Some(&3), "{sights:?}");
}

#[test]
fn a_client_that_reads_slowly_keeps_others_waiting_for_three_seconds_only() {
    let mut slow = get(0, 0);
    if let Event::Get(getting) = &mut slow.1 {
        getting.reading = millis(60_000);
    }
    let schedule = Schedule {
        events: vec![slow, get(0, 100), get(0, 4_000)],
        ..two_instances()
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("miss"), Some(&3), "{sights:?}");
}

#[test]
fn a_304_is_of_nothing_that_was_purged_while_it_was_on_its_way() {
    let valid_at_first = Page {
        has_etag: true,
        max_age: 1,
        ..Page::PLAIN
    };
    let purge = Event::Purge {
        instance: 1,
        page: 0,
        what: What::Tag,
        is_soft: false,
    };
    // To listen, to ask what was purged, the stamp, the journal; and the message, which is lost.
    let lost = Fault::Fail(BackendErrorKind::Unavailable);
    let unheard = [
        vec![],
        vec![Fault::None, Fault::None, Fault::None, Fault::None, lost],
    ];
    let schedule = Schedule {
        pages: [valid_at_first, Page::PLAIN],
        calls: vec![Behaviour::QUICK, taking(7_000)],
        events: vec![get(0, 0), get(0, 5_000), (millis(6_000), purge)],
        faults: unheard,
        ..two_instances()
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("a call"), Some(&3), "{sights:?}");
}

#[test]
fn nothing_that_was_purged_meanwhile_stands_in_for_an_error() {
    let page = Page {
        max_age: 1,
        if_error: 60,
        ..Page::PLAIN
    };
    let fails = Behaviour {
        ends: Ends::Unavailable,
        ..taking(3_000)
    };
    let purge = Event::Purge {
        instance: 0,
        page: 0,
        what: What::Tag,
        is_soft: false,
    };
    let mut schedule = Schedule {
        pages: [page, Page::PLAIN],
        calls: vec![Behaviour::QUICK, fails],
        events: vec![get(0, 0), get(0, 5_000)],
        ..two_instances()
    };
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("stale_if_error"), Some(&1), "{sights:?}");
    schedule.events.push((millis(6_000), purge));
    let sights = run(&schedule).unwrap();
    assert_eq!(sights.get("stale_if_error"), None, "{sights:?}");
}

/// Two instances, to which nothing happens.
fn two_instances() -> Schedule {
    Schedule {
        is_strict: false,
        coalescing: Coalescing::Fleet,
        pages: [Page::PLAIN; 2],
        events: Vec::new(),
        calls: Vec::new(),
        faults: [Vec::new(), Vec::new()],
    }
}

/// A request to this instance, at this time in milliseconds.
fn get(instance: usize, at: u64) -> (Duration, Event) {
    let getting = Getting {
        instance,
        page: 0,
        language: "en",
        who: Who::Anybody,
        hangs_up: None,
        reading: Duration::ZERO,
    };
    (millis(at), Event::Get(getting))
}

/// A call of the handler that takes so long, in milliseconds.
fn taking(takes: u64) -> Behaviour {
    Behaviour {
        takes: millis(takes),
        ..Behaviour::QUICK
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
    let first = replayed().unwrap_or_else(first_seed);
    let count = replayed().map_or_else(|| stressed(SCHEDULES).into(), |_| 1);
    let mut sights = Sights::new();
    // One for each promise.
    let mut broken = BTreeMap::new();
    for seed in first..first + count {
        let schedule = Schedule::with_seed(seed);
        let seen = match run(&schedule) {
            Ok(seen) => seen,
            Err(reason) => {
                let promise = reason.split(':').next().unwrap_or_default().to_owned();
                let (failures, _) = broken
                    .entry(promise)
                    .or_insert((0, (seed, schedule, reason)));
                *failures += 1;
                continue;
            }
        };
        for (sight, count) in seen {
            *sights.entry(sight).or_default() += count;
        }
    }
    if broken.is_empty() {
        return Ok(sights);
    }
    let reports = broken
        .into_values()
        .map(|(failures, (seed, schedule, reason))| {
            let (schedule, reason) = shrink(schedule, reason, run);
            format!("{failures} seeds, one is {seed}: {reason}\n{schedule:#?}\n")
        });
    Err(reports.collect())
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
