//! The calls to the backend.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    backend::{
        Breaker, Broadcast, Entry, ErasedBroadcast, ErasedKeyValue, GetOptions, KeyValue,
        Precondition, Put, PutOptions, Result, Subscription, Timeout, Version,
    },
    key::Key,
};

/// Where records are; cheap to clone.
#[derive(Clone)]
pub(in crate::cache) struct Store {
    /// For whatever a request waits for: better without a cache than late.
    swift: Arc<dyn ErasedKeyValue>,
    /// For what must not be given up early, with the backend's own time-out.
    patient: Arc<dyn ErasedKeyValue>,
    messages: Arc<dyn ErasedBroadcast>,
}

impl Store {
    pub(in crate::cache) fn new<B: KeyValue + Broadcast + Clone>(
        backend: B,
        patience: Duration,
    ) -> Self {
        let backend = Arc::new(backend);
        Self {
            swift: Arc::new(Breaker::new(Timeout::new((*backend).clone(), patience))),
            patient: Arc::clone(&backend) as Arc<dyn ErasedKeyValue>,
            messages: backend,
        }
    }

    pub(in crate::cache) async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Arc::clone(&self.swift)
            .get(key.clone(), GetOptions::new())
            .await
    }

    pub(in crate::cache) async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Put> {
        let options = PutOptions::new(ttl).with_precondition(precondition);
        Arc::clone(&self.swift)
            .put(key.clone(), value, options)
            .await
    }

    /// The same, for as long as the backend takes.
    pub(in crate::cache) async fn put_patiently(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Put> {
        let options = PutOptions::new(ttl).with_precondition(precondition);
        Arc::clone(&self.patient)
            .put(key.clone(), value, options)
            .await
    }

    pub(in crate::cache) async fn delete(&self, key: &Key, version: Version) -> Result<bool> {
        Arc::clone(&self.swift)
            .delete(key.clone(), Precondition::Matches(version))
            .await
    }

    pub(in crate::cache) async fn touch(
        &self,
        key: &Key,
        ttl: Duration,
        version: Version,
    ) -> Result<bool> {
        Arc::clone(&self.swift)
            .touch(key.clone(), ttl, Precondition::Matches(version))
            .await
    }

    pub(in crate::cache) async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        Arc::clone(&self.messages)
            .publish(channel.clone(), message)
            .await
    }

    pub(in crate::cache) async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        Arc::clone(&self.messages).subscribe(channel.clone()).await
    }

    /// How far apart the versions of two keys may be.
    pub(in crate::cache) fn clock_skew(&self) -> Duration {
        self.patient.clock_skew()
    }

    pub(in crate::cache) fn is_remote(&self) -> bool {
        self.patient.is_remote()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
