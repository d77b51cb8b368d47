//! Subjects that many requests ask about at the same time: they ask together, and beforehand.
//!
//! The first question flies alone. Those that come while it is under way wait, and the next call
//! asks for all of them. So there is one call of a subject's limits at a time, and nobody waits for
//! more than two. Calls are driven by tasks of their own: a client that leaves
//! takes nobody's answer along.
//!
//! With leases, calls take some more, which pays for requests to come without a call.

mod flight;
mod lease;
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

use self::{
    flight::{Awaited, Flight, Waiter},
    lease::Lease,
};
use super::{Question, shards::Shards};
use crate::{
    backend::{Acquire, Call, Decision, ErasedQuotas, Limit},
    clock::{Monotonic, monotonic_now},
    key::Key,
    rate_limit::rule::Sharing,
};

/// The subjects that are asked about now, or have a lease.
pub(super) struct HotKeys {
    shards: Shards<LruCache<Key, Vec<HotKey>>>,
    flights: AtomicU64,
}

/// How a question is answered.
pub(super) enum Asked {
    /// At once, out of a lease.
    Paid(Decision),
    /// By the backend.
    Called(Call<Decision>),
}

/// What is going on about some limits of a subject.
struct HotKey {
    /// With their sizes: another plan is another question.
    limits: Arc<[Limit]>,
    resizable: bool,
    sharing: Sharing,
    lease: Option<Lease>,
    flight: Option<UnderWay>,
    /// For whom the next call asks, in order of arrival.
    waiting: Vec<Waiter>,
}

/// The call that others wait for.
#[derive(Clone, Copy)]
struct UnderWay {
    number: u64,
    began: Monotonic,
    share: u64,
}

impl HotKeys {
    /// Knows up to this many subjects; with 0, nobody asks together.
    pub(super) fn new(subjects: usize) -> Self {
        Self {
            shards: Shards::new(subjects, LruCache::new),
            flights: AtomicU64::new(0),
        }
    }

