//! The decision over several limits: read all, decide, then write all or nothing.

use std::time::Duration;

use super::{Acquire, Algorithm, Decision, Limit, Receipt, Take, state::State};
use crate::clock::Timestamp;

/// The counters of one subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct States {
    counters: Vec<(CounterId, State)>,
}

/// What makes two limits share a counter: all but the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CounterId {
    algorithm: Algorithm,
    window: Duration,
    name: u64,
}

impl CounterId {
    fn of(limit: &Limit) -> Self {
        Self {
            algorithm: limit.quota.kind(),
            window: limit.quota.window,
            name: limit.id,
        }
    }
}

/// Decides a request, and takes what it admits.
pub(crate) fn decide(states: &mut States, request: &Acquire, now: Timestamp) -> Decision {
    let readings = || {
        request
            .limits
            .iter()
            .map(|limit| (limit.quota(), states.find(limit)))
    };
    let fitting = readings()
        .map(|(quota, state)| state.at(quota, now).remaining() / u64::from(quota.weight()))
        .min()
        .unwrap_or(u64::MAX);
    let taken = match request.take {
        Take::All if request.cost <= fitting => request.cost,
        Take::All => 0,
        Take::UpTo => request.cost.min(fitting),
    };
    let admitted = taken > 0 || request.cost == 0;
    if !admitted {
        let cost = match request.take {
            Take::All => request.cost,
            Take::UpTo => 1,
        };
        let denied = readings().map(|(quota, state)| state.at(quota, now).report(quota, cost, 0));
        return Decision::denied(now, denied.collect());
    }
    if taken == 0 {
        let seen = readings().map(|(quota, state)| state.at(quota, now).report(quota, 0, 0));
        return Decision::admitted(0, now, seen.collect());
    }
    let limits = request.limits.iter().map(|limit| {
        let quota = limit.quota();
        let state = states.find_mut(limit);
        let mark = state.take(quota, now, quota.weighed(taken));
        state.at(quota, now).report(quota, 0, mark)
    });
    Decision::admitted(taken, now, limits.collect())
}

/// Gives back what a decision took, where it still counts.
pub(crate) fn refund(states: &mut States, receipt: &Receipt, now: Timestamp) {
    for (limit, mark) in receipt.limits.iter().zip(&receipt.marks) {
        let id = CounterId::of(limit);
        if let Some((_, state)) = states.counters.iter_mut().find(|(known, _)| *known == id) {
            let units = limit.quota.weighed(receipt.taken);
            state.refund(&limit.quota, now, units, *mark);
        }
    }
}

impl States {
    /// Forgets what was taken from these limits.
    pub(crate) fn reset(&mut self, limits: &[Limit]) {
        self.counters
            .retain(|(id, _)| !limits.iter().any(|limit| CounterId::of(limit) == *id));
    }

    /// Forgets the counters that no longer count.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.counters
            .retain(|(id, state)| state.end(id.algorithm, id.window) > now.as_millis());
    }

    /// Whether nothing is counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// When none of the counters counts any more.
    pub(crate) fn deadline(&self) -> Timestamp {
        let end = self
            .counters
            .iter()
            .map(|(id, state)| state.end(id.algorithm, id.window))
            .max();
        Timestamp::from_millis(end.unwrap_or(0))
    }

    /// Roughly how many bytes they take.
    pub(crate) fn size(&self) -> usize {
        let heap: usize = self.counters.iter().map(|(_, state)| state.heap()).sum();
        size_of::<(CounterId, State)>() * self.counters.len() + heap
    }

    fn find(&self, limit: &Limit) -> &State {
        let id = CounterId::of(limit);
        let known = self.counters.iter().find(|(known, _)| *known == id);
        known.map_or_else(|| State::empty(limit.quota.algorithm), |(_, state)| state)
    }

    fn find_mut(&mut self, limit: &Limit) -> &mut State {
        let id = CounterId::of(limit);
        let position = self
            .counters
            .iter()
            .position(|(known, _)| *known == id)
            .unwrap_or_else(|| {
                self.counters
                    .push((id, State::empty(limit.quota.algorithm).clone()));
                self.counters.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "found or pushed the line before")]
        &mut self.counters[position].1
    }
}
