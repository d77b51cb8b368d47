//! Versioned records in memory.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;

use super::{
    MemoryBackend,
    table::{Content, Stored},
};
use crate::{
    backend::{
        BackendError, Entry, GetOptions, KeyValue, Precondition, Put, PutOptions, Result, Version,
    },
    clock::Timestamp,
    key::Key,
};

/// A record.
pub(super) struct Value {
    bytes: Bytes,
    version: Version,
}

/// The version that was given last, whatever the key.
#[derive(Default)]
pub(super) struct Versions(AtomicU64);

impl KeyValue for MemoryBackend {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        let entry = self.inner.store.with_shard(key, |shard, now| {
            let stored = shard.values.find(key, now)?;
            let Value { bytes, version } = &stored.content;
            let entry = Entry::new(bytes.clone(), *version);
            Some(if options.expiry {
                entry.with_expires_in(stored.deadline() - now)
            } else {
                entry
            })
        });
        Ok(entry)
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        let PutOptions { ttl, precondition } = options;
        let ttl = whole_millis(ttl)?;
        self.inner.store.write(key, TOO_LARGE, |shard, now| {
            let current = shard.values.find(key, now);
            if !precondition.holds_for(current.as_deref()) {
                let current = current.map(|stored| stored.entry(now));
                return Ok(Put::Conflict { current, now });
            }
            let version = self.inner.versions.next(now);
            // A copy, because what was given may be a slice of much more.
            let bytes = Bytes::copy_from_slice(&value);
            let value = Value { bytes, version };
            shard.values.put(key, value, now + ttl)?;
            Ok(Put::Stored(version))
        })
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        let deleted = self.inner.store.with_shard(key, |shard, now| {
            let current = shard.values.find(key, now);
            let deletes = current.is_some() && precondition.holds_for(current.as_deref());
            if deletes {
                shard.values.remove(key);
            }
            deletes
        });
        Ok(deleted)
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        let ttl = whole_millis(ttl)?;
        let touched = self.inner.store.with_shard(key, |shard, now| {
            let current = shard.values.find(key, now);
            let touches = current.is_some() && precondition.holds_for(current.as_deref());
            if touches {
                shard.values.expire_at(key, now + ttl);
            }
            touches
        });
        Ok(touched)
    }

    fn clock_skew(&self) -> Duration {
        Duration::ZERO
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl Content for Value {
    fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Stored<Value> {
    fn entry(&self, now: Timestamp) -> Entry {
        let Value { bytes, version } = &self.content;
        Entry::new(bytes.clone(), *version).with_expires_in(self.deadline() - now)
    }
}

impl Versions {
    /// The version of a write at this time.
    fn next(&self, now: Timestamp) -> Version {
        let after = |last: u64| last.saturating_add(1).max(now.as_micros());
        let last = self
            .0
            .fetch_update(Relaxed, Relaxed, |last| Some(after(last)));
        Version::from_u64(after(last.unwrap_or_default()))
    }
}

impl Precondition {
    fn holds_for(self, current: Option<&Stored<Value>>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Matches(version) => {
                current.is_some_and(|stored| stored.content.version == version)
            }
        }
    }
}

/// A time to live in its resolution, rounded up.
fn whole_millis(ttl: Duration) -> Result<Duration> {
    if ttl.is_zero() {
        return Err(BackendError::zero_ttl());
    }
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    Ok(Duration::from_millis(
        u64::try_from(millis).unwrap_or(u64::MAX),
    ))
}

const TOO_LARGE: &str = "put a record: it is larger than all that may be stored";
