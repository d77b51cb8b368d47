//! A clock that a test moves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// A clock that stands still until it is told to move; clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::{
///     backend::{GetOptions, KeyValue, MemoryBackend, PutOptions},
///     key::{Key, KeyParts},
///     testing::ManualClock,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = ManualClock::new();
/// let backend = MemoryBackend::new().with_clock(clock.clone());
/// let key = Key::custom("draft", &KeyParts::new().with(1_u64));
/// let hour = PutOptions::new(Duration::from_secs(3_600));
/// _ = backend.put(&key, "text".into(), hour).await?;
///
/// clock.advance(Duration::from_secs(3_600));
/// assert_eq!(backend.get(&key, GetOptions::new()).await?, None);
/// # Ok::<(), tower_stash::backend::BackendError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    micros: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at the beginning of the year 2026, UTC.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_millis(BEGINNING_OF_2026))
    }

    /// A clock that stands at this time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self {
            micros: Arc::new(AtomicU64::new(time.as_micros())),
        }
    }

    /// Moves the clock forward, to the end of time at most; parts of a microsecond are dropped.
    pub fn advance(&self, time: Duration) {
        let later = |micros| Some((Timestamp::from_micros(micros) + time).as_micros());
        _ = self.micros.fetch_update(SeqCst, SeqCst, later);
    }

    /// Moves the clock to this time, which may be an earlier one.
    pub fn set(&self, time: Timestamp) {
        self.micros.store(time.as_micros(), SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(SeqCst))
    }
}

/// In milliseconds since the Unix epoch.
const BEGINNING_OF_2026: u64 = 1_767_225_600_000;
