//! The decision over several limits: read all, decide, then write all or nothing.

use super::{Acquire, Decision, LimitState, Take, states::States};
use crate::clock::Timestamp;

/// Decides a request, takes what it admits, and counts a denial as a strike.
pub(crate) fn decide(states: &mut States, request: &Acquire, now: Timestamp) -> Decision {
    let strikes = request.strikes.as_ref();
    let banned = strikes.and_then(|strikes| states.ban_left(strikes, now));
    if request.cost == 0 {
        let seen = report(states, request, 0, now);
        return Decision::admitted(0, now, seen).with_banned(banned);
    }
    let taken = match banned {
        Some(_) => 0,
        None => fitting(states, request, now),
    };
    if taken > 0 {
        return Decision::admitted(taken, now, take(states, request, taken, now));
    }
    let cost = match request.take {
        Take::All => request.cost,
        Take::UpTo => 1,
    };
    let limits = report(states, request, cost, now);
    let banned = match strikes {
        Some(strikes) if banned.is_none() && request.take == Take::All => {
            states.strike(strikes, now);
            states.ban_left(strikes, now)
        }
        _ => banned,
    };
    Decision::denied(now, limits).with_banned(banned)
}

/// How much of the cost is taken if nothing else stands in the way.
fn fitting(states: &States, request: &Acquire, now: Timestamp) -> u64 {
    let fitting = request.limits.iter().map(|limit| {
        let quota = states.quota(request, limit, now);
        states.counter(limit).at(&quota, now).remaining() / u64::from(quota.weight())
    });
    let fitting = fitting.min().unwrap_or(u64::MAX);
    match request.take {
        Take::All if request.cost > fitting => 0,
        Take::All | Take::UpTo => request.cost.min(fitting),
    }
}

/// Takes from each limit, and tells where they stand afterwards.
fn take(states: &mut States, request: &Acquire, taken: u64, now: Timestamp) -> Vec<LimitState> {
    let limits = request.limits.iter().map(|limit| {
        let quota = states.quota(request, limit, now);
        let counter = states.counter_mut(limit);
        let mark = counter.take(&quota, now, quota.weighed(taken));
        counter.at(&quota, now).report(&quota, 0, mark)
    });
    limits.collect()
}

/// Where each limit stands for who asks for this cost.
fn report(states: &States, request: &Acquire, cost: u64, now: Timestamp) -> Vec<LimitState> {
    let limits = request.limits.iter().map(|limit| {
        let quota = states.quota(request, limit, now);
        states
            .counter(limit)
            .at(&quota, now)
            .report(&quota, cost, 0)
    });
    limits.collect()
}
