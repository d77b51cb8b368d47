//! How much is stored over all shards, and how much may be.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The bounds, what is taken of them, and a count of uses that orders the entries of all shards.
///
/// Room is taken before anything is stored and given back after it is gone, so the sum of what is
/// stored never exceeds a bound.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: usize,
    max_entries: usize,
    bytes: AtomicUsize,
    entries: AtomicUsize,
    uses: AtomicU64,
}

/// Why something cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Something else must go first.
    Yet,
    /// It would not fit if it were alone.
    Ever,
}

impl Budget {
    pub(super) fn new(max_bytes: usize, max_entries: usize) -> Self {
        Self {
            max_bytes,
            max_entries,
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
        }
    }

    /// Takes room for one more entry of this size.
    pub(super) fn admit(&self, size: usize) -> Result<(), NoRoom> {
        if self.max_entries == 0 || size > self.max_bytes {
            return Err(NoRoom::Ever);
        }
        take(&self.entries, 1, self.max_entries)?;
        take(&self.bytes, size, self.max_bytes).inspect_err(|_| {
            self.entries.fetch_sub(1, Relaxed);
        })
    }

    /// Takes or gives back the difference between an entry's old and new size.
    pub(super) fn resize(&self, old: usize, new: usize) -> Result<(), NoRoom> {
        if new > self.max_bytes {
            return Err(NoRoom::Ever);
        }
        if new > old {
            return take(&self.bytes, new - old, self.max_bytes);
        }
        self.bytes.fetch_sub(old - new, Relaxed);
        Ok(())
    }

    /// Gives back the room of an entry of this size.
    pub(super) fn release(&self, size: usize) {
        self.bytes.fetch_sub(size, Relaxed);
        self.entries.fetch_sub(1, Relaxed);
    }

    /// The number of the next use; a later use has a larger one, in whatever shard.
    pub(super) fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }
}

fn take(used: &AtomicUsize, more: usize, max: usize) -> Result<(), NoRoom> {
    let within = |used: usize| used.checked_add(more).filter(|sum| *sum <= max);
    match used.fetch_update(Relaxed, Relaxed, within) {
        Ok(_) => Ok(()),
        Err(_) => Err(NoRoom::Yet),
    }
}
