//! What is done with the backend: looking, fetching by one for all, storing, purging.

mod all;
mod budget;
mod capture;
mod claim;
mod deposit;
mod flights;
mod hints;
mod lease;
mod lookup;
mod marks;
mod near;
mod owed;
mod packing;
mod purges;
mod settings;
mod store;
mod tasks;
mod turns;
mod variants;

use std::{fmt, sync::Arc};

pub use self::settings::{Coalescing, Consistency};
pub(super) use self::{
    budget::Budget,
    capture::{Capture, Elsewhere, Limits},
    claim::Claim,
    deposit::{Deposit, Deposited, Stake},
    flights::{Audience, Flights},
    hints::Hints,
    lookup::{Asking, Found, Held, Page, Place},
    marks::{Mark, Marks},
    near::Near,
    owed::Owing,
    purges::{Purges, Standing},
    settings::Settings,
    store::Store,
    tasks::Tasks,
    turns::{Turn, Turns},
    variants::Variants,
};
use self::{owed::Owed, purges::Ear};
use super::{record::Head, stamps::Severity, url::UrlKey};
use crate::{
    backend::Result,
    key::{Digester, Key},
};

/// What the services of a layer, its handles and its tasks work with.
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) digester: Digester,
    pub(super) purges: Arc<Purges>,
    pub(super) flights: Arc<Flights>,
    pub(super) hints: Hints<Head>,
    pub(super) near: Near,
    pub(super) marks: Marks,
    pub(super) variants: Variants,
    pub(super) budget: Arc<Budget>,
    pub(super) tasks: Arc<Tasks>,
    owed: Owed,
    ear: Ear,
}

impl Core {
    /// The engine on this store, which keeps so many bytes of copies in the process.
    pub(super) fn new(store: Store, digester: Digester, near: usize) -> Self {
        Self {
            purges: Arc::new(Purges::new(&store, &digester)),
            store,
            digester,
            flights: Arc::default(),
            hints: Hints::new(),
            near: Near::new(near),
            marks: Marks::new(),
            variants: Variants::new(),
            budget: Budget::new(BODIES),
            tasks: Tasks::new(),
            owed: Owed::default(),
            ear: Ear::default(),
        }
    }
}

impl Core {
    /// Purges a URL: nothing that was fetched of it before is used any more by this process, nor by
    /// any other later than its settings allow.
    pub(super) async fn purge_url(&self, url: &UrlKey, severity: Severity) -> Result<()> {
        let purged = match severity {
            Severity::Hard => self.purges.bury(url).await,
            Severity::Soft => self.purges.soften(url).await,
        };
        // Also if that failed, as it may have happened all the same.
        self.forget_page(&url.page());
        purged
    }

    /// Forgets what this process knows of a page, now that it was purged, and lets nobody wait for what
    /// was begun before.
    fn forget_page(&self, page: &Key) {
        // First, so that who looks meanwhile knows that what he found may be void.
        self.purges.begin_generation();
        self.hints.forget(page);
        self.near.forget(page);
        self.flights.detach(page);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

/// How many bytes of bodies are kept while they go by, in a process.
const BODIES: usize = 64 * 1024 * 1024;
