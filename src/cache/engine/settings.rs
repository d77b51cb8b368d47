//! What holds for all rules of a layer.

use std::time::Duration;

use crate::cache::{early, semantics::status::CacheName};

/// Who fetches where many want the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coalescing {
    /// Everybody.
    Off,
    /// One request in each process; the others wait for it.
    Process,
    /// One request among all instances; the others wait for it.
    #[default]
    Fleet,
}

/// How soon an instance heeds what others purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// When the message of it comes, which is at once as a rule, and at the latest after this long.
    Bounded(Duration),
    /// At once: each use asks the backend for what was purged, beside what is stored. Nothing is kept
    /// in the process.
    Strict,
}

impl Default for Consistency {
    fn default() -> Self {
        Self::Bounded(Duration::from_secs(2))
    }
}

#[derive(Clone, Debug)]
pub(in crate::cache) struct Settings {
    /// What this cache calls itself in `Cache-Status`.
    pub(in crate::cache) name: CacheName,
    pub(in crate::cache) coalescing: Coalescing,
    pub(in crate::cache) consistency: Consistency,
    pub(in crate::cache) max_life: Duration,
    /// How many bytes of copies the process keeps.
    pub(in crate::cache) near: usize,
    /// Whence the random numbers come by which it is fetched anew early.
    pub(in crate::cache) chance: fn() -> f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: CacheName::default(),
            coalescing: Coalescing::default(),
            consistency: Consistency::default(),
            max_life: Duration::from_secs(24 * 3_600),
            near: 0,
            chance: early::chance,
        }
    }
}
