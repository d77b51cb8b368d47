//! The way of an instance to the backend: what is sent arrives, whoever has ceased to wait for it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{self, SeqCst},
        },
    },
    time::Duration,
};

use bytes::Bytes;
use tower_stash::{
    backend::{
        BackendError, BackendErrorKind, Broadcast, Entry, GetOptions, KeyValue, MemoryBackend,
        Precondition, Put, PutOptions, Result, Subscription,
    },
    key::Key,
    testing::{Fault, FaultBackend},
};

/// The calls of an instance.
#[derive(Clone, Debug)]
pub(super) struct Line {
    troubled: FaultBackend<MemoryBackend>,
    calm: FaultBackend<MemoryBackend>,
    is_calm: Arc<AtomicBool>,
    longest_life: Arc<AtomicU64>,
}

impl Line {
    /// One whose first calls meet these.
    pub(super) fn new(backend: &MemoryBackend, faults: &[Fault]) -> Self {
        let troubled = FaultBackend::new(backend.clone()).seen_as_remote();
        troubled.script(faults.iter().copied());
        Self {
            troubled,
            calm: FaultBackend::new(backend.clone()).seen_as_remote(),
            is_calm: Arc::default(),
            longest_life: Arc::default(),
        }
    }

    pub(super) fn go_down(&self) {
        self.troubled.go_down();
    }

    pub(super) fn come_up(&self) {
        self.troubled.come_up();
    }

    /// From now on nothing happens to calls.
    pub(super) fn calm_down(&self) {
        self.is_calm.store(true, SeqCst);
    }

    /// The longest life that anything was given.
    pub(super) fn longest_life(&self) -> Duration {
        Duration::from_secs(self.longest_life.load(SeqCst))
    }

    fn backend(&self) -> FaultBackend<MemoryBackend> {
        if self.is_calm.load(SeqCst) {
            self.calm.clone()
        } else {
            self.troubled.clone()
        }
    }

    fn gives_life(&self, ttl: Duration) {
        assert!(!ttl.is_zero(), "nothing is stored for no time");
        self.longest_life.fetch_max(ttl.as_secs(), Ordering::SeqCst);
    }
}

/// Goes on if it is dropped.
async fn send<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let lost = |_| BackendError::new(BackendErrorKind::Disconnected, "hear the answer");
    tokio::spawn(call).await.map_err(lost)?
}

impl KeyValue for Line {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        let (backend, key) = (self.backend(), key.clone());
        send(async move { backend.get(&key, options).await }).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.gives_life(options.ttl);
        let (backend, key) = (self.backend(), key.clone());
        send(async move { backend.put(&key, value, options).await }).await
    }

    async fn delete(&self, key: &Key, condition: Precondition) -> Result<bool> {
        let (backend, key) = (self.backend(), key.clone());
        send(async move { backend.delete(&key, condition).await }).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, condition: Precondition) -> Result<bool> {
        self.gives_life(ttl);
        let (backend, key) = (self.backend(), key.clone());
        send(async move { backend.touch(&key, ttl, condition).await }).await
    }

    fn clock_skew(&self) -> Duration {
        KeyValue::clock_skew(&self.calm)
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&self.calm)
    }
}

impl Broadcast for Line {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        let (backend, channel) = (self.backend(), channel.clone());
        send(async move { backend.publish(&channel, message).await }).await
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        self.backend().subscribe(channel).await
    }
}
