//! The token bucket: [`Algorithm::TokenBucket`](super::Algorithm::TokenBucket).
//!
//! What is stored is the theoretical arrival time of GCRA (ITU-T I.371): when the bucket will be
//! full, nobody else coming. Each hit moves it later by what one token takes to come. Times are
//! microseconds on the backend's clock. `acquire/token_bucket.lua` does the same.

use super::Quota;

/// When a bucket is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    full_at: u64,
    /// How long an empty bucket took to fill when this was written.
    filling: u64,
}

impl TokenBucket {
    /// Nothing taken.
    pub(super) const EMPTY: Self = Self {
        full_at: 0,
        filling: 0,
    };

    /// What is in the bucket now.
    ///
    /// A bucket that is full only in more than twice the time that filling it took, because the
    /// clock stepped back, counts as full. That time is the one written: with a size that was
    /// lowered since, it would look like a step, and grant a burst.
    pub(super) fn at(self, quota: &Quota, now: u64) -> Level {
        let interval = quota.interval_micros();
        Level {
            now,
            interval,
            filling: quota.capacity() * interval,
            full_at: if self.is_near(now) {
                self.full_at.max(now)
            } else {
                now
            },
        }
    }

    /// Gives back what has not come back by itself of what moved the time to this mark.
    pub(super) fn refund(&mut self, quota: &Quota, now: u64, units: u64, mark: u64) {
        if self.full_at <= now || !self.is_near(now) {
            return;
        }
        let taken = units.saturating_mul(quota.interval_micros());
        let given_back = taken.min(mark.saturating_sub(now));
        let full_at = self.full_at.saturating_sub(given_back);
        // A full bucket is as if nothing had been taken, wherever the clock steps.
        self.full_at = if full_at > now { full_at } else { 0 };
    }

    /// When it stops counting, in milliseconds.
    pub(super) fn end(self) -> u64 {
        self.full_at.div_ceil(1_000)
    }

    fn is_near(self, now: u64) -> bool {
        self.full_at <= now.saturating_add(2 * self.filling)
    }
}

/// A bucket at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    now: u64,
    /// How long a token takes to come.
    interval: u64,
    /// How long an empty bucket takes to fill.
    filling: u64,
    full_at: u64,
}

impl Level {
    pub(super) fn remaining(&self) -> u64 {
        self.filling.saturating_sub(self.full_at - self.now) / self.interval
    }

    /// The least wait after which this many units fit, which now do not, in microseconds.
    pub(super) fn wait(&self, units: u64) -> u64 {
        (self.full_at - self.now + units * self.interval).saturating_sub(self.filling)
    }

    /// The bucket with this much more taken, and when it is full as the mark of that.
    pub(super) fn take(self, units: u64) -> (TokenBucket, u64) {
        let full_at = self.full_at + units * self.interval;
        let bucket = TokenBucket {
            full_at,
            filling: self.filling,
        };
        (bucket, full_at)
    }
}
