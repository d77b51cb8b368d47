//! The state of a counter, of whichever algorithm, and what it says at one moment.

use std::time::Duration;

use super::{
    Algorithm, LimitState, Quota, Retry,
    bounds::millis,
    buckets::{Buckets, Parts},
    counter::{Counter, Share},
    fixed::{Fixed, Window},
    log::{Live, Log},
    token_bucket::{Level, TokenBucket},
};
use crate::clock::Timestamp;

/// One counter, as its algorithm keeps it.
#[derive(Clone, Debug)]
pub(super) enum State {
    Fixed(Fixed),
    Counter(Counter),
    Log(Log),
    Buckets(Buckets),
    TokenBucket(TokenBucket),
}

impl State {
    /// The state in which nothing was taken.
    pub(super) fn empty(algorithm: Algorithm) -> &'static Self {
        static FIXED: State = State::Fixed(Fixed::EMPTY);
        static COUNTER: State = State::Counter(Counter::EMPTY);
        static LOG: State = State::Log(Log::EMPTY);
        static BUCKETS: State = State::Buckets(Buckets::EMPTY);
        static TOKEN_BUCKET: State = State::TokenBucket(TokenBucket::EMPTY);
        match algorithm {
            Algorithm::Fixed | Algorithm::FixedAligned { .. } => &FIXED,
            Algorithm::Counter => &COUNTER,
            Algorithm::Log => &LOG,
            Algorithm::Buckets { .. } => &BUCKETS,
            Algorithm::TokenBucket { .. } => &TOKEN_BUCKET,
        }
    }

    /// What it says now.
    pub(super) fn at(&self, quota: &Quota, now: Timestamp) -> Reading<'_> {
        let millis = now.as_millis();
        match self {
            Self::Fixed(fixed) => Reading::Fixed(fixed.at(quota, millis)),
            Self::Counter(counter) => Reading::Counter(counter.at(quota, millis)),
            Self::Log(log) => Reading::Log(log.at(quota, millis)),
            Self::Buckets(buckets) => Reading::Buckets(buckets.at(quota, millis)),
            Self::TokenBucket(bucket) => Reading::TokenBucket(bucket.at(quota, now.as_micros())),
        }
    }

    /// Takes units, which fit, and gives the mark of that.
    pub(super) fn take(&mut self, quota: &Quota, now: Timestamp, units: u64) -> u64 {
        let millis = now.as_millis();
        let mark;
        match self {
            Self::Fixed(fixed) => (*fixed, mark) = fixed.at(quota, millis).take(units),
            Self::Counter(counter) => (*counter, mark) = counter.at(quota, millis).take(units),
            Self::Log(log) => mark = log.take(quota, millis, units),
            Self::Buckets(buckets) => mark = buckets.take(quota, millis, units),
            Self::TokenBucket(bucket) => {
                (*bucket, mark) = bucket.at(quota, now.as_micros()).take(units);
            }
        }
        mark
    }

    /// Gives back units with this mark.
    pub(super) fn refund(&mut self, quota: &Quota, now: Timestamp, units: u64, mark: u64) {
        match self {
            Self::Fixed(fixed) => fixed.refund(units, mark),
            Self::Counter(counter) => counter.refund(units, mark),
            Self::Log(log) => log.refund(units, mark),
            Self::Buckets(buckets) => buckets.refund(units, mark),
            Self::TokenBucket(bucket) => bucket.refund(quota, now.as_micros(), units, mark),
        }
    }

    /// When it stops counting, in milliseconds.
    pub(super) fn end(&self, algorithm: Algorithm, window: Duration) -> u64 {
        let window = millis(window);
        match (self, algorithm) {
            (Self::Fixed(fixed), _) => fixed.end(window),
            (Self::Counter(counter), _) => counter.end(window),
            (Self::Log(log), _) => log.end(window),
            (Self::Buckets(it), Algorithm::Buckets { buckets }) => it.end(window, buckets),
            (Self::Buckets(_), _) => 0,
            (Self::TokenBucket(bucket), _) => bucket.end(),
        }
    }

    /// How many bytes it takes beside its own.
    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Log(log) => size_of::<u64>() * log.capacity(),
            Self::Buckets(buckets) => size_of::<u32>() * buckets.capacity(),
            Self::Fixed(_) | Self::Counter(_) | Self::TokenBucket(_) => 0,
        }
    }
}

/// A counter at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading<'a> {
    Fixed(Window),
    Counter(Share),
    Log(Live<'a>),
    Buckets(Parts<'a>),
    TokenBucket(Level),
}

impl Reading<'_> {
    /// How many units fit.
    pub(super) fn remaining(&self) -> u64 {
        match self {
            Self::Fixed(window) => window.remaining(),
            Self::Counter(share) => share.remaining(),
            Self::Log(live) => live.remaining(),
            Self::Buckets(parts) => parts.remaining(),
            Self::TokenBucket(level) => level.remaining(),
        }
    }

    /// What a caller is told who asks for this cost.
    pub(super) fn report(&self, quota: &Quota, cost: u64, mark: u64) -> LimitState {
        let remaining = self.remaining() / u64::from(quota.weight());
        let retry = self.retry(quota, quota.weighed(cost));
        let reset = match self.retry(quota, quota.weighed(remaining + 1)) {
            Retry::After(wait) => Some(wait),
            Retry::Now | Retry::Never => None,
        };
        LimitState::new(quota.limit(), remaining, retry, reset, mark)
    }

    fn retry(&self, quota: &Quota, units: u64) -> Retry {
        if units > quota.capacity() {
            return Retry::Never;
        }
        if units <= self.remaining() {
            return Retry::Now;
        }
        Retry::After(match self {
            Self::Fixed(window) => Duration::from_millis(window.wait()),
            Self::Counter(share) => Duration::from_millis(share.wait(units)),
            Self::Log(live) => Duration::from_millis(live.wait(units)),
            Self::Buckets(parts) => Duration::from_millis(parts.wait(units)),
            Self::TokenBucket(level) => Duration::from_micros(level.wait(units)),
        })
    }
}
