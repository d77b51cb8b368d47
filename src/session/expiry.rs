//! How long a session lives, by the backend's clock.

use std::time::Duration;

use super::record::Head;
use crate::{
    backend::Version,
    clock::{Monotonic, Timestamp, monotonic_now},
};

/// The backend's clock, as far as one answer of it tells.
///
/// What has passed since is counted from the moment the question was *sent*, so this clock is never
/// late: a session ends early by a round trip at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    then: Timestamp,
    asked: Monotonic,
}

impl ServerClock {
    /// The clock that showed this time when it answered a question sent at `asked`.
    pub(super) fn new(then: Timestamp, asked: Monotonic) -> Self {
        Self { then, asked }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.then + monotonic_now().saturating_duration_since(self.asked)
    }
}

/// What time it was when a record that was written for `ttl` had so long left: no call is needed to
/// ask for it.
pub(super) fn read_at(version: Version, ttl: Duration, expires_in: Duration) -> Timestamp {
    version.written_at() + ttl.saturating_sub(expires_in)
}

/// How long a session lives when nobody uses it, and how long at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
}

/// How long a record that is written now is to live; `None` if its session's life is over.
pub(super) fn time_to_live(
    head: &Head,
    version: Version,
    idle: Duration,
    now: Timestamp,
) -> Option<Duration> {
    let left = head.deadline(version) - now;
    let ttl = whole_millis(idle.min(left));
    (!ttl.is_zero()).then_some(ttl)
}

/// What a record that is written again now would gain.
pub(super) fn gain(head: &Head, version: Version, ttl: Duration, now: Timestamp) -> Duration {
    (now + ttl) - (version.written_at() + head.ttl)
}

/// Rounded down, so that nothing lives longer than it may.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
