//! What is kept of one subject.

use std::time::Duration;

use super::{
    Acquire, Algorithm, Amendment, Limit, Quota, Receipt, Strikes,
    state::State,
    term::{Size, StrikesId, Struck},
};
use crate::clock::Timestamp;

/// The counters of one subject, its strikes, and the sizes that limits have for it alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct States {
    counters: Vec<(CounterId, State)>,
    strikes: Vec<(StrikesId, Struck)>,
    sizes: Vec<(CounterId, Size)>,
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

/// Strikes at one moment, to come back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrikesBefore(Option<Struck>);

impl States {
    /// Gives back what a decision took, where it still counts.
    pub(crate) fn refund(&mut self, receipt: &Receipt, now: Timestamp) {
        for (limit, mark) in receipt.limits.iter().zip(&receipt.marks) {
            if let Some(state) = find_mut(&mut self.counters, &CounterId::of(limit)) {
                let units = limit.quota.weighed(receipt.taken);
                state.refund(&limit.quota, now, units, *mark);
            }
        }
    }

    /// Forgets what was taken from these limits.
    pub(crate) fn reset(&mut self, limits: &[Limit]) {
        self.counters
            .retain(|(id, _)| !limits.iter().any(|limit| CounterId::of(limit) == *id));
    }

    /// Makes a change that passed [`Amendment::check`].
    pub(crate) fn amend(&mut self, amendment: &Amendment, now: Timestamp) {
        let now = now.as_millis();
        match amendment {
            Amendment::Ban { strikes, lasting } => {
                let ban = Struck::banned(now, *lasting);
                set(&mut self.strikes, StrikesId::of(strikes), ban);
            }
            Amendment::Unban { strikes } => {
                let unbanned = StrikesId::of(strikes);
                self.strikes.retain(|(id, _)| *id != unbanned);
            }
            Amendment::Resize { limit, to, lasting } => {
                let size = Size::of(limit.resized(*to).quota(), now, *lasting);
                set(&mut self.sizes, CounterId::of(limit), size);
            }
            Amendment::Restore { limit } => {
                let restored = CounterId::of(limit);
                self.sizes.retain(|(id, _)| *id != restored);
            }
        }
    }

    /// What this limit is for the subject.
    pub(super) fn quota(&self, request: &Acquire, limit: &Limit, now: Timestamp) -> Quota {
        let size = request
            .resizable
            .then(|| find(&self.sizes, &CounterId::of(limit)))
            .flatten();
        size.map_or(limit.quota, |size| size.apply(limit.quota, now.as_millis()))
    }

    /// The counter of a limit, which need not be stored.
    pub(super) fn counter(&self, limit: &Limit) -> &State {
        find(&self.counters, &CounterId::of(limit))
            .unwrap_or_else(|| State::empty(limit.quota.algorithm))
    }

    /// The counter of a limit, to take from.
    pub(super) fn counter_mut(&mut self, limit: &Limit) -> &mut State {
        let id = CounterId::of(limit);
        let position = self
            .counters
            .iter()
            .position(|(known, _)| *known == id)
            .unwrap_or_else(|| {
                let empty = State::empty(limit.quota.algorithm);
                self.counters.push((id, empty.clone()));
                self.counters.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "found or pushed the line before")]
        &mut self.counters[position].1
    }

    /// How much longer the subject is banned.
    pub(super) fn ban_left(&self, strikes: &Strikes, now: Timestamp) -> Option<Duration> {
        let struck = find(&self.strikes, &StrikesId::of(strikes))?;
        struck.ban_left(now.as_millis()).map(Duration::from_millis)
    }

    /// Counts a denial.
    pub(super) fn strike(&mut self, strikes: &Strikes, now: Timestamp) {
        let id = StrikesId::of(strikes);
        let before = find(&self.strikes, &id).copied();
        let struck = Struck::strike(before, strikes, now.as_millis());
        set(&mut self.strikes, id, struck);
    }

    /// The strikes that this request may add to.
    pub(crate) fn strikes(&self, request: &Acquire) -> StrikesBefore {
        let strikes = request.strikes.as_ref();
        let struck = strikes.and_then(|strikes| find(&self.strikes, &StrikesId::of(strikes)));
        StrikesBefore(struck.copied())
    }

    /// Undoes what this request did to strikes.
    pub(crate) fn restore_strikes(&mut self, request: &Acquire, before: StrikesBefore) {
        let Some(strikes) = &request.strikes else {
            return;
        };
        let id = StrikesId::of(strikes);
        match before.0 {
            Some(struck) => set(&mut self.strikes, id, struck),
            None => self.strikes.retain(|(known, _)| *known != id),
        }
    }

    /// Forgets what no longer counts.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        let now = now.as_millis();
        self.counters
            .retain(|(id, state)| state.end(id.algorithm, id.window) > now);
        self.strikes.retain(|(_, struck)| struck.end() > now);
        self.sizes.retain(|(_, size)| size.end() > now);
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.strikes.is_empty() && self.sizes.is_empty()
    }

    /// When none of it counts any more.
    pub(crate) fn deadline(&self) -> Timestamp {
        let counters = self.counters.iter();
        let counters = counters.map(|(id, state)| state.end(id.algorithm, id.window));
        let strikes = self.strikes.iter().map(|(_, struck)| struck.end());
        let sizes = self.sizes.iter().map(|(_, size)| size.end());
        let end = counters.chain(strikes).chain(sizes).max();
        Timestamp::from_millis(end.unwrap_or(0))
    }

    /// Roughly how many bytes they take.
    pub(crate) fn size(&self) -> usize {
        let heap: usize = self.counters.iter().map(|(_, state)| state.heap()).sum();
        size_of_val(&*self.counters)
            + heap
            + size_of_val(&*self.strikes)
            + size_of_val(&*self.sizes)
    }
}

fn find<'a, I: PartialEq, T>(all: &'a [(I, T)], id: &I) -> Option<&'a T> {
    all.iter().find(|(known, _)| known == id).map(|(_, it)| it)
}

fn find_mut<'a, I: PartialEq, T>(all: &'a mut [(I, T)], id: &I) -> Option<&'a mut T> {
    let mut all = all.iter_mut();
    all.find(|(known, _)| known == id).map(|(_, it)| it)
}

fn set<I: PartialEq, T>(all: &mut Vec<(I, T)>, id: I, value: T) {
    match find_mut(all, &id) {
        Some(present) => *present = value,
        None => all.push((id, value)),
    }
}
