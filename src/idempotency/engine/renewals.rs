//! The task that renews the claims which this process holds.
//!
//! Not the handlers' own tasks: a handler that keeps its thread busy must not lose its lease by it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
    time::{timeout, timeout_at},
};

use super::claim::{Claim, Unwritten};
use crate::{
    clock::{Monotonic, monotonic_now},
    observe::WarnSite,
};

/// The claims that are renewed; there is a task as long as there are any.
#[derive(Default)]
pub(in crate::idempotency) struct Renewals {
    book: Mutex<Book>,
    /// Tells the task that something is due earlier than it thinks.
    earlier: Arc<Notify>,
}

#[derive(Default)]
struct Book {
    held: HashMap<u64, Held>,
    next_id: u64,
    /// When the task looks again.
    looks_at: Option<Monotonic>,
    task: Option<JoinHandle<()>>,
}

/// A claim that is renewed.
struct Held {
    claim: Arc<Claim>,
    due: Monotonic,
    /// After this nobody waits for its handler any more.
    until: Option<Monotonic>,
}

/// A claim is renewed as long as this lives.
pub(in crate::idempotency) struct Renewed {
    renewals: Arc<Renewals>,
    id: u64,
}

impl Renewals {
    /// Renews this claim three times in a lease, until what this gives is dropped, and not after
    /// `until`.
    pub(in crate::idempotency) fn renew(
        self: &Arc<Self>,
        claim: &Arc<Claim>,
        until: Option<Monotonic>,
    ) -> Renewed {
        let due = monotonic_now() + period(claim);
        let mut book = self.book();
        let id = book.next_id;
        book.next_id += 1;
        let held = Held {
            claim: Arc::clone(claim),
            due,
            until,
        };
        book.held.insert(id, held);
        // A task ends with its runtime, and this may be another one.
        let is_running = book.task.as_ref().is_some_and(|task| !task.is_finished());
        if !is_running {
            if let Ok(runtime) = Handle::try_current() {
                book.looks_at = Some(due);
                let earlier = Arc::clone(&self.earlier);
                book.task = Some(runtime.spawn(renew_while_held(Arc::downgrade(self), earlier)));
            }
        } else if book.looks_at.is_some_and(|at| due < at) {
            self.earlier.notify_one();
        }
        drop(book);
        Renewed {
            renewals: Arc::clone(self),
            id,
        }
    }

    /// The claims that are due, which are not due again for a while; `None` if none is held.
    fn take_due(&self, now: Monotonic) -> Option<Vec<(u64, Arc<Claim>)>> {
        let mut book = self.book();
        book.held
            .retain(|_, held| !held.claim.is_over() && held.until.is_none_or(|until| now < until));
        if book.held.is_empty() {
            book.task = None;
            book.looks_at = None;
            return None;
        }
        let due = book.held.iter_mut().filter(|(_, held)| held.due <= now);
        let due = due.map(|(id, held)| {
            // By then it has been renewed, or given up.
            held.due = now + period(&held.claim);
            (*id, Arc::clone(&held.claim))
        });
        Some(due.collect())
    }

    /// When to look again: when the next one is due, and not at once.
    fn next_look(&self, now: Monotonic) -> Monotonic {
        let mut book = self.book();
        let next = book.held.values().map(|held| held.due).min();
        let next = next.unwrap_or(now).max(now + SHORTEST);
        book.looks_at = Some(next);
        next
    }

    /// Has a claim that could not be renewed tried again soon.
    fn hurry(&self, id: u64) {
        if let Some(held) = self.book().held.get_mut(&id) {
            held.due = monotonic_now() + period(&held.claim) / 4;
            self.earlier.notify_one();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewals").finish_non_exhaustive()
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        self.renewals.book().held.remove(&self.id);
    }
}

async fn renew_while_held(renewals: Weak<Renewals>, earlier: Arc<Notify>) {
    loop {
        let Some(looks_at) = renewals
            .upgrade()
            .map(|renewals| renewals.next_look(monotonic_now()))
        else {
            return;
        };
        _ = timeout_at(looks_at, earlier.notified()).await;
        let Some(renewals) = renewals.upgrade() else {
            return;
        };
        let Some(due) = renewals.take_due(monotonic_now()) else {
            return;
        };
        for (id, claim) in due {
            let renewals = Arc::downgrade(&renewals);
            tokio::spawn(async move { renew(&renewals, id, &claim).await });
        }
    }
}

async fn renew(renewals: &Weak<Renewals>, id: u64, claim: &Claim) {
    let renewed = timeout(period(claim), claim.renew()).await;
    let error: &dyn fmt::Display = match &renewed {
        Ok(Ok(()) | Err(Unwritten::Over)) => return,
        Ok(Err(Unwritten::Lost(_))) => &"somebody else has a key whose handler runs",
        Ok(Err(Unwritten::Unconfirmed(error))) => error,
        Err(_) => &"could not renew a claim in a third of its lease",
    };
    UNRENEWED.warn(error);
    if let Some(renewals) = renewals.upgrade() {
        renewals.hurry(id);
    }
}

fn period(claim: &Claim) -> Duration {
    claim.lease() / 3
}

/// The task looks at most so often.
const SHORTEST: Duration = Duration::from_millis(20);

/// Where a handler may run while somebody else has its key.
static UNRENEWED: WarnSite = WarnSite::new("idempotency: renew");
