//! The sliding window in parts: [`Algorithm::Buckets`](super::Algorithm::Buckets).
//!
//! Hits are counted by the aligned part of a window that they came in. A part counts until the
//! sliding window has left all of it, so any window holds at most the limit. Times are milliseconds
//! on the backend's clock. `acquire/buckets.lua` does the same.

use super::{Algorithm, Quota};

/// The counts of the latest parts.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// Number of the newest part since the Unix epoch.
    index: u64,
    /// The newest part first; as many as a window has, and one more.
    counts: Vec<u32>,
}

impl Buckets {
    /// Nothing taken.
    pub(super) const EMPTY: Self = Self {
        index: 0,
        counts: Vec::new(),
    };

    /// The parts that count now.
    ///
    /// Parts that lie ahead, because the clock stepped back, stay if the newest begins at most one
    /// window ahead; beyond that all count as none.
    pub(super) fn at(&self, quota: &Quota, now: u64) -> Parts<'_> {
        let parts = parts(quota);
        let width = width(quota);
        let present = now / width;
        let near = self.index * width <= now.saturating_add(quota.window_millis());
        let index = if near {
            self.index.max(present)
        } else {
            present
        };
        let gone = usize::try_from(index.abs_diff(self.index)).unwrap_or(usize::MAX);
        let kept = if near { parts.saturating_sub(gone) } else { 0 };
        Parts {
            counts: self
                .counts
                .get(..kept.min(self.counts.len()))
                .unwrap_or(&[]),
            newest: self.index,
            index,
            lifetime: width * parts as u64,
            width,
            limit: quota.limit(),
            now,
        }
    }

    /// Adds what was taken, forgets what no longer counts, and gives the number
    /// of the part as its mark.
    pub(super) fn take(&mut self, quota: &Quota, now: u64, units: u64) -> u64 {
        let Parts {
            index,
            counts: live,
            newest,
            ..
        } = self.at(quota, now);
        let live = live.len();
        let gone = if live == 0 { 0 } else { index - newest };
        self.counts.truncate(live);
        self.counts.splice(0..0, (0..gone).map(|_| 0));
        self.counts.resize(parts(quota), 0);
        self.counts.shrink_to_fit();
        if let Some(newest) = self.counts.first_mut() {
            *newest = newest.saturating_add(u32::try_from(units).unwrap_or(u32::MAX));
        }
        self.index = index;
        index
    }

    /// Gives back what was taken in the part with this number.
    pub(super) fn refund(&mut self, units: u64, mark: u64) {
        let age = self.index.checked_sub(mark);
        let part = age
            .and_then(|age| usize::try_from(age).ok())
            .and_then(|age| self.counts.get_mut(age));
        if let Some(part) = part {
            *part = part.saturating_sub(u32::try_from(units).unwrap_or(u32::MAX));
        }
    }

    /// When the newest part stops counting.
    pub(super) fn end(&self, window: u64, buckets: u32) -> u64 {
        let width = window.div_ceil(u64::from(buckets.max(1)));
        (self.index + u64::from(buckets) + 1).saturating_mul(width)
    }

    /// How many parts there is room for without asking for more.
    pub(super) fn capacity(&self) -> usize {
        self.counts.capacity()
    }
}

/// The parts of one counter that count now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    counts: &'a [u32],
    /// Number of the first of these.
    newest: u64,
    /// Number of the part that hits come in now.
    index: u64,
    /// How long a part counts from its beginning.
    lifetime: u64,
    width: u64,
    limit: u64,
    now: u64,
}

impl Parts<'_> {
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used())
    }

    /// The least wait after which this many units fit, which now do not: until the newest part
    /// leaves that has no room beside them.
    pub(super) fn wait(&self, units: u64) -> u64 {
        let mut used = self.used();
        for (age, count) in self.counts.iter().enumerate().rev() {
            used -= u64::from(*count);
            if used + units <= self.limit {
                let left_at = (self.newest - age as u64) * self.width + self.lifetime;
                return left_at.saturating_sub(self.now);
            }
        }
        0
    }

    fn used(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

/// How many parts count at one moment: a window full, and the one that it has begun to leave.
fn parts(quota: &Quota) -> usize {
    match quota.algorithm() {
        Algorithm::Buckets { buckets } => buckets as usize + 1,
        _ => 1,
    }
}

/// The length of a part.
fn width(quota: &Quota) -> u64 {
    quota
        .window_millis()
        .div_ceil(parts(quota).max(2) as u64 - 1)
}
