//! The backend that is embedded in the process.

mod broadcast;
mod budget;
mod index;
mod key_value;
mod pools;
mod quotas;
mod set;
mod shard;
mod slots;
mod store;
mod table;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::{broadcast::Channels, key_value::Versions, store::Store};
use crate::clock::{Clock, SystemClock};

/// A backend in this process's memory, for a single instance and for tests; cheap to clone, and
/// clones share what is stored.
///
/// It is bounded twice, by entries and by bytes, and neither bound is exceeded at any time. What no
/// longer fits pushes out what has expired, then what was used least recently: a record, a whole
/// index, or all counters or slots of one subject. A counter that is pushed out starts again from
/// nothing, so leave room for as many subjects as come within the longest window.
///
/// # What is counted
///
/// An entry is a record, an index, or the counters or the slots of one subject. Its bytes are its
/// key, its content and 200 for the bookkeeping; every member of an index counts 160 more, every
/// slot 120, and so does every name that slots are of. Contents are copied when they
/// are stored, so that a small slice never keeps a large buffer alive.
///
/// What alone exceeds the bound is refused as [`Rejected`](super::BackendErrorKind::Rejected). With
/// a bound of 0, of bytes or of entries, nothing can be stored: every write is refused, reads find
/// nothing, and messages are still delivered.
///
/// # Messages
///
/// A subscription holds up to 1,024 messages that were not yet read. After that it loses the oldest
/// ones and says so by [`Signal::Lagged`](super::Signal::Lagged). It ends when the last clone of
/// the backend is dropped.
///
/// ```
/// use tower_stash::backend::MemoryBackend;
///
/// let small = MemoryBackend::new().with_max_bytes(16 * 1024 * 1024).with_max_entries(10_000);
/// assert_eq!(small.stored_entries(), 0);
/// ```
#[derive(Clone)]
pub struct MemoryBackend {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Store,
    versions: Versions,
    channels: Channels,
}

impl MemoryBackend {
    /// At most 1,000,000 entries and 256 MiB, on the operating system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_settings(Settings {
            max_bytes: 256 * 1024 * 1024,
            max_entries: 1_000_000,
            clock: Arc::new(SystemClock),
        })
    }

    /// At most this many bytes.
    ///
    /// The backend that is returned is empty and shares nothing with clones made before.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self::with_settings(Settings {
            max_bytes,
            ..self.inner.settings.clone()
        })
    }

    /// At most this many entries.
    ///
    /// The backend that is returned is empty and shares nothing with clones made before.
    #[must_use]
    pub fn with_max_entries(self, max_entries: usize) -> Self {
        Self::with_settings(Settings {
            max_entries,
            ..self.inner.settings.clone()
        })
    }

    /// Takes the time from this clock.
    ///
    /// The backend that is returned is empty and shares nothing with clones made before.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::with_settings(Settings {
            clock: Arc::new(clock),
            ..self.inner.settings.clone()
        })
    }

    /// How many entries are stored, with those that expired and were not yet swept out.
    #[must_use]
    pub fn stored_entries(&self) -> usize {
        self.inner.store.budget().entries()
    }

    /// How many bytes the stored entries count, with those that expired and were not yet swept out.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.inner.store.budget().bytes()
    }

    fn with_settings(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: Store::new(&settings),
                versions: Versions::default(),
                channels: Channels::default(),
                settings,
            }),
        }
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("max_bytes", &self.inner.settings.max_bytes)
            .field("max_entries", &self.inner.settings.max_entries)
            .field("stored_bytes", &self.stored_bytes())
            .field("stored_entries", &self.stored_entries())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Settings {
    max_bytes: usize,
    max_entries: usize,
    clock: Arc<dyn Clock>,
}

/// Locks, whether or not a holder panicked: nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
