//! Who fetches a response, among all instances.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

use super::{store::Store, tasks::Tasks};
use crate::{
    backend::{Precondition, Version},
    clock::Timestamp,
    key::Key,
};

/// A lease that this process holds, renewed until it is dropped, spent or passed on.
///
/// Dropped, it deletes the lease, so that someone else may fetch at once.
pub(in crate::cache) struct Holding {
    /// `None` once it is told what becomes of the lease.
    held: Option<Held>,
    renewal: AbortHandle,
}

struct Held {
    store: Store,
    tasks: Arc<Tasks>,
    runtime: Handle,
    key: Key,
    version: Version,
}

impl Holding {
    /// The lease of this version, which was just taken.
    pub(in crate::cache) fn new(
        store: &Store,
        tasks: &Arc<Tasks>,
        runtime: &Handle,
        key: &Key,
        version: Version,
    ) -> Self {
        let renewal = runtime.spawn(renew(store.clone(), key.clone(), version));
        Self {
            renewal: renewal.abort_handle(),
            held: Some(Held {
                store: store.clone(),
                tasks: Arc::clone(tasks),
                runtime: runtime.clone(),
                key: key.clone(),
                version,
            }),
        }
    }

    /// Leaves the lease to expire: what was fetched is stored, and its time says which lease may be
    /// replaced. One that it does not name, as the clock was set back, is deleted.
    pub(in crate::cache) fn spend(mut self, checked: Timestamp) {
        self.held
            .take_if(|held| held.version.written_at() == checked);
    }

    /// Says in the place of the lease, and for so long, that nobody need wait for a response here.
    pub(in crate::cache) async fn pass(mut self, record: Bytes, ttl: Duration) {
        let Some(held) = self.held.take() else { return };
        self.renewal.abort();
        let precondition = Precondition::Matches(held.version);
        // Unwritten, the lease expires shortly.
        let _ = held.store.put(&held.key, record, ttl, precondition).await;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.renewal.abort();
        let Some(held) = self.held.take() else { return };
        held.tasks.spawn(&held.runtime, async move {
            // Undeleted, it expires shortly.
            let _ = held.store.delete(&held.key, held.version).await;
        });
    }
}

/// Renews a lease while the fetch may take.
async fn renew(store: Store, key: Key, version: Version) {
    for _ in 0..MAX_RENEWALS {
        sleep(RENEWAL).await;
        // One that failed is made good by the next one.
        if let Ok(false) = store.touch(&key, LEASE, version).await {
            return;
        }
    }
}

/// How long a lease lives that nobody renews.
pub(in crate::cache) const LEASE: Duration = Duration::from_secs(5);

/// Two renewals may fail before the lease is over.
const RENEWAL: Duration = Duration::from_millis(1_700);

/// For half a minute.
const MAX_RENEWALS: u32 = 18;
