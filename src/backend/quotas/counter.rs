//! The sliding window counter: [`Algorithm::Counter`](super::Algorithm::Counter).
//!
//! Two aligned windows are counted; the sliding window ends now and covers a share of the previous
//! one, whose hits are taken to have come evenly. Everything is multiplied by the window, so that
//! no fraction appears. Times are milliseconds on the backend's clock.
//! `acquire/counter.lua` does the same.

use super::Quota;

/// The counts of an aligned window and the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    /// Number of the aligned window since the Unix epoch.
    index: u64,
    current: u64,
    previous: u64,
}

impl Counter {
    /// Nothing taken.
    pub(super) const EMPTY: Self = Self {
        index: 0,
        current: 0,
        previous: 0,
    };

    /// The two windows that count now.
    ///
    /// Counts of the next window, because the clock stepped back, stay and count as if that window
    /// had just begun; beyond that they count as none.
    pub(super) fn at(self, quota: &Quota, now: u64) -> Share {
        let window = quota.window_millis();
        let index = now / window;
        let present = if self.index == index || self.index == index + 1 {
            self
        } else if self.index + 1 == index {
            Self {
                index,
                current: 0,
                previous: self.current,
            }
        } else {
            Self {
                index,
                current: 0,
                previous: 0,
            }
        };
        let start = present.index * window;
        Share {
            present,
            limit: quota.limit(),
            window,
            elapsed: now.saturating_sub(start),
            ahead: start.saturating_sub(now),
        }
    }

    /// Gives back what was taken in the window with this number.
    pub(super) fn refund(&mut self, units: u64, mark: u64) {
        if self.index == mark {
            self.current = self.current.saturating_sub(units);
        } else if self.index == mark.saturating_add(1) {
            self.previous = self.previous.saturating_sub(units);
        }
    }

    /// When it stops counting: at the end of the window after the current one.
    pub(super) fn end(self, window: u64) -> u64 {
        self.index.saturating_add(2).saturating_mul(window)
    }
}

/// The present share of two windows in the sliding one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    present: Counter,
    limit: u64,
    window: u64,
    /// How much of the current window has passed.
    elapsed: u64,
    /// How long until the current window begins, after a step back of the clock.
    ahead: u64,
}

impl Share {
    pub(super) fn remaining(&self) -> u64 {
        let Counter {
            current, previous, ..
        } = self.present;
        let used = current * self.window + previous * (self.window - self.elapsed);
        (self.limit * self.window).saturating_sub(used) / self.window
    }

    /// The least wait after which this many units fit, which now do not.
    pub(super) fn wait(&self, units: u64) -> u64 {
        let Counter {
            current, previous, ..
        } = self.present;
        let left = self.window - self.elapsed;
        let wait = match self.limit.checked_sub(current + units) {
            // In this window, once the share of the previous one has shrunk to what is left for it.
            Some(room) => left - left.min(fitting(room, self.window, previous)),
            // In the next window, once the share of this one has.
            None => {
                left + self
                    .window
                    .saturating_sub(fitting(self.limit - units, self.window, current))
            }
        };
        self.ahead + wait
    }

    /// The windows with this much more taken, and the current one's number as the mark of that.
    pub(super) fn take(self, units: u64) -> (Counter, u64) {
        let Counter {
            index,
            current,
            previous,
        } = self.present;
        (
            Counter {
                index,
                current: current + units,
                previous,
            },
            index,
        )
    }
}

/// How many milliseconds of a window with this count leave room for the rest.
fn fitting(room: u64, window: u64, count: u64) -> u64 {
    (room * window).checked_div(count).unwrap_or(u64::MAX)
}