    /// Answers this out of a lease or asks it together with others, if it can be.
    pub(super) fn ask(
        self: &Arc<Self>,
        quotas: &Arc<dyn ErasedQuotas>,
        question: &Question,
    ) -> Option<Asked> {
        let sharing = question.rule.sharing();
        let acquire = &question.acquire;
        if !sharing.is_for(acquire.cost) {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        let now = monotonic_now();
        let mut shard = self.shards.of(&acquire.subject)?;
        let hot_keys = shard
            .entry(acquire.subject.clone())
            .or_insert_with(Vec::new);
        let hot_key = HotKey::find(hot_keys, sharing, acquire, now)?;
        if let Some(decision) = hot_key.pay(acquire.cost, now) {
            return Some(Asked::Paid(decision));
        }
        let under_way = hot_key.under_way(now);
        let answer = hot_key.wait(acquire.cost, under_way)?;
        let flight = under_way.is_none().then(|| {
            let mut flight = Flight {
                number: self.flights.fetch_add(1, Ordering::Relaxed),
                waiters: Vec::new(),
                lease: hot_key.lease.take(),
                share: 0,
                acquire: acquire.clone(),
                quotas: Arc::clone(quotas),
                hot_keys: Arc::clone(self),
            };
            hot_key.board(&mut flight, now);
            flight
        });
        // A runtime that has shut down drops the flight at once, which looks for it here.
        drop(shard);
        if let Some(flight) = flight {
            runtime.spawn(flight.fly());
        }
        Some(Asked::Called(answer.or_alone(quotas, acquire)))
    }

    /// Forgets a subject: who waits asks alone, and what is under way leaves no lease.
    pub(super) fn forget(&self, subject: &Key) {
        let forgotten = self
            .shards
            .of(subject)
            .and_then(|mut shard| shard.remove(subject));
        // Wakes who waits, and so not while the shard is locked.
        drop(forgotten);
    }

    /// Gives a flight those who came while it was under way; with none it
    /// ends, and leaves its lease.
    fn go_on(&self, flight: &mut Flight) {
        let subject = &flight.acquire.subject;
        let Some(mut shard) = self.shards.of(subject) else {
            return;
        };
        let Some(hot_keys) = shard.get_mut(subject) else {
            return;
        };
        let is_its = |hot_key: &&mut HotKey| hot_key.is_flown_by(flight.number);
        let Some(hot_key) = hot_keys.iter_mut().find(is_its) else {
            return;
        };
        flight.lease = hot_key.sharing.kept(flight.lease.take());
        hot_key.waiting.retain(Waiter::waits);
        if !hot_key.waiting.is_empty() {
            hot_key.board(flight, monotonic_now());
            return;
        }
        hot_key.land(flight);
        hot_keys.retain(|hot_key| hot_key.is_hot(monotonic_now()));
        if hot_keys.is_empty() {
            shard.remove(&flight.acquire.subject);
        }
    }
}

impl HotKeys {
    /// Ends a flight before its time: who waits for it asks alone.
    fn abandon(&self, flight: u64, subject: &Key) {
        let Some(mut shard) = self.shards.of(subject) else {
            return;
        };
        let hot_keys = shard.get_mut(subject).into_iter().flatten();
        let waiting = hot_keys
            .filter(|hot_key| hot_key.is_flown_by(flight))
            .map(|hot_key| {
                hot_key.flight = None;
                mem::take(&mut hot_key.waiting)
            });
        let waiting: Vec<_> = waiting.collect();
        // Wakes them, and so not while the shard is locked.
        drop(shard);
        drop(waiting);
    }
}

impl HotKey {
    /// The one that this is about, if there is one or room for it.
    fn find<'a>(
        hot_keys: &'a mut Vec<Self>,
        sharing: Sharing,
        acquire: &Acquire,
        now: Monotonic,
    ) -> Option<&'a mut Self> {
        let is_about = |hot_key: &Self| {
            hot_key.sharing == sharing
                && hot_key.limits == acquire.limits
                && hot_key.resizable == acquire.resizable
        };
        if !hot_keys.iter().any(is_about) {
            hot_keys.retain(|hot_key| hot_key.is_hot(now));
            if hot_keys.len() == MAX_OF_A_SUBJECT {
                return None;
            }
            hot_keys.push(Self {
                limits: Arc::clone(&acquire.limits),
                resizable: acquire.resizable,
                sharing,
                lease: None,
                flight: None,
                waiting: Vec::new(),
            });
        }
        hot_keys.iter_mut().find(|hot_key| is_about(hot_key))
    }

    /// Pays out of the lease; while more is asked for there is none.
    fn pay(&mut self, cost: u64, now: Monotonic) -> Option<Decision> {
        self.lease.as_mut()?.spend(cost, now)
    }

    /// Waits for the call after this one, if there is room.
    ///
    /// What costs more than a share would take from others what it may not get itself.
    fn wait(&mut self, cost: u64, under_way: Option<UnderWay>) -> Option<Awaited> {
        let fits = under_way.is_none_or(|flight| cost <= flight.share.max(1));
        if !fits || self.waiting.len() >= MAX_WAITING {
            return None;
        }
        let (waiter, answer) = flight::waiter(cost);
        self.waiting.push(waiter);
        Some(answer)
    }

    /// The flight that is worth waiting for.
    fn under_way(&self, now: Monotonic) -> Option<UnderWay> {
        self.flight.filter(|flight| now < flight.began + PATIENCE)
    }

    /// Lets all who wait fly.
    fn board(&mut self, flight: &mut Flight, now: Monotonic) {
        flight.waiters = mem::take(&mut self.waiting);
        flight.share = self.sharing.share(flight.lease.as_ref(), now);
        self.flight = Some(UnderWay {
            number: flight.number,
            began: now,
            share: flight.share,
        });
    }

    /// Keeps the lease of a flight that nobody waits for any more.
    fn land(&mut self, flight: &mut Flight) {
        self.flight = None;
        self.lease = flight.lease.take();
    }

    fn is_flown_by(&self, flight: u64) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|other| other.number == flight)
    }

    /// Whether there is anything to know of it.
    fn is_hot(&self, now: Monotonic) -> bool {
        self.flight.is_some() || self.lease.as_ref().is_some_and(|lease| lease.lasts(now))
    }
}

impl Sharing {
    /// Whether requests of this cost share anything.
    ///
    /// Without a lease only a cost of one can be dealt out exactly by any algorithm: several units
    /// taken at once are as if each had been taken in turn, and the wait for one more unit is
    /// what a denied request has to wait.
    fn is_for(self, cost: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Together => cost == 1,
            Self::Leased { .. } => cost > 0,
        }
    }

    /// What of a call's units later requests may have.
    fn kept(self, lease: Option<Lease>) -> Option<Lease> {
        lease.filter(|_| matches!(self, Self::Leased { .. }))
    }

    /// How much a call takes at least, if this was taken before.
    fn share(self, lease: Option<&Lease>, now: Monotonic) -> u64 {
        match (self, lease) {
            (Self::Leased { instances }, Some(lease)) => lease.next(instances, now),
            _ => 0,
        }
    }
}

/// Rules and sizes that are asked about one subject at the same time.
const MAX_OF_A_SUBJECT: usize = 8;

/// Who comes when so many wait for one call asks alone.
const MAX_WAITING: usize = 4_096;

/// A call that takes longer is not waited for: its backend has no time-out, and may never answer.
const PATIENCE: Duration = Duration::from_secs(1);
