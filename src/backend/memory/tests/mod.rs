//! What the memory backend promises beyond the contract: its bounds, who leaves, and its clock.

mod bounds;
mod index;
mod messages;
mod quotas;
mod random;
mod slots;

use std::time::Duration;

use bytes::Bytes;

use super::{MemoryBackend, table::ENTRY_OVERHEAD};
use crate::{
    backend::{GetOptions, KeyValue, Limit, Put, PutOptions, Quota},
    key::{Key, KeyParts},
};

const MINUTE: Duration = Duration::from_secs(60);

fn key(n: u64) -> Key {
    Key::custom("test", &KeyParts::new().with(n))
}

/// Bytes that an entry of one key and no content counts.
fn empty_entry() -> usize {
    key(0).as_str().len() + ENTRY_OVERHEAD
}

async fn put(backend: &MemoryBackend, n: u64, len: usize, ttl: Duration) -> u64 {
    let value = Bytes::from(vec![0; len]);
    match backend.put(&key(n), value, PutOptions::new(ttl)).await {
        Ok(Put::Stored(version)) => version.as_u64(),
        other => panic!("{other:?}"),
    }
}

async fn has(backend: &MemoryBackend, n: u64) -> bool {
    let read = backend.get(&key(n), GetOptions::new()).await;
    read.unwrap().is_some()
}

fn hourly(limit: u64) -> [Limit; 1] {
    [Limit::new("a", Quota::per_hour(limit)).unwrap()]
}

fn recount(backend: &MemoryBackend) -> (usize, usize) {
    backend.inner.store.recount()
}

fn stored(backend: &MemoryBackend) -> (usize, usize) {
    (backend.stored_entries(), backend.stored_bytes())
}
