//! Makes a schedule that fails as simple as it can be while it fails.

use std::time::Duration;

use super::schedule::{Fate, Schedule};

/// The simplest schedule found for which this still fails, and how.
pub(crate) fn shrink<T>(
    mut schedule: Schedule,
    mut reason: String,
    run: impl Fn(&Schedule) -> Result<T, String>,
) -> (Schedule, String) {
    let promise = |reason: &str| reason.split(':').next().map(str::to_owned);
    let kept = promise(&reason);
    for _ in 0..ROUNDS {
        let mut is_simpler = false;
        for candidate in simpler(&schedule) {
            match run(&candidate) {
                Err(why) if promise(&why) == kept => {
                    (schedule, reason) = (candidate, why);
                    is_simpler = true;
                    break;
                }
                _ => {}
            }
        }
        if !is_simpler {
            break;
        }
    }
    (schedule, reason)
}

/// All that is simpler by one thing.
fn simpler(schedule: &Schedule) -> Vec<Schedule> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Schedule)| {
        let mut candidate = schedule.clone();
        change(&mut candidate);
        candidates.push(candidate);
    };
    for event in 0..schedule.events.len() {
        with(&|schedule| _ = schedule.events.remove(event));
    }
    for request in 0..schedule.requests.len() {
        with(&|schedule| _ = schedule.requests.remove(request));
    }
    for (request, sending) in schedule.requests.iter().enumerate() {
        if sending.hangs_up.is_some() {
            with(&|schedule| schedule.requests[request].hangs_up = None);
        }
        if !sending.puts.is_empty() {
            with(&|schedule| schedule.requests[request].puts.clear());
        }
        for (put, fate) in sending.puts.iter().enumerate() {
            if *fate != PASS {
                with(&|schedule| schedule.requests[request].puts[put] = PASS);
            }
        }
    }
    for instance in 0..schedule.other_calls.len() {
        if !schedule.other_calls[instance].is_empty() {
            with(&|schedule| schedule.other_calls[instance].clear());
        }
    }
    if schedule.doom.is_some() {
        with(&|schedule| schedule.doom = None);
    }
    candidates
}

const PASS: Fate = Fate::Pass(Duration::from_millis(1), Duration::from_millis(1));

const ROUNDS: usize = 300;
