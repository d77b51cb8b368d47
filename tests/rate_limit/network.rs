//! A backend that seems to be reached over a network, on a clock that goes
//! as the test's paused time.

use std::time::Duration;

use tokio::time::Instant;
use tower_stash::{
    backend::MemoryBackend,
    clock::{Clock, Timestamp},
    testing::{Fault, FaultBackend},
};

/// How long the backend takes to answer.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(10);

/// A backend in memory that fails on demand.
pub(crate) type Remote = FaultBackend<MemoryBackend>;

/// A backend that acts at once, and answers a round trip later.
pub(crate) fn remote() -> Remote {
    remote_with(Fault::LateReply(ROUND_TRIP))
}

/// A backend all of whose calls meet this.
pub(crate) fn remote_with(fault: Fault) -> Remote {
    let clock = PausedClock { began: now() };
    FaultBackend::new(MemoryBackend::new().with_clock(clock))
        .seen_as_remote()
        .with_fault_rate(1.0)
        .with_faults([fault])
}

/// The test's time.
#[expect(
    clippy::disallowed_methods,
    reason = "tests measure the time that they have paused"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A wall clock that began with a minute, and goes on as tokio's does.
struct PausedClock {
    began: Instant,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(BEGINNING_OF_2026) + self.began.elapsed()
    }
}

/// In milliseconds since the Unix epoch.
const BEGINNING_OF_2026: u64 = 1_767_225_600_000;
