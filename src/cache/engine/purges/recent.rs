//! What this process purged lately, to do it again where a failover may have lost it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    cache::{
        stamps::{Purge, Severity},
        url::UrlKey,
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    key::Key,
};

/// The purges of the last minute, or the last of them.
#[derive(Default)]
pub(super) struct Recent {
    purges: Mutex<VecDeque<(Monotonic, Done)>>,
}

/// A purge that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Tag(Purge),
    Url {
        url: UrlKey,
        severity: Severity,
        at: Timestamp,
    },
}

impl Recent {
    pub(super) fn add(&self, purges: impl IntoIterator<Item = Done>) {
        let now = monotonic_now();
        let mut recent = self.lock();
        recent.extend(purges.into_iter().map(|purge| (now, purge)));
        forget_old(&mut recent, now);
    }

    /// Those that are not yet forgotten, oldest first.
    pub(super) fn all(&self) -> Vec<Done> {
        let mut recent = self.lock();
        forget_old(&mut recent, monotonic_now());
        recent.iter().map(|(_, purge)| *purge).collect()
    }

    /// Whether this process has softly purged the URL of this page then.
    pub(super) fn has_softened(&self, page: &Key, then: Timestamp) -> bool {
        let recent = self.lock();
        // Who is told of his own purge is told soon.
        let mut latest = recent.iter().rev().take(256);
        latest.any(|(_, done)| match done {
            Done::Url { url, severity, at } => {
                *severity == Severity::Soft && *at == then && url.page() == *page
            }
            Done::Tag(_) => false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Monotonic, Done)>> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(recent: &mut VecDeque<(Monotonic, Done)>, now: Monotonic) {
    while let Some((at, _)) = recent.front()
        && (recent.len() > MAX_PURGES || now.saturating_duration_since(*at) >= REPEATED)
    {
        recent.pop_front();
    }
}

/// Purges of so long ago are repeated.
const REPEATED: Duration = Duration::from_secs(60);

const MAX_PURGES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::stamps::Tag;

    fn purge(at: u64) -> Done {
        Done::Tag(Purge {
            tag: Tag([1; 16]),
            severity: Severity::Hard,
            at: Timestamp::from_micros(at),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_is_forgotten_after_a_minute() {
        let recent = Recent::default();
        recent.add([purge(1)]);
        tokio::time::advance(REPEATED.saturating_sub(Duration::from_secs(1))).await;
        recent.add([purge(2)]);
        assert_eq!(recent.all(), [purge(1), purge(2)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(recent.all(), [purge(2)]);
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let recent = Recent::default();
        recent.add((0..).take(MAX_PURGES + 1).map(purge));
        assert_eq!(recent.all().len(), MAX_PURGES);
        assert_eq!(recent.all().first(), Some(&purge(1)));
    }
}
