//! Purges that the store could not be told of: this process holds to them, and goes on trying.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashlink::LinkedHashMap;
use tokio::{runtime::Handle, time::sleep};

use super::{Core, all::all};
use crate::{
    backend::Result,
    cache::{
        stamps::{Severity, Tag},
        url::UrlKey,
    },
    clock::{Monotonic, monotonic_now},
    observe::WarnSite,
};

/// What is owed to the store.
#[derive(Default)]
pub(super) struct Owed {
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    owing: LinkedHashMap<Owing, Debt>,
    number: u64,
    is_being_paid: bool,
}

/// What was purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Owing {
    Url(UrlKey),
    Tag(Tag),
}

/// The last purge of it that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Debt {
    number: u64,
    until: Monotonic,
}

/// Who pays, until it ends, if only because its runtime does.
struct Payer {
    core: Arc<Core>,
    has_paid: bool,
}

impl Core {
    /// Purges what a request has changed. Where the store does not answer, this process takes it for
    /// purged, and goes on trying for half a minute.
    pub(in crate::cache) async fn purge_surely(
        self: &Arc<Self>,
        purged: Vec<Owing>,
        max_life: Duration,
    ) {
        for owing in &purged {
            self.hold(*owing);
        }
        let purging = purged
            .iter()
            .map(|owing| async { (*owing, self.pay(*owing, max_life).await) });
        let mut is_owing = false;
        for (owing, is_paid) in all(purging).await {
            if is_paid {
                self.release(owing);
            } else {
                is_owing = true;
                self.owe(owing);
            }
        }
        if is_owing {
            self.begin_to_pay(max_life);
        }
    }

    /// Purges a URL or a value for someone who is told whether that went well. Where the store does
    /// not answer, this process takes it for purged, and goes on trying for half a minute.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is purged, or not, or is purged shortly.
    pub(in crate::cache) async fn purge_url_or_owe(
        self: &Arc<Self>,
        url: &UrlKey,
        max_life: Duration,
    ) -> Result<()> {
        let purged = self.purge_url(url, Severity::Hard).await;
        if purged.is_err() {
            self.hold(Owing::Url(*url));
            self.owe(Owing::Url(*url));
            self.begin_to_pay(max_life);
        }
        purged
    }

    async fn pay(&self, owing: Owing, max_life: Duration) -> bool {
        let severity = Severity::Hard;
        let purged = match owing {
            Owing::Url(url) => self.purge_url(&url, severity).await,
            Owing::Tag(tag) => self.purges.purge_tags(&[tag], severity, max_life).await,
        };
        if let Err(error) = &purged {
            LOST.warn(error);
        }
        purged.is_ok()
    }

    /// Takes it for purged from now on.
    fn hold(&self, owing: Owing) {
        // A tag is in doubt while it is purged, and presumed to be purged if that fails.
        if let Owing::Url(url) = owing {
            self.purges.hold(&url);
        }
    }

    fn release(&self, owing: Owing) {
        if let Owing::Url(url) = owing {
            self.purges.release(&url);
        }
    }

    /// Nobody tries it any more; what is fetched from now on may be used.
    fn give_up(&self, owing: Owing) {
        if let Owing::Url(url) = owing {
            self.purges.presume_url(&url);
        }
        self.release(owing);
    }

    fn owe(&self, owing: Owing) {
        if let Owing::Tag(tag) = owing {
            self.purges.presume(tag);
        }
        let mut owed = self.owed.lock();
        owed.number += 1;
        let debt = Debt {
            number: owed.number,
            until: monotonic_now() + PATIENCE,
        };
        let earlier = owed.owing.insert(owing, debt);
        let surplus = if owed.owing.len() > MAX_DEBTS {
            owed.owing.pop_front()
        } else {
            None
        };
        drop(owed);
        if earlier.is_some() {
            // It is held for this one.
            self.release(owing);
        }
        if let Some((owing, _)) = surplus {
            self.give_up(owing);
        }
    }

    fn begin_to_pay(self: &Arc<Self>, max_life: Duration) {
        let mut owed = self.owed.lock();
        if owed.is_being_paid {
            return;
        }
        owed.is_being_paid = true;
        drop(owed);
        let payer = Payer {
            core: Arc::clone(self),
            has_paid: false,
        };
        self.tasks.spawn(&Handle::current(), async move {
            while !payer.core.owed.has_ended() {
                sleep(PAUSE).await;
                payer.core.pay_all(max_life).await;
            }
            payer.end();
        });
    }

    /// Tries what is owed, up to the first that fails again.
    async fn pay_all(&self, max_life: Duration) {
        for (owing, debt) in self.owed.all() {
            if monotonic_now() >= debt.until {
                if self.owed.remove(owing, debt) {
                    self.give_up(owing);
                }
            } else if self.pay(owing, max_life).await {
                if self.owed.remove(owing, debt) {
                    self.release(owing);
                }
            } else {
                return;
            }
        }
    }
}

impl Owed {
    fn all(&self) -> Vec<(Owing, Debt)> {
        let debts = self.lock();
        let debts = debts.owing.iter();
        debts.map(|(owing, debt)| (*owing, *debt)).collect()
    }

    /// Forgets a debt, unless the same is owed again meanwhile.
    fn remove(&self, owing: Owing, debt: Debt) -> bool {
        let mut debts = self.lock();
        let is_same = debts.owing.get(&owing) == Some(&debt);
        if is_same {
            debts.owing.remove(&owing);
        }
        is_same
    }

    /// Whether nothing is owed any more; then nobody pays any more.
    fn has_ended(&self) -> bool {
        let mut debts = self.lock();
        let has_ended = debts.owing.is_empty();
        debts.is_being_paid = !has_ended;
        has_ended
    }

    fn lock(&self) -> MutexGuard<'_, Debts> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payer {
    fn end(mut self) {
        self.has_paid = true;
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        if !self.has_paid {
            self.core.owed.lock().is_being_paid = false;
        }
    }
}

static LOST: WarnSite = WarnSite::new("cache: invalidation");

/// How long what the store was not told of is tried again and again.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_secs(1);

/// As many as a busy process makes in a moment; in an outage they are dropped, oldest first.
const MAX_DEBTS: usize = 10_000;
