//! Warning of what was promised and could not be kept, without flooding anyone's log.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};
#[cfg(feature = "tracing")]
use std::{
    sync::{OnceLock, atomic::AtomicU64},
    time::Duration,
};

#[cfg(feature = "tracing")]
use crate::clock::{Monotonic, monotonic_now};

/// A place in the code from which warnings may come; make it a `static`.
#[derive(Debug)]
pub(crate) struct WarnSite {
    #[cfg(feature = "tracing")]
    name: &'static str,
    #[cfg(feature = "tracing")]
    throttle: Throttle,
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, clippy::unused_self, reason = "nobody listens")
)]
impl WarnSite {
    /// The place with this name, such as `rate_limit: refund`.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            name,
            #[cfg(feature = "tracing")]
            throttle: Throttle::new(),
        }
    }

    /// Warns that something promised could not be kept, unless this place warned in the last 10 s.
    ///
    /// The message must not contain keys, values or anything a client sent; a
    /// [`BackendError`](crate::backend::BackendError) never does.
    pub(crate) fn warn(&self, message: &dyn fmt::Display) {
        #[cfg(feature = "tracing")]
        if self.throttle.admits(monotonic_now()) {
            tracing::warn!(target: "tower_stash", place = self.name, "{message}");
        }
    }
}

/// A place that warns of how a program is put together, which no later request changes: once.
#[derive(Debug)]
pub(crate) struct WarnOnce {
    site: WarnSite,
    has_warned: AtomicBool,
}

impl WarnOnce {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            site: WarnSite::new(name),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Whether there is nothing more to find out; also if nobody listens.
    pub(crate) fn has_warned(&self) -> bool {
        !cfg!(feature = "tracing") || self.has_warned.load(Ordering::Relaxed)
    }

    /// Warns as [`WarnSite::warn`] does, unless this place has warned before.
    pub(crate) fn warn(&self, message: &dyn fmt::Display) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            self.site.warn(message);
        }
    }
}

/// Admits one event in [`QUIET`].
#[cfg(feature = "tracing")]
#[derive(Debug)]
struct Throttle {
    /// When the first event came.
    first: OnceLock<Monotonic>,
    /// How many nanoseconds after the first it admits the next.
    next: AtomicU64,
}

#[cfg(feature = "tracing")]
impl Throttle {
    const fn new() -> Self {
        Self {
            first: OnceLock::new(),
            next: AtomicU64::new(0),
        }
    }

    fn admits(&self, now: Monotonic) -> bool {
        let elapsed = now.saturating_duration_since(*self.first.get_or_init(|| now));
        let next = self.next.load(Ordering::Relaxed);
        if elapsed < Duration::from_nanos(next) {
            return false;
        }
        let after = u64::try_from((elapsed + QUIET).as_nanos()).unwrap_or(u64::MAX);
        // Of those that saw the same time to go, one succeeds.
        self.next
            .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// How long a place says nothing after a warning.
#[cfg(feature = "tracing")]
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::observe::tests::logged;

    #[test]
    fn the_first_event_is_admitted_and_the_next_after_ten_seconds() {
        let throttle = Throttle::new();
        let began = monotonic_now();
        assert!(throttle.admits(began));
        assert!(!throttle.admits(began));
        assert!(!throttle.admits(began + Duration::from_nanos(9_999_999_999)));
        assert!(throttle.admits(began + QUIET));
        assert!(!throttle.admits(began + QUIET));
    }

    #[test]
    fn of_two_threads_at_one_moment_at_most_one_is_admitted() {
        const MOMENTS: u32 = 1_000_000;
        let throttle = Throttle::new();
        let began = monotonic_now();
        let admitted_of_all_moments = || {
            (0..MOMENTS)
                .filter(|moment| throttle.admits(began + *moment * QUIET))
                .count()
        };
        let admitted = thread::scope(|scope| {
            [(); 2]
                .map(|()| scope.spawn(admitted_of_all_moments))
                .map(|thread| thread.join().expect("it does not panic"))
        });
        assert!(
            admitted.iter().sum::<usize>() <= MOMENTS as usize,
            "{admitted:?}"
        );
    }

    #[test]
    fn a_place_warns_once_and_again_after_ten_seconds_and_silences_no_other() {
        static REFUND: WarnSite = WarnSite::new("test: refund");
        static PURGE: WarnSite = WarnSite::new("test: purge");
        let log = logged(async {
            REFUND.warn(&"could not refund");
            REFUND.warn(&"could not refund again");
            PURGE.warn(&"could not purge");
            tokio::time::advance(QUIET).await;
            REFUND.warn(&"could not refund later");
        });
        assert_eq!(
            log,
            [
                r#" WARN tower_stash: could not refund place="test: refund""#,
                r#" WARN tower_stash: could not purge place="test: purge""#,
                r#" WARN tower_stash: could not refund later place="test: refund""#,
            ]
        );
    }

    #[test]
    fn what_is_said_once_is_never_said_again() {
        static ASSEMBLY: WarnOnce = WarnOnce::new("test: assembly");
        let log = logged(async {
            assert!(!ASSEMBLY.has_warned());
            ASSEMBLY.warn(&"put together wrongly");
            assert!(ASSEMBLY.has_warned());
            tokio::time::advance(QUIET).await;
            ASSEMBLY.warn(&"put together wrongly");
        });
        assert_eq!(
            log,
            [r#" WARN tower_stash: put together wrongly place="test: assembly""#]
        );
    }
}
