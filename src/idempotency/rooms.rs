//! Where requests of this process wait for an answer that is being made.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::{
    protocol::Record,
    race::{First, first},
};
use crate::key::Key;

/// A room for each key that someone waits for.
pub(super) struct Rooms {
    rooms: Mutex<HashMap<Key, Used>>,
    seats: Arc<Semaphore>,
}

/// Where those wait who want the same key.
struct Room {
    answer: watch::Sender<Option<Arc<Record>>>,
    /// Held by the one that asks the backend for all.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A room, and how many are in it.
struct Used {
    room: Arc<Room>,
    seats: usize,
}

/// A place in a room.
pub(super) struct Seat {
    rooms: Arc<Rooms>,
    key: Key,
    room: Arc<Room>,
    _permit: OwnedSemaphorePermit,
}

/// What ends a wait.
pub(super) enum Called {
    /// The answer is there.
    Answer(Arc<Record>),
    /// Nobody asks the backend: it is this one's turn, until what this holds is dropped.
    Turn(OwnedMutexGuard<()>),
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self {
            rooms: Mutex::default(),
            seats: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// A place among those who wait for this key; `None` if there are no more.
    pub(super) fn enter(self: &Arc<Self>, key: &Key) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let mut rooms = self.lock();
        let used = rooms.entry(key.clone()).or_insert_with(|| Used {
            room: Room::new(),
            seats: 0,
        });
        used.seats += 1;
        let room = Arc::clone(&used.room);
        Some(Seat {
            rooms: Arc::clone(self),
            key: key.clone(),
            room,
            _permit: permit,
        })
    }

    /// Tells everybody who waits for this key that its answer is recorded.
    pub(super) fn announce(&self, key: &Key, answer: &Arc<Record>) {
        if let Some(Used { room, .. }) = self.lock().get(key) {
            room.answer.send_replace(Some(Arc::clone(answer)));
        }
    }

    /// Whether anybody waits for this key here.
    pub(super) fn is_awaited(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Used>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: watch::Sender::new(None),
            turn: Arc::default(),
        })
    }
}

impl Seat {
    /// Waits for the answer, or until nobody else asks for it.
    pub(super) async fn called(&self) -> Called {
        let turn = Arc::clone(&self.room.turn).lock_owned();
        match first(self.told(), turn).await {
            First::One(answer) => Called::Answer(answer),
            First::Other(turn) => Called::Turn(turn),
        }
    }

    /// Waits for the answer without asking for it.
    pub(super) async fn told(&self) -> Arc<Record> {
        let mut news = self.room.answer.subscribe();
        let told = news.wait_for(Option::is_some).await;
        match told.ok().and_then(|answer| answer.clone()) {
            Some(answer) => answer,
            // The sender is in the room, which is here.
            None => pending().await,
        }
    }

    /// Tells all others here.
    pub(super) fn announce(&self, answer: &Arc<Record>) {
        self.room.answer.send_replace(Some(Arc::clone(answer)));
    }
}

/// The last one to leave a room takes it down.
impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        if let Entry::Occupied(mut used) = rooms.entry(self.key.clone()) {
            used.get_mut().seats -= 1;
            if used.get().seats == 0 {
                used.remove();
            }
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// The most requests that wait in a process.
const MAX_WAITING: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::key::{Digester, KeyParts, Kind};

    fn key() -> Key {
        let parts = KeyParts::new().with("k");
        Key::new(Kind::EXECUTION, Digester::default().digest(&parts))
    }

    #[test]
    fn a_room_that_all_leave_at_once_is_taken_down() {
        let rooms = Arc::new(Rooms::new());
        let together = Barrier::new(2);
        let come_and_go = || {
            for _ in 0..5_000 {
                let seat = rooms.enter(&key());
                together.wait();
                drop(seat);
                together.wait();
                assert!(!rooms.is_awaited(&key()));
                together.wait();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(come_and_go);
            come_and_go();
        });
    }

    #[tokio::test]
    async fn a_room_stays_as_long_as_anybody_is_in_it() {
        let rooms = Arc::new(Rooms::new());
        let (one, other) = (rooms.enter(&key()), rooms.enter(&key()));
        drop(one);
        assert!(rooms.is_awaited(&key()));
        drop(other);
        assert!(!rooms.is_awaited(&key()));
    }
}
