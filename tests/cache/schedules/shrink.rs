//! Makes a schedule that fails as simple as it can be while it fails.

use tower_stash::testing::Fault;

use super::schedule::{Behaviour, Event, Page, Schedule, Who};

/// The simplest schedule found for which this still fails, and how.
pub(crate) fn shrink<T>(
    mut schedule: Schedule,
    mut reason: String,
    run: impl Fn(&Schedule) -> Result<T, String>,
) -> (Schedule, String) {
    let promise = |reason: &str| reason.split(':').next().map(str::to_owned);
    let kept = promise(&reason);
    for _ in 0..ROUNDS {
        let simpler = simpler(&schedule).into_iter().find_map(|candidate| {
            let why = run(&candidate).err()?;
            (promise(&why) == kept).then_some((candidate, why))
        });
        let Some(simpler) = simpler else { break };
        (schedule, reason) = simpler;
    }
    (trimmed(schedule), reason)
}

/// All that is simpler by one thing.
fn simpler(schedule: &Schedule) -> Vec<Schedule> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Schedule)| {
        let mut candidate = schedule.clone();
        change(&mut candidate);
        candidates.push(candidate);
    };
    for instance in 0..2 {
        let faults = &schedule.faults[instance];
        if faults.iter().any(|fault| *fault != Fault::None) {
            with(&|schedule| schedule.faults[instance].clear());
        }
    }
    if schedule.calls.iter().any(|call| call.takes.as_millis() > 5) {
        with(&|schedule| schedule.calls.clear());
    }
    for event in 0..schedule.events.len() {
        with(&|schedule| _ = schedule.events.remove(event));
    }
    for (event, (_, what)) in schedule.events.iter().enumerate() {
        let Event::Get(getting) = what else { continue };
        let mut simple = getting.clone();
        simple.hangs_up = None;
        if getting.hangs_up.is_some() {
            with(&|schedule| schedule.events[event].1 = Event::Get(simple.clone()));
        }
        let mut simple = getting.clone();
        simple.who = Who::Anybody;
        if getting.who != Who::Anybody {
            with(&|schedule| schedule.events[event].1 = Event::Get(simple.clone()));
        }
    }
    for (call, behaviour) in schedule.calls.iter().enumerate() {
        if behaviour.takes != Behaviour::QUICK.takes || !behaviour.pause.is_zero() {
            with(&|schedule| schedule.calls[call] = Behaviour::QUICK);
        }
    }
    for instance in 0..2 {
        for (call, fault) in schedule.faults[instance].iter().enumerate() {
            if *fault != Fault::None {
                with(&|schedule| schedule.faults[instance][call] = Fault::None);
            }
        }
    }
    for page in 0..2 {
        if schedule.pages[page].max_age != Page::PLAIN.max_age {
            with(&|schedule| schedule.pages[page] = Page::PLAIN);
        }
        if schedule.pages[page].varies {
            with(&|schedule| schedule.pages[page].varies = false);
        }
    }
    if schedule.is_strict {
        with(&|schedule| schedule.is_strict = false);
    }
    candidates
}

/// Without what says nothing.
fn trimmed(mut schedule: Schedule) -> Schedule {
    for faults in &mut schedule.faults {
        while faults.last() == Some(&Fault::None) {
            faults.pop();
        }
    }
    schedule
}

const ROUNDS: usize = 300;
