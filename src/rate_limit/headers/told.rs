//! What there is to tell of a limit.

use std::{cmp::Reverse, time::Duration};

use crate::{
    backend::{Algorithm, LimitState, Quota, Retry},
    respond::whole_seconds,
};

/// A limit and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// Its name as clients see it: rule, dot, limit.
    pub(super) name: &'a str,
    pub(super) quota: Quota,
    pub(super) state: &'a LimitState,
}

impl Told<'_> {
    /// How many calls of cost one it admits at once.
    pub(super) fn calls(&self) -> u64 {
        calls(&self.quota)
    }

    /// How many of them are left.
    pub(super) fn remaining(&self) -> u64 {
        integer(self.state.remaining)
    }

    /// The seconds in which it admits so many, if they are whole.
    pub(super) fn window(&self) -> Option<u64> {
        window(&self.quota)
    }

    /// Seconds until there is one more, rounded up; `None` where nothing is used.
    pub(super) fn reset_seconds(&self) -> Option<u64> {
        self.state.reset.map(whole_seconds).map(integer)
    }

    /// Less is tighter: what denies, then what has the fewest left, then what stays so longest.
    pub(super) fn looseness(&self) -> (bool, u64, Reverse<Option<Duration>>) {
        let admits = self.state.retry == Retry::Now;
        (admits, self.state.remaining, Reverse(self.state.reset))
    }
}

/// How many calls of cost one a quota admits at once, in its window or in a burst.
pub(super) fn calls(quota: &Quota) -> u64 {
    integer(quota.capacity() / u64::from(quota.weight()))
}

/// The seconds in which a quota admits so many: its window, if they are whole, or what a burst
/// takes to come back.
pub(super) fn window(quota: &Quota) -> Option<u64> {
    if let Algorithm::TokenBucket { burst } = quota.algorithm() {
        let micros = burst.saturating_mul(quota.interval_micros());
        return (burst > 0).then(|| integer(micros.div_ceil(1_000_000)));
    }
    let window = quota.window();
    (window.subsec_nanos() == 0).then(|| integer(window.as_secs()))
}

/// As near to a number as an Integer of a structured field can be (RFC 9651 §3.3.1).
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}
