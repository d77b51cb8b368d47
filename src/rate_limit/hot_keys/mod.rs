//! Subjects that many requests ask about at the same time: they ask together.
//!
//! The first question flies alone. Those that come while it is under way wait, and the next call asks
//! for all of them. So there is one call of a subject's limits at a time, and nobody waits for more
//! than two. Calls are driven by tasks of their own: a client that leaves takes nobody's answer along.

mod flight;
mod lot;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hashlink::LruCache;
use tokio::runtime::Handle;

use self::flight::{Flight, Waiter};
use super::{engine::Question, shards::Shards};
use crate::{
    backend::{Acquire, Call, Decision, ErasedQuotas, Limit},
    clock::{Monotonic, monotonic_now},
    key::Key,
};

/// The subjects that are asked about now.
pub(super) struct HotKeys {
    shards: Shards<LruCache<Key, Vec<HotKey>>>,
    flights: AtomicU64,
}

/// What is going on about some limits of a subject.
struct HotKey {
    /// With their sizes: another plan is another question.
    limits: Arc<[Limit]>,
    resizable: bool,
    flight: Option<UnderWay>,
    /// For whom the next call asks, in order of arrival.
    waiting: Vec<Waiter>,
}

/// The call that others wait for.
#[derive(Clone, Copy)]
struct UnderWay {
    number: u64,
    began: Monotonic,
}

/// What becomes of a question that came.
enum Arrival {
    /// The next call asks it.
    Waits,
    /// There is nothing to wait for: this flight asks for these.
    Leads { number: u64, waiters: Vec<Waiter> },
}

impl HotKeys {
    /// Knows up to this many subjects; with 0, nobody asks together.
    pub(super) fn new(subjects: usize) -> Self {
        Self {
            shards: Shards::new(subjects, LruCache::new),
            flights: AtomicU64::new(0),
        }
    }

    /// Asks this together with others, if it can be.
    ///
    /// Only costs of one ask together. What several take at once can then be dealt out as if each had
    /// asked in turn, and the wait for one more unit is what a denied one has to wait, by any algorithm.
    pub(super) fn ask(
        self: &Arc<Self>,
        quotas: &Arc<dyn ErasedQuotas>,
        question: &Question,
    ) -> Option<Call<Decision>> {
        let acquire = &question.acquire;
        if acquire.cost != 1 {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        let (waiter, answer) = flight::waiter();
        if let Arrival::Leads { number, waiters } = self.arrive(acquire, waiter)? {
            let flight = Flight {
                number,
                waiters,
                acquire: acquire.clone(),
                quotas: Arc::clone(quotas),
                hot_keys: Arc::clone(self),
            };
            runtime.spawn(flight.fly());
        }
        let (quotas, acquire) = (Arc::clone(quotas), acquire.clone());
        Some(Box::pin(async move {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => quotas.acquire(acquire).await,
            }
        }))
    }

    /// Lets a waiter wait or lead; `None` if there is no room for what it asks.
    fn arrive(&self, acquire: &Acquire, waiter: Waiter) -> Option<Arrival> {
        let mut shard = self.shards.of(&acquire.subject)?;
        let hot_keys = shard
            .entry(acquire.subject.clone())
            .or_insert_with(Vec::new);
        let hot_key = HotKey::find(hot_keys, acquire)?;
        let flight = UnderWay {
            number: self.flights.fetch_add(1, Ordering::Relaxed),
            began: monotonic_now(),
        };
        Some(hot_key.arrive(waiter, flight))
    }

    /// Who came while this flight was under way, to fly next; none if it was given up.
    fn next(&self, subject: &Key, flight: u64) -> Vec<Waiter> {
        let Some(mut shard) = self.shards.of(subject) else {
            return Vec::new();
        };
        let Some(hot_keys) = shard.get_mut(subject) else {
            return Vec::new();
        };
        let waiters = hot_keys
            .iter_mut()
            .find(|hot_key| hot_key.is_flown_by(flight))
            .map(|hot_key| hot_key.next(monotonic_now()))
            .unwrap_or_default();
        hot_keys.retain(HotKey::is_hot);
        if hot_keys.is_empty() {
            shard.remove(subject);
        }
        waiters
    }
}

impl HotKey {
    fn new(acquire: &Acquire) -> Self {
        Self {
            limits: Arc::clone(&acquire.limits),
            resizable: acquire.resizable,
            flight: None,
            waiting: Vec::new(),
        }
    }

    /// The one that this is about, if there is one or room for it.
    fn find<'a>(hot_keys: &'a mut Vec<Self>, acquire: &Acquire) -> Option<&'a mut Self> {
        let is_about = |hot_key: &Self| {
            hot_key.limits == acquire.limits && hot_key.resizable == acquire.resizable
        };
        if !hot_keys.iter().any(is_about) && hot_keys.len() < MOST_OF_A_SUBJECT {
            hot_keys.push(Self::new(acquire));
        }
        hot_keys.iter_mut().find(|hot_key| is_about(hot_key))
    }

    /// Lets a waiter wait for the flight under way, or lead this one if there is none.
    ///
    /// Where too many wait, it is dropped, and asks alone.
    fn arrive(&mut self, waiter: Waiter, flight: UnderWay) -> Arrival {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push(waiter);
        }
        let is_under_way = |other: &UnderWay| flight.began < other.began + PATIENCE;
        if self.flight.as_ref().is_some_and(is_under_way) {
            return Arrival::Waits;
        }
        self.flight = Some(flight);
        Arrival::Leads {
            number: flight.number,
            waiters: mem::take(&mut self.waiting),
        }
    }

    /// Who flies next.
    fn next(&mut self, now: Monotonic) -> Vec<Waiter> {
        let mut waiters = mem::take(&mut self.waiting);
        waiters.retain(Waiter::waits);
        self.flight = match self.flight {
            Some(flight) if !waiters.is_empty() => Some(UnderWay {
                began: now,
                ..flight
            }),
            _ => None,
        };
        waiters
    }

    fn is_flown_by(&self, flight: u64) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|other| other.number == flight)
    }

    fn is_hot(&self) -> bool {
        self.flight.is_some()
    }
}

/// Rules and sizes that are asked about one subject at the same time.
const MOST_OF_A_SUBJECT: usize = 8;

/// Who comes when so many wait for one call asks alone.
const MOST_WAITING: usize = 4_096;

/// A call that takes longer is not waited for: its backend has no time-out, and may never answer.
const PATIENCE: Duration = Duration::from_secs(1);
