//! The shards, and who leaves when there is no room.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    Settings,
    budget::{Budget, NoRoom},
    lock,
    shard::Shard,
};
use crate::{
    backend::{BackendError, BackendErrorKind, Result},
    clock::{Clock, Timestamp},
    key::Key,
};

/// All shards. At most one of them is locked by a call at a time, and none across an await.
pub(super) struct Store {
    cells: [ShardCell; SHARDS],
    hasher: RandomState,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
}

/// A shard, and what the others need to know of it without its lock.
struct ShardCell {
    shard: Mutex<Shard>,
    /// [`Shard::oldest_use`], or [`NOTHING`].
    oldest_use: AtomicU64,
    /// [`Shard::earliest_deadline`] in microseconds, or [`NOTHING`].
    earliest_deadline: AtomicU64,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        let budget = Arc::new(Budget::new(settings.max_bytes, settings.max_entries));
        Self {
            cells: std::array::from_fn(|_| ShardCell {
                shard: Mutex::new(Shard::new(&budget)),
                oldest_use: AtomicU64::new(NOTHING),
                earliest_deadline: AtomicU64::new(NOTHING),
            }),
            hasher: RandomState::new(),
            budget,
            clock: Arc::clone(&settings.clock),
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Runs something on the shard of a key, at one moment.
    pub(super) fn with_shard<T>(
        &self,
        key: &Key,
        run: impl FnOnce(&mut Shard, Timestamp) -> T,
    ) -> T {
        self.cell(key).with(|shard| run(shard, self.clock.now()))
    }

    /// Runs something on the shard of a key, at one moment, and again after making room as long as
    /// there is none; so what failed must have changed nothing.
    ///
    /// Every write removes more expired entries than it adds live ones, so
    /// that the dead never pile up.
    pub(super) fn write<T>(
        &self,
        key: &Key,
        too_large: &'static str,
        mut write: impl FnMut(&mut Shard, Timestamp) -> std::result::Result<T, NoRoom>,
    ) -> Result<T> {
        let cell = self.cell(key);
        loop {
            let written = cell.with(|shard| {
                let now = self.clock.now();
                shard.sweep(now, SWEEP);
                write(shard, now)
            });
            match written {
                Ok(written) => return Ok(written),
                Err(NoRoom::Yet) => self.make_room(),
                Err(NoRoom::Ever) => {
                    return Err(BackendError::new(BackendErrorKind::Rejected, too_large));
                }
            }
        }
    }

    /// Removes some expired entries of whichever shard has any, or else the one entry that was used
    /// least recently of all.
    fn make_room(&self) {
        let now = self.clock.now();
        if let Some(cell) = self.first_by(|cell| &cell.earliest_deadline)
            && cell.earliest_deadline.load(Relaxed) <= now.as_micros()
        {
            cell.with(|shard| shard.sweep(now, SWEEP));
        } else if let Some(cell) = self.first_by(|cell| &cell.oldest_use) {
            cell.with(Shard::evict);
        }
    }

    fn first_by(&self, order: impl Fn(&ShardCell) -> &AtomicU64) -> Option<&ShardCell> {
        self.cells
            .iter()
            .min_by_key(|cell| order(cell).load(Relaxed))
    }

    fn cell(&self, key: &Key) -> &ShardCell {
        let [first, ..] = &self.cells;
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64);
        hash.ok()
            .and_then(|index| self.cells.get(index))
            .unwrap_or(first)
    }

    /// The number of entries and the sum of their sizes, counted anew.
    #[cfg(test)]
    pub(super) fn recount(&self) -> (usize, usize) {
        let counts = self.cells.iter().flat_map(|cell| {
            cell.with(|shard| {
                [
                    shard.values.recount(),
                    shard.sets.recount(),
                    shard.counters.recount(),
                    shard.slots.recount(),
                ]
            })
        });
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }
}

impl ShardCell {
    fn with<T>(&self, run: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = lock(&self.shard);
        let result = run(&mut shard);
        let deadline = shard.earliest_deadline().map(Timestamp::as_micros);
        self.oldest_use
            .store(shard.oldest_use().unwrap_or(NOTHING), Relaxed);
        self.earliest_deadline
            .store(deadline.unwrap_or(NOTHING), Relaxed);
        result
    }
}

/// A power of two, and large enough that as many threads as a server has
/// rarely wait for each other.
const SHARDS: usize = 16;

/// The most expired entries of each kind that one write removes.
const SWEEP: usize = 4;

/// Later than any use and any deadline.
const NOTHING: u64 = u64::MAX;
