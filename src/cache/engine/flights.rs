//! One fetch at a time for what several requests of this process want.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::Deposited;
use crate::key::Key;

/// What is being fetched, by the key of its lease.
#[derive(Default)]
pub(in crate::cache) struct Flights {
    flights: Mutex<HashMap<Key, Arc<watch::Sender<Landing>>>>,
}

/// What became of a fetch.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) enum Landing {
    /// It goes on.
    #[default]
    UnderWay,
    /// The response is stored, and this is it.
    Stored(Arc<Deposited>),
    /// The response is for the one that fetched it: everybody fetches his own.
    NotShared,
    /// It was given up; someone else may try.
    Lost,
}

/// The part of a request in a fetch.
pub(in crate::cache) enum Role {
    Lead(Lead),
    Follow(Follower),
}

/// Who fetches. Dropped before it has told what became of it, it tells that it was given up.
pub(in crate::cache) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    landing: Arc<watch::Sender<Landing>>,
}

/// Who waits.
pub(in crate::cache) struct Follower {
    landing: watch::Receiver<Landing>,
}

impl Flights {
    /// Begins a fetch, or joins the one that is under way.
    pub(in crate::cache) fn join(self: &Arc<Self>, key: &Key) -> Role {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(flight) => Role::Follow(Follower {
                landing: flight.get().subscribe(),
            }),
            Entry::Vacant(vacancy) => {
                let landing = Arc::new(watch::Sender::default());
                vacancy.insert(Arc::clone(&landing));
                Role::Lead(Lead {
                    flights: Arc::clone(self),
                    key: key.clone(),
                    landing,
                })
            }
        }
    }

    /// Begins a fetch, unless one is under way.
    pub(in crate::cache) fn lead(self: &Arc<Self>, key: &Key) -> Option<Lead> {
        match self.join(key) {
            Role::Lead(lead) => Some(lead),
            Role::Follow(_) => None,
        }
    }

    /// Lets nobody join what is under way any more: it may bring what was purged.
    pub(in crate::cache) fn detach(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<watch::Sender<Landing>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Whether anybody waits for it.
    pub(in crate::cache) fn is_awaited(&self) -> bool {
        self.landing.receiver_count() > 0
    }

    /// Whether anybody waits for it, for someone who does not have the lead itself.
    pub(in crate::cache) fn audience(&self) -> Audience {
        Audience(Arc::clone(&self.landing))
    }

    /// Ends the fetch. Who comes now begins another one.
    pub(in crate::cache) fn land(self, landing: Landing) {
        self.end(landing);
    }

    fn end(&self, landing: Landing) {
        let mut flights = self.flights.lock();
        if flights
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.landing))
        {
            flights.remove(&self.key);
        }
        drop(flights);
        self.landing.send_if_modified(|current| {
            let is_under_way = matches!(current, Landing::UnderWay);
            if is_under_way {
                *current = landing;
            }
            is_under_way
        });
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Landing::Lost);
    }
}

/// Those who wait for a fetch.
#[derive(Clone)]
pub(in crate::cache) struct Audience(Arc<watch::Sender<Landing>>);

impl Audience {
    pub(in crate::cache) fn is_waiting(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

impl Follower {
    /// Waits until it is known what became of the fetch.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it waits no more.
    pub(in crate::cache) async fn landed(mut self) -> Landing {
        let landed = self
            .landing
            .wait_for(|landing| !matches!(landing, Landing::UnderWay))
            .await;
        landed.map_or(Landing::Lost, |landing| landing.clone())
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
