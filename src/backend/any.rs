//! A backend that is chosen at run time.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Acquire, Amendment, Backend, Broadcast, Cursor, Decision, Entry, GetOptions, Hold, Index,
    KeyValue, Limit, Page, Precondition, Put, PutOptions, Quotas, Receipt, Result, SlotId,
    SlotLimit, Slots, Subscription,
    erased::{ErasedBackend, ErasedKeyValue, ErasedQuotas},
};
use crate::{clock::Timestamp, key::Key};

/// Any backend behind one type, so that a setting can choose it; cheap to clone.
///
/// ```
/// use tower_stash::backend::{AnyBackend, MemoryBackend};
///
/// # #[cfg(feature = "redis")]
/// # async fn choose() -> Result<AnyBackend, Box<dyn std::error::Error>> {
/// use tower_stash::backend::RedisBackend;
///
/// let backend = match std::env::var("REDIS_URL") {
///     Ok(url) => AnyBackend::new(RedisBackend::connect(&*url).await?),
///     Err(_) => AnyBackend::new(MemoryBackend::new()),
/// };
/// # Ok(backend)
/// # }
/// ```
#[derive(Clone)]
pub struct AnyBackend(Arc<dyn ErasedBackend>);

impl AnyBackend {
    /// This backend, its type forgotten.
    pub fn new(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }
}

impl KeyValue for AnyBackend {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        Arc::clone(&self.0).get(key.clone(), options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        Arc::clone(&self.0).put(key.clone(), value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        Arc::clone(&self.0).delete(key.clone(), precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        Arc::clone(&self.0)
            .touch(key.clone(), ttl, precondition)
            .await
    }

    fn clock_skew(&self) -> Duration {
        self.0.clock_skew()
    }

    fn is_remote(&self) -> bool {
        ErasedKeyValue::is_remote(&*self.0)
    }
}

impl Quotas for AnyBackend {
    async fn acquire(&self, request: &Acquire) -> Result<Decision> {
        Arc::clone(&self.0).acquire(request.clone()).await
    }

    async fn refund(&self, receipt: &Receipt) -> Result<()> {
        Arc::clone(&self.0).refund(receipt.clone()).await
    }

    fn is_remote(&self) -> bool {
        ErasedQuotas::is_remote(&*self.0)
    }

    async fn reset(&self, subject: &Key, limits: &[Limit]) -> Result<()> {
        Arc::clone(&self.0)
            .reset(subject.clone(), limits.into())
            .await
    }

    async fn amend(&self, subject: &Key, amendment: &Amendment) -> Result<()> {
        Arc::clone(&self.0).amend(subject.clone(), *amendment).await
    }
}

impl Slots for AnyBackend {
    async fn hold(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<Hold> {
        Arc::clone(&self.0)
            .hold(subject.clone(), *limit, slot)
            .await
    }

    async fn renew(&self, subject: &Key, limit: &SlotLimit, slots: &[SlotId]) -> Result<Vec<bool>> {
        Arc::clone(&self.0)
            .renew(subject.clone(), *limit, slots.into())
            .await
    }

    async fn release(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<()> {
        Arc::clone(&self.0)
            .release(subject.clone(), *limit, slot)
            .await
    }
}

impl Index for AnyBackend {
    async fn add(&self, index: &Key, member: Bytes, deadline: Timestamp) -> Result<()> {
        Arc::clone(&self.0)
            .add(index.clone(), member, deadline)
            .await
    }

    async fn remove(&self, index: &Key, member: Bytes) -> Result<bool> {
        Arc::clone(&self.0).remove(index.clone(), member).await
    }

    async fn members(&self, index: &Key, after: Option<Cursor>) -> Result<Page> {
        Arc::clone(&self.0).members(index.clone(), after).await
    }
}

impl Broadcast for AnyBackend {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        Arc::clone(&self.0).publish(channel.clone(), message).await
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        Arc::clone(&self.0).subscribe(channel.clone()).await
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyBackend").finish_non_exhaustive()
    }
}
