//! Records that cannot be read: of a newer version, or damaged.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::response::IntoResponse as _;
use bytes::Bytes;
use tower_stash::{
    backend::{Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions, Result},
    idempotency::{Outage, Unrecorded},
    key::Key,
};

use crate::fixture::{Bed, memory, never, refused, rule};

/// A backend in which every record that is read has been changed in this way.
#[derive(Clone)]
struct Changed {
    memory: MemoryBackend,
    change: Arc<Mutex<Change>>,
}

type Change = fn(&mut Vec<u8>);

impl Changed {
    fn changed(&self, entry: &mut Entry) {
        let mut value = entry.value.to_vec();
        (self.change.lock().unwrap())(&mut value);
        entry.value = value.into();
    }
}

impl KeyValue for Changed {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        let mut entry = self.memory.get(key, options).await?;
        if let Some(entry) = &mut entry {
            self.changed(entry);
        }
        Ok(entry)
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        let mut put = self.memory.put(key, value, options).await?;
        if let Put::Conflict {
            current: Some(entry),
            ..
        } = &mut put
        {
            self.changed(entry);
        }
        Ok(put)
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.memory.delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.memory.touch(key, ttl, precondition).await
    }

    fn clock_skew(&self) -> Duration {
        self.memory.clock_skew()
    }

    fn is_remote(&self) -> bool {
        false
    }
}

/// What a request gets whose record was changed, and then what one gets when it is as it was.
async fn told(change: Change, expected: (u16, String)) {
    let passing = rule().with_outage(Outage::PassThrough).unwrap();
    for rule in [rule(), passing, never(Unrecorded::Answer)] {
        let backend = Changed {
            memory: memory(),
            change: Arc::new(Mutex::new(|_| ())),
        };
        let bed = Bed::new(backend.clone(), rule, |_| async { "done".into_response() });
        bed.post("a", "").await;
        *backend.change.lock().unwrap() = change;
        assert_eq!(bed.post("a", "").await.refusal(), expected);
        *backend.change.lock().unwrap() = |_| ();
        assert!(bed.post("a", "").await.is_replay(), "it is never deleted");
        assert_eq!(bed.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_newer_format_is_left_to_other_instances() {
    told(|value| value[1] += 1, refused(503, "unavailable")).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_damaged_is_told_and_kept() {
    let changes: [Change; 4] = [
        |value| value.clear(),
        |value| value[0] = b'x',
        |value| value.truncate(40),
        // In the answer.
        |value| value.truncate(85),
    ];
    for change in changes {
        told(change, refused(500, "record-unreadable")).await;
    }
}
