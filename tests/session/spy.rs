//! A backend that remembers what was written, so that a test can look at it and spoil it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use tower_stash::{
    backend::{Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions, Result},
    key::Key,
    testing::FaultBackend,
};

/// Passes all calls on and remembers which keys were written.
#[derive(Clone)]
pub(crate) struct Spy {
    backend: FaultBackend<MemoryBackend>,
    written: Arc<Mutex<BTreeMap<String, (Key, Bytes)>>>,
}

impl Spy {
    pub(crate) fn on(backend: FaultBackend<MemoryBackend>) -> Self {
        Self {
            backend,
            written: Arc::default(),
        }
    }

    /// All keys and values that were written so far, as far as they are text.
    pub(crate) fn everything_written(&self) -> Vec<u8> {
        let written = self.written();
        let each = written.iter();
        each.flat_map(|(key, (_, value))| [key.as_bytes(), value].concat())
            .collect()
    }

    /// The sessions and tombstones that are stored now.
    pub(crate) async fn stored(&self) -> Vec<(Key, Entry)> {
        let keys: Vec<_> = self
            .written()
            .values()
            .map(|(key, _)| key.clone())
            .collect();
        let mut stored = Vec::new();
        for key in keys {
            let entry = self.backend.get(&key, GetOptions::new().with_expiry());
            if let Some(entry) = entry.await.unwrap()
                && matches!(entry.value[0], b's' | b'x')
            {
                stored.push((key, entry));
            }
        }
        stored
    }

    /// The one session or tombstone that is stored.
    pub(crate) async fn only_one(&self) -> (Key, Entry) {
        let mut stored = self.stored().await;
        assert_eq!(stored.len(), 1);
        stored.pop().unwrap()
    }

    /// How many sessions are stored, without tombstones.
    pub(crate) async fn living(&self) -> usize {
        let stored = self.stored().await;
        let living = stored.iter().filter(|(_, entry)| entry.value[0] == b's');
        living.count()
    }

    /// Writes this in the place of the one session.
    pub(crate) async fn spoil(&self, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let (key, entry) = self.only_one().await;
        let mut value = entry.value.to_vec();
        change(&mut value);
        let value = Bytes::from(value);
        let options = PutOptions::new(entry.expires_in.unwrap());
        let put = self.backend.put(&key, value.clone(), options).await;
        assert!(matches!(put.unwrap(), Put::Stored(_)));
        value
    }

    /// Writes this in the place of the one session, however spoiled that is.
    pub(crate) async fn overwrite(&self, value: &[u8]) {
        let key = self.written().values().find_map(|(key, _)| {
            let is_session = key.as_str().starts_with("s1");
            is_session.then(|| key.clone())
        });
        let options = PutOptions::new(Duration::from_secs(600));
        let value = Bytes::copy_from_slice(value);
        let put = self.backend.put(&key.unwrap(), value, options).await;
        assert!(matches!(put.unwrap(), Put::Stored(_)));
    }

    /// All keys that were written so far.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.written().keys().cloned().collect()
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, (Key, Bytes)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for Spy {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.backend.get(key, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.written()
            .insert(key.as_str().to_owned(), (key.clone(), value.clone()));
        self.backend.put(key, value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.backend.delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.backend.touch(key, ttl, precondition).await
    }

    fn clock_skew(&self) -> Duration {
        self.backend.clock_skew()
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&self.backend)
    }
}

/// The bytes that a token stands for, of its handle and of its secret.
pub(crate) fn bytes_of(token: &str) -> [Vec<u8>; 2] {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let (handle, secret) = bytes.split_at(16);
    [handle.to_vec(), secret.to_vec()]
}
