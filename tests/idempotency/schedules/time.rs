//! What time it is, for a schedule and for its store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{runtime, time::Instant};
use tower_stash::clock::{Clock, Timestamp};

/// A clock that goes with tokio's, which a test pauses, and can be set back.
#[derive(Clone, Debug)]
pub(crate) struct Virtual {
    began: Instant,
    behind: Arc<AtomicU64>,
}

impl Virtual {
    pub(crate) fn new() -> Self {
        Self {
            began: now(),
            behind: Arc::default(),
        }
    }

    pub(crate) fn step_back(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or_default();
        self.behind.fetch_add(micros, SeqCst);
    }
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        let behind = Duration::from_micros(self.behind.load(SeqCst));
        Timestamp::from_millis(BEGINNING_OF_2026) + (now() - self.began) - behind
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the layer is told of time is compared with this"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// One thread, on which time passes when nothing else is to be done.
pub(crate) fn paused() -> runtime::Runtime {
    runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime is built")
}

/// In milliseconds since the Unix epoch.
const BEGINNING_OF_2026: u64 = 1_767_225_600_000;
