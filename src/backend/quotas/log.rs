//! The exact sliding window: [`Algorithm::Log`](super::Algorithm::Log).
//!
//! Every admitted hit is remembered for one window: a hit at `s` counts until `s + window`,
//! exclusive. Denied hits are not remembered, or a client that keeps trying would never return.
//! Times are milliseconds on the backend's clock. `acquire/log.lua` does the same.

use std::collections::VecDeque;

use super::Quota;

/// The times of the hits, newest first, never growing from one to the next.
#[derive(Clone, Debug)]
pub(super) struct Log {
    hits: VecDeque<u64>,
}

impl Log {
    /// Nothing taken.
    pub(super) const EMPTY: Self = Self {
        hits: VecDeque::new(),
    };

    /// The hits that count now.
    ///
    /// Hits that lie ahead, because the clock stepped back, stay if they are at most one window
    /// ahead; beyond that all count as none.
    pub(super) fn at(&self, quota: &Quota, now: u64) -> Live<'_> {
        let window = quota.window_millis();
        let newest = self.hits.front().copied().unwrap_or(0);
        let near = newest <= now.saturating_add(window);
        let live = if near {
            self.hits
                .partition_point(|hit| hit.saturating_add(window) > now)
        } else {
            0
        };
        Live {
            log: self,
            count: live,
            newest: if near { newest } else { 0 },
            limit: quota.limit(),
            window,
            now,
        }
    }

    /// Adds what was taken, forgets what no longer counts, and gives the time written as its mark.
    ///
    /// Hits after a step back of the clock are dated like the newest one, so that the order holds.
    pub(super) fn take(&mut self, quota: &Quota, now: u64, units: u64) -> u64 {
        let Live { count, newest, .. } = self.at(quota, now);
        let time = now.max(newest);
        self.hits.truncate(count);
        for _ in 0..units {
            self.hits.push_front(time);
        }
        time
    }

    /// Gives back hits of this time.
    pub(super) fn refund(&mut self, units: u64, mark: u64) {
        let mut left = units;
        self.hits.retain(|hit| {
            let given_back = left > 0 && *hit == mark;
            left -= u64::from(given_back);
            !given_back
        });
        self.hits.shrink_to_fit();
    }

    /// When the last hit stops counting.
    pub(super) fn end(&self, window: u64) -> u64 {
        self.hits
            .front()
            .map_or(0, |newest| newest.saturating_add(window))
    }

    /// How many hits there is room for without asking for more.
    pub(super) fn capacity(&self) -> usize {
        self.hits.capacity()
    }
}

/// The hits of one log that count now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live<'a> {
    log: &'a Log,
    count: usize,
    newest: u64,
    limit: u64,
    window: u64,
    now: u64,
}

impl Live<'_> {
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.count as u64)
    }

    /// The least wait after which this many units fit, which now do not: until the newest hit
    /// leaves that has no room beside them.
    pub(super) fn wait(&self, units: u64) -> u64 {
        let last_in_the_way = usize::try_from(self.limit - units)
            .ok()
            .and_then(|index| self.log.hits.get(index));
        last_in_the_way.map_or(0, |hit| (hit + self.window).saturating_sub(self.now))
    }
}
