//! For programs: what is recorded under a key, and shutting down.

use std::{fmt, sync::Arc, time::Duration};

use super::shared::Shared;

/// What programs do with the keys of a layer; made by
/// [`IdempotencyLayer::handle`](super::IdempotencyLayer::handle), cheap to clone.
#[derive(Clone)]
pub struct IdempotencyHandle {
    shared: Arc<Shared>,
}

impl IdempotencyHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Lets no handler begin any more, and waits for those that run; says how many had not ended in
    /// this time.
    ///
    /// From now on requests with a key get 503, to be sent again to another instance. Call it when the
    /// server has stopped, before the program ends: handlers whose clients are gone still run.
    /// Those that do not end in time are left to their leases and to their rules' [`Recovery`](super::Recovery).
    ///
    /// # Cancel safety
    ///
    /// Dropped, no handler begins all the same.
    pub async fn drain(&self, budget: Duration) -> usize {
        self.shared.core.tracker.drain(budget).await
    }
}

impl fmt::Debug for IdempotencyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyHandle").finish_non_exhaustive()
    }
}
