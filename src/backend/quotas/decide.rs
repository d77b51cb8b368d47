//! The decision over several limits: read all, decide, then write all or nothing.

use std::time::Duration;

use super::{
    Acquire, Algorithm, Decision, Limit, LimitState, Quota, Receipt, Retry, Take,
    counter::{Counter, Share},
    fixed::{Fixed, Window},
    log::{Live, Log},
    quota::millis,
};
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
            algorithm: limit.quota.algorithm,
            window: limit.quota.window,
            name: limit.id,
        }
    }

    fn window_millis(&self) -> u64 {
        millis(self.window)
    }
}

/// Decides a request, and takes what it admits.
pub(crate) fn decide(states: &mut States, request: &Acquire, now: Timestamp) -> Decision {
    let millis = now.as_millis();
    let readings = || {
        request
            .limits
            .iter()
            .map(|limit| (limit.quota(), states.find(limit)))
    };
    let fitting = readings()
        .map(|(quota, state)| state.at(quota, millis).remaining() / u64::from(quota.weight()))
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
        let denied =
            readings().map(|(quota, state)| state.at(quota, millis).report(quota, cost, 0));
        return Decision::denied(now, denied.collect());
    }
    if taken == 0 {
        let seen = readings().map(|(quota, state)| state.at(quota, millis).report(quota, 0, 0));
        return Decision::admitted(0, now, seen.collect());
    }
    let limits = request.limits.iter().map(|limit| {
        let quota = limit.quota();
        let state = states.find_mut(limit);
        let mark = state.take(quota, millis, quota.weighed(taken));
        state.at(quota, millis).report(quota, 0, mark)
    });
    Decision::admitted(taken, now, limits.collect())
}

/// Gives back what a decision took, where it still counts.
pub(crate) fn refund(states: &mut States, receipt: &Receipt) {
    for (limit, mark) in receipt.limits.iter().zip(&receipt.marks) {
        let id = CounterId::of(limit);
        if let Some((_, state)) = states.counters.iter_mut().find(|(known, _)| *known == id) {
            state.refund(limit.quota.weighed(receipt.taken), *mark);
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
            .retain(|(id, state)| state.end(id) > now.as_millis());
    }

    /// Whether nothing is counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// When none of the counters counts any more.
    pub(crate) fn deadline(&self) -> Timestamp {
        let end = self.counters.iter().map(|(id, state)| state.end(id)).max();
        Timestamp::from_millis(end.unwrap_or(0))
    }

    /// Roughly how many bytes they take.
    pub(crate) fn size(&self) -> usize {
        let hits: usize = self.counters.iter().map(|(_, state)| state.hits()).sum();
        size_of::<(CounterId, State)>() * self.counters.len() + size_of::<u64>() * hits
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

/// One counter, as its algorithm keeps it.
#[derive(Clone, Debug)]
enum State {
    Fixed(Fixed),
    Counter(Counter),
    Log(Log),
}

impl State {
    /// The state in which nothing was taken.
    fn empty(algorithm: Algorithm) -> &'static Self {
        static FIXED: State = State::Fixed(Fixed::EMPTY);
        static COUNTER: State = State::Counter(Counter::EMPTY);
        static LOG: State = State::Log(Log::EMPTY);
        match algorithm {
            Algorithm::Fixed | Algorithm::FixedAligned { .. } => &FIXED,
            Algorithm::Counter => &COUNTER,
            Algorithm::Log => &LOG,
        }
    }

    fn at(&self, quota: &Quota, now: u64) -> Reading<'_> {
        match self {
            Self::Fixed(fixed) => Reading::Fixed(fixed.at(quota, now)),
            Self::Counter(counter) => Reading::Counter(counter.at(quota, now)),
            Self::Log(log) => Reading::Log(log.at(quota, now)),
        }
    }

    fn take(&mut self, quota: &Quota, now: u64, units: u64) -> u64 {
        match self {
            Self::Fixed(fixed) => {
                let mark;
                (*fixed, mark) = fixed.at(quota, now).take(units);
                mark
            }
            Self::Counter(counter) => {
                let mark;
                (*counter, mark) = counter.at(quota, now).take(units);
                mark
            }
            Self::Log(log) => log.take(quota, now, units),
        }
    }

    fn refund(&mut self, units: u64, mark: u64) {
        match self {
            Self::Fixed(fixed) => fixed.refund(units, mark),
            Self::Counter(counter) => counter.refund(units, mark),
            Self::Log(log) => log.refund(units, mark),
        }
    }

    fn end(&self, id: &CounterId) -> u64 {
        match self {
            Self::Fixed(fixed) => fixed.end(id.window_millis()),
            Self::Counter(counter) => counter.end(id.window_millis()),
            Self::Log(log) => log.end(id.window_millis()),
        }
    }

    fn hits(&self) -> usize {
        match self {
            Self::Log(log) => log.capacity(),
            Self::Fixed(_) | Self::Counter(_) => 0,
        }
    }
}

/// A counter at one moment.
#[derive(Clone, Copy, Debug)]
enum Reading<'a> {
    Fixed(Window),
    Counter(Share),
    Log(Live<'a>),
}

impl Reading<'_> {
    fn remaining(&self) -> u64 {
        match self {
            Self::Fixed(window) => window.remaining(),
            Self::Counter(share) => share.remaining(),
            Self::Log(live) => live.remaining(),
        }
    }

    /// What a caller is told who asks for this cost.
    fn report(&self, quota: &Quota, cost: u64, mark: u64) -> LimitState {
        let remaining = self.remaining() / u64::from(quota.weight());
        let retry = self.retry(quota, quota.weighed(cost));
        let reset = match self.retry(quota, quota.weighed(remaining + 1)) {
            Retry::After(wait) => Some(wait),
            Retry::Now | Retry::Never => None,
        };
        LimitState::new(quota.limit(), remaining, retry, reset, mark)
    }

    fn retry(&self, quota: &Quota, units: u64) -> Retry {
        if units > quota.limit() {
            return Retry::Never;
        }
        if units <= self.remaining() {
            return Retry::Now;
        }
        Retry::After(Duration::from_millis(match self {
            Self::Fixed(window) => window.wait(),
            Self::Counter(share) => share.wait(units),
            Self::Log(live) => live.wait(units),
        }))
    }
}
