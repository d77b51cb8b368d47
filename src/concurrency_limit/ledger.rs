//! The slots that this process holds, and how they are held and released.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle, time::timeout};

use super::renewal;
use crate::{
    backend::{Call, ErasedSlots, Hold, SlotId, SlotLimit},
    error::ConfigError,
    key::Key,
    observe::WarnSite,
};

/// The slots that this process holds by the rules of one layer.
pub(super) struct Ledger {
    backend: Arc<dyn ErasedSlots>,
    /// By lease, since slots of one lease are renewed together.
    books: Mutex<HashMap<Duration, Book>>,
    /// One for each call that may wait in the background.
    background: Arc<Semaphore>,
    /// The first half of every slot's number: random, so that no other process has it.
    process: u64,
    next_number: AtomicU64,
}

/// Where slots are held: a subject, and one of its limits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Pool {
    pub(super) subject: Key,
    pub(super) limit: SlotLimit,
}

/// The slots of one lease. There is a task that renews them as long as any are held.
#[derive(Default)]
struct Book {
    slots: HashMap<Pool, HashSet<SlotId>>,
    renewals: Option<JoinHandle<()>>,
}

impl Ledger {
    pub(super) fn new(backend: Arc<dyn ErasedSlots>) -> Result<Self, ConfigError> {
        let process = getrandom::u64().map_err(|error| {
            ConfigError::new(format!(
                "the operating system gives no random numbers, which slots are told apart by: {error}"
            ))
        })?;
        Ok(Self {
            backend,
            books: Mutex::default(),
            background: Arc::new(Semaphore::new(MAX_BACKGROUND)),
            process,
            next_number: AtomicU64::new(0),
        })
    }

    /// The number of a slot that nobody has held.
    pub(super) fn new_id(&self) -> SlotId {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        SlotId::from_u128(u128::from(self.process) << 64 | u128::from(number))
    }

    pub(super) fn hold(&self, pool: &Pool, id: SlotId) -> Call<Hold> {
        Arc::clone(&self.backend).hold(pool.subject.clone(), pool.limit, id)
    }

    pub(super) fn renew(&self, pool: &Pool, ids: Arc<[SlotId]>) -> Call<Vec<bool>> {
        Arc::clone(&self.backend).renew(pool.subject.clone(), pool.limit, ids)
    }

    pub(super) fn release(&self, pool: &Pool, id: SlotId) -> impl Future<Output = ()> + use<> {
        let release = Arc::clone(&self.backend).release(pool.subject.clone(), pool.limit, id);
        async move {
            if let Err(error) = release.await {
                UNRELEASED.warn(&error);
            }
        }
    }

    /// Renews this slot until it [leaves](Self::leave).
    pub(super) fn enter(self: &Arc<Self>, pool: &Pool, id: SlotId) {
        let lease = pool.limit.lease();
        let mut books = self.books();
        let book = books.entry(lease).or_default();
        book.slots.entry(pool.clone()).or_default().insert(id);
        // A task ends with its runtime, and this may be another one.
        let is_renewed = book
            .renewals
            .as_ref()
            .is_some_and(|task| !task.is_finished());
        if !is_renewed && let Ok(runtime) = Handle::try_current() {
            let renewals = renewal::renew_while_held(Arc::clone(self), lease);
            book.renewals = Some(runtime.spawn(renewals));
        }
    }

    pub(super) fn leave(&self, pool: &Pool, id: SlotId) {
        let mut books = self.books();
        let Some(book) = books.get_mut(&pool.limit.lease()) else {
            return;
        };
        if let Some(ids) = book.slots.get_mut(pool) {
            ids.remove(&id);
            if ids.is_empty() {
                book.slots.remove(pool);
            }
        }
    }

    /// Whether this slot is one that this process holds, as far as it knows.
    pub(super) fn has(&self, pool: &Pool, id: SlotId) -> bool {
        let books = self.books();
        let book = books.get(&pool.limit.lease());
        book.and_then(|book| book.slots.get(pool))
            .is_some_and(|ids| ids.contains(&id))
    }

    /// All slots of this lease, at most so many together; `None` if there are none, after which
    /// they are no longer expected to be renewed.
    pub(super) fn held(
        &self,
        lease: Duration,
        at_most: usize,
    ) -> Option<Vec<(Pool, Arc<[SlotId]>)>> {
        let mut books = self.books();
        let book = books.get(&lease)?;
        if book.slots.is_empty() {
            books.remove(&lease);
            return None;
        }
        let mut held = Vec::new();
        for (pool, ids) in &book.slots {
            let ids: Vec<_> = ids.iter().copied().collect();
            held.extend(ids.chunks(at_most).map(|ids| (pool.clone(), ids.into())));
        }
        Some(held)
    }

    /// Brings a call to its end: now if it need not wait, else in the background, unless many do.
    ///
    /// Its first step is made here, so that what this task does next comes after it.
    pub(super) fn run(
        &self,
        runtime: Option<&Handle>,
        lease: Duration,
        call: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut call = Box::pin(call);
        if Handle::try_current().is_ok() {
            let mut now = Context::from_waker(Waker::noop());
            if call.as_mut().poll(&mut now).is_ready() {
                return;
            }
        }
        let permit = Arc::clone(&self.background).try_acquire_owned();
        let (Some(runtime), Ok(permit)) = (runtime, permit) else {
            UNRELEASED.warn(&"could not release a slot; it is free when its lease runs out");
            return;
        };
        runtime.spawn(async move {
            // After a lease there is nothing left to release.
            _ = timeout(lease, call).await;
            drop(permit);
        });
    }

    fn books(&self) -> MutexGuard<'_, HashMap<Duration, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where slots stay held for up to a lease after their requests ended.
static UNRELEASED: WarnSite = WarnSite::new("concurrency_limit: release");

/// The most calls that wait in the background.
const MAX_BACKGROUND: usize = 1_024;
