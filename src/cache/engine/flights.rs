//! One fetch at a time for what several requests of this process want.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::timeout};

use super::Deposited;
use crate::{cache::protocol::lease::PATIENCE, key::Key};

/// What is being fetched: for each page, by the keys of leases.
#[derive(Default)]
pub(in crate::cache) struct Flights {
    flights: Mutex<HashMap<Key, Vec<Flight>>>,
}

struct Flight {
    lease: Key,
    landing: Arc<watch::Sender<Landing>>,
}

/// What became of a fetch.
#[derive(Clone, Debug, Default)]
pub(in crate::cache) enum Landing {
    /// It goes on.
    #[default]
    UnderWay,
    /// It goes on, and will be stored when its body is there.
    Arriving,
    /// The response is stored, and this is it.
    Stored(Arc<Deposited>),
    /// The response is for the one that fetched it: everybody fetches his own.
    NotShared,
    /// It was given up; someone else may try.
    Lost,
}

impl Landing {
    const fn is_over(&self) -> bool {
        !matches!(self, Self::UnderWay | Self::Arriving)
    }
}

/// The part of a request in a fetch.
pub(in crate::cache) enum Role {
    Lead(Lead),
    Follow(Follower),
}

/// Who fetches. Dropped before it has told what became of it, it tells that it was given up.
pub(in crate::cache) struct Lead {
    flights: Arc<Flights>,
    page: Key,
    landing: Arc<watch::Sender<Landing>>,
}

/// Who waits.
pub(in crate::cache) struct Follower {
    landing: watch::Receiver<Landing>,
}

impl Flights {
    /// Begins a fetch, or joins the one that is under way.
    pub(in crate::cache) fn join(self: &Arc<Self>, page: &Key, lease: &Key) -> Role {
        let mut flights = self.lock();
        let of_page = flights.entry(page.clone()).or_default();
        if let Some(flight) = of_page.iter().find(|flight| flight.lease == *lease) {
            return Role::Follow(Follower {
                landing: flight.landing.subscribe(),
            });
        }
        let landing = Arc::new(watch::Sender::default());
        of_page.push(Flight {
            lease: lease.clone(),
            landing: Arc::clone(&landing),
        });
        Role::Lead(Lead {
            flights: Arc::clone(self),
            page: page.clone(),
            landing,
        })
    }

    /// Begins a fetch, unless one is under way.
    pub(in crate::cache) fn lead(self: &Arc<Self>, page: &Key, lease: &Key) -> Option<Lead> {
        match self.join(page, lease) {
            Role::Lead(lead) => Some(lead),
            Role::Follow(_) => None,
        }
    }

    /// Lets nobody join what is under way of this page any more: it may bring what was purged.
    pub(in crate::cache) fn detach(&self, page: &Key) {
        self.lock().remove(page);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Whether anybody waits for it, for someone who does not have the lead itself.
    pub(in crate::cache) fn audience(&self) -> Audience {
        Audience(Arc::clone(&self.landing))
    }

    /// The head of the response is there, and its body is being read: as fast as its client reads.
    pub(in crate::cache) fn arrive(&self) {
        self.landing.send_if_modified(|current| {
            let is_news = matches!(current, Landing::UnderWay);
            if is_news {
                *current = Landing::Arriving;
            }
            is_news
        });
    }

    /// Ends the fetch. Who comes now begins another one.
    pub(in crate::cache) fn land(self, landing: Landing) {
        self.end(landing);
    }

    fn end(&self, landing: Landing) {
        let mut flights = self.flights.lock();
        if let Some(of_page) = flights.get_mut(&self.page) {
            of_page.retain(|flight| !Arc::ptr_eq(&flight.landing, &self.landing));
            if of_page.is_empty() {
                flights.remove(&self.page);
            }
        }
        drop(flights);
        self.landing.send_if_modified(|current| {
            let is_under_way = !current.is_over();
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
    /// Waits until it is known what became of the fetch: for the handler as long as it takes, and for
    /// the body only so long, since a client may read it as slowly as it likes. It is
    /// [`Arriving`](Landing::Arriving) still, then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it waits no more.
    pub(in crate::cache) async fn landed(mut self) -> Landing {
        let answered = |landing: &Landing| !matches!(landing, Landing::UnderWay);
        match self.landing.wait_for(answered).await.as_deref() {
            Ok(Landing::Arriving) => {}
            Ok(landed) => return landed.clone(),
            Err(_) => return Landing::Lost,
        }
        match timeout(PATIENCE, self.landing.wait_for(Landing::is_over)).await {
            Ok(Ok(landed)) => landed.clone(),
            Ok(Err(_)) => Landing::Lost,
            Err(_) => Landing::Arriving,
        }
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParts;

    fn key(name: &str) -> Key {
        Key::custom("test", &KeyParts::new().with(name))
    }

    fn is_lead(role: &Role) -> bool {
        matches!(role, Role::Lead(_))
    }

    #[test]
    fn who_comes_second_follows_and_who_wants_something_else_leads() {
        let flights = Arc::<Flights>::default();
        let first = flights.join(&key("page"), &key("one"));
        assert!(is_lead(&first));
        assert!(!is_lead(&flights.join(&key("page"), &key("one"))));
        assert!(is_lead(&flights.join(&key("page"), &key("two"))));
        assert!(is_lead(&flights.join(&key("other"), &key("one"))));
        drop(first);
        assert!(is_lead(&flights.join(&key("page"), &key("one"))));
        assert!(flights.lock().is_empty());
    }

    #[test]
    fn nobody_joins_a_flight_of_a_page_that_was_detached() {
        let flights = Arc::<Flights>::default();
        let one = flights.join(&key("page"), &key("one"));
        let two = flights.join(&key("page"), &key("two"));
        let other = flights.join(&key("other"), &key("one"));
        flights.detach(&key("page"));
        let again = flights.join(&key("page"), &key("one"));
        assert!(is_lead(&again));
        assert!(is_lead(&flights.join(&key("page"), &key("two"))));
        assert!(!is_lead(&flights.join(&key("other"), &key("one"))));
        // The end of one that was detached is not the end of the one that took its place.
        drop((one, two));
        assert!(!is_lead(&flights.join(&key("page"), &key("one"))));
        drop((again, other));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn followers_of_a_detached_flight_learn_what_became_of_it() {
        let flights = Arc::<Flights>::default();
        let Role::Lead(lead) = flights.join(&key("page"), &key("one")) else {
            panic!("nobody else leads");
        };
        let Role::Follow(follower) = flights.join(&key("page"), &key("one")) else {
            panic!("somebody leads");
        };
        flights.detach(&key("page"));
        lead.land(Landing::NotShared);
        assert!(matches!(follower.landed().await, Landing::NotShared));
    }
}
