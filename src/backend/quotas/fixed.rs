//! Windows with a beginning and an end: [`Algorithm::Fixed`](super::Algorithm::Fixed) and
//! [`Algorithm::FixedAligned`](super::Algorithm::FixedAligned).
//!
//! Times are milliseconds on the backend's clock. `acquire/fixed.lua` and
//! `acquire/fixed_aligned.lua` do the same.

use super::Quota;

/// A window and what was taken in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    start: u64,
    count: u64,
}

impl Fixed {
    /// Nothing taken.
    pub(super) const EMPTY: Self = Self { start: 0, count: 0 };

    /// The window that counts now: this one while it lasts, else a fresh one.
    ///
    /// A window that lies ahead, because the clock stepped back, stays if it is at most one window
    /// ahead; beyond that it counts as empty, so that nobody is locked out for the whole step.
    pub(super) fn at(self, quota: &Quota, now: u64) -> Window {
        let length = quota.window_millis();
        let lasts = now < self.start.saturating_add(length);
        let near = self.start <= now.saturating_add(length);
        let present = if self.count > 0 && lasts && near {
            self
        } else {
            Self {
                start: fresh_start(quota, now),
                count: 0,
            }
        };
        Window {
            limit: quota.limit(),
            until_end: (present.start + length).saturating_sub(now),
            present,
        }
    }

    /// Gives back what was taken in the window with this start.
    pub(super) fn refund(&mut self, units: u64, mark: u64) {
        if self.start == mark {
            self.count = self.count.saturating_sub(units);
        }
    }

    /// When it stops counting.
    pub(super) fn end(self, window: u64) -> u64 {
        self.start.saturating_add(window)
    }
}

/// Where a window begins whose first hit comes now.
fn fresh_start(quota: &Quota, now: u64) -> u64 {
    match quota.algorithm() {
        super::Algorithm::FixedAligned { .. } => {
            let offset = quota.offset_millis();
            now.saturating_sub(now.saturating_sub(offset) % quota.window_millis())
        }
        _ => now,
    }
}

/// The present window of one counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    present: Fixed,
    limit: u64,
    until_end: u64,
}

impl Window {
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.present.count)
    }

    /// The wait until a fresh window, which admits whatever the limit does.
    pub(super) fn wait(&self) -> u64 {
        self.until_end
    }

    /// The window with this much more taken, and its start as the mark of that.
    pub(super) fn take(self, units: u64) -> (Fixed, u64) {
        let Fixed { start, count } = self.present;
        (
            Fixed {
                start,
                count: count + units,
            },
            start,
        )
    }
}
