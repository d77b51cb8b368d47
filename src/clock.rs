//! Where time is read, and nowhere else.
//!
//! Redis has a clock of its own, which its scripts read.
//! [`MemoryBackend`](crate::backend::MemoryBackend) takes any [`Clock`], so that a test
//! can move days in no time.

use std::{
    fmt,
    ops::{Add, Sub},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// An instant on a backend's clock: whole microseconds since the Unix epoch.
///
/// Two timestamps are comparable when they come from the same backend. Arithmetic saturates: the
/// difference to a later timestamp is zero, and no sum wraps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The timestamp this many microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The timestamp this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

/// The time from the right one to the left one; zero if the left one is the earlier.
impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}µs", self.0)
    }
}

/// Something that tells the time.
///
/// It may stand still and it may step back; whoever reads it must hold its promises all the same.
pub trait Clock: Send + Sync + 'static {
    /// What time it is now.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::default() + since_epoch
    }
}

/// An instant on this process's monotonic clock, for measuring how long something took.
///
/// It follows tokio's clock, so a test under `tokio::time::pause` can advance it.
pub(crate) type Monotonic = tokio::time::Instant;

/// The monotonic clock's present.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the monotonic clock"
)]
pub(crate) fn monotonic_now() -> Monotonic {
    Monotonic::now()
}

/// The instant after so much time, or one that nobody lives to see where that is beyond all instants.
#[cfg(feature = "idempotency")]
pub(crate) fn monotonic_in(duration: Duration) -> Monotonic {
    let now = monotonic_now();
    now.checked_add(duration).unwrap_or(now + FOR_EVER)
}

/// Thirty years.
#[cfg(feature = "idempotency")]
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
