//! Object-safe twins of the capabilities.
//!
//! Implementers write plain `async fn`; the layers hold an `Arc<dyn Erased…>`, so that no layer is
//! generic over its backend and the backend can be chosen at run time. Arguments are owned, so one
//! box holds the whole call.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Acquire, Amendment, Backend, Broadcast, Cursor, Decision, Entry, GetOptions, Hold, Index,
    KeyValue, Limit, Page, Precondition, Put, PutOptions, Quotas, Receipt, Result, SlotId,
    SlotLimit, Slots, Subscription,
};
use crate::{clock::Timestamp, key::Key};

/// A call under way.
pub(crate) type Call<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// [`KeyValue`] behind a pointer.
pub(crate) trait ErasedKeyValue: Send + Sync {
    fn get(self: Arc<Self>, key: Key, options: GetOptions) -> Call<Option<Entry>>;
    fn put(self: Arc<Self>, key: Key, value: Bytes, options: PutOptions) -> Call<Put>;
    fn delete(self: Arc<Self>, key: Key, precondition: Precondition) -> Call<bool>;
    fn touch(self: Arc<Self>, key: Key, ttl: Duration, precondition: Precondition) -> Call<bool>;
    fn clock_skew(&self) -> Duration;
    fn is_remote(&self) -> bool;
}

impl<B: KeyValue> ErasedKeyValue for B {
    fn get(self: Arc<Self>, key: Key, options: GetOptions) -> Call<Option<Entry>> {
        Box::pin(async move { KeyValue::get(&*self, &key, options).await })
    }

    fn put(self: Arc<Self>, key: Key, value: Bytes, options: PutOptions) -> Call<Put> {
        Box::pin(async move { KeyValue::put(&*self, &key, value, options).await })
    }

    fn delete(self: Arc<Self>, key: Key, precondition: Precondition) -> Call<bool> {
        Box::pin(async move { KeyValue::delete(&*self, &key, precondition).await })
    }

    fn touch(self: Arc<Self>, key: Key, ttl: Duration, precondition: Precondition) -> Call<bool> {
        Box::pin(async move { KeyValue::touch(&*self, &key, ttl, precondition).await })
    }

    fn clock_skew(&self) -> Duration {
        KeyValue::clock_skew(self)
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(self)
    }
}

/// [`Quotas`] behind a pointer.
pub(crate) trait ErasedQuotas: Send + Sync {
    fn acquire(self: Arc<Self>, request: Acquire) -> Call<Decision>;
    fn refund(self: Arc<Self>, receipt: Receipt) -> Call<()>;
    fn reset(self: Arc<Self>, subject: Key, limits: Arc<[Limit]>) -> Call<()>;
    fn amend(self: Arc<Self>, subject: Key, amendment: Amendment) -> Call<()>;
    fn is_remote(&self) -> bool;
}

impl<B: Quotas> ErasedQuotas for B {
    fn acquire(self: Arc<Self>, request: Acquire) -> Call<Decision> {
        Box::pin(async move { Quotas::acquire(&*self, &request).await })
    }

    fn refund(self: Arc<Self>, receipt: Receipt) -> Call<()> {
        Box::pin(async move { Quotas::refund(&*self, &receipt).await })
    }

    fn reset(self: Arc<Self>, subject: Key, limits: Arc<[Limit]>) -> Call<()> {
        Box::pin(async move { Quotas::reset(&*self, &subject, &limits).await })
    }

    fn amend(self: Arc<Self>, subject: Key, amendment: Amendment) -> Call<()> {
        Box::pin(async move { Quotas::amend(&*self, &subject, &amendment).await })
    }

    fn is_remote(&self) -> bool {
        Quotas::is_remote(self)
    }
}

/// [`Slots`] behind a pointer.
pub(crate) trait ErasedSlots: Send + Sync {
    fn hold(self: Arc<Self>, subject: Key, limit: SlotLimit, slot: SlotId) -> Call<Hold>;
    fn renew(
        self: Arc<Self>,
        subject: Key,
        limit: SlotLimit,
        slots: Arc<[SlotId]>,
    ) -> Call<Vec<bool>>;
    fn release(self: Arc<Self>, subject: Key, limit: SlotLimit, slot: SlotId) -> Call<()>;
}

impl<B: Slots> ErasedSlots for B {
    fn hold(self: Arc<Self>, subject: Key, limit: SlotLimit, slot: SlotId) -> Call<Hold> {
        Box::pin(async move { Slots::hold(&*self, &subject, &limit, slot).await })
    }

    fn renew(
        self: Arc<Self>,
        subject: Key,
        limit: SlotLimit,
        slots: Arc<[SlotId]>,
    ) -> Call<Vec<bool>> {
        Box::pin(async move { Slots::renew(&*self, &subject, &limit, &slots).await })
    }

    fn release(self: Arc<Self>, subject: Key, limit: SlotLimit, slot: SlotId) -> Call<()> {
        Box::pin(async move { Slots::release(&*self, &subject, &limit, slot).await })
    }
}

/// [`Index`] behind a pointer.
pub(crate) trait ErasedIndex: Send + Sync {
    fn add(self: Arc<Self>, index: Key, member: Bytes, deadline: Timestamp) -> Call<()>;
    fn remove(self: Arc<Self>, index: Key, member: Bytes) -> Call<bool>;
    fn members(self: Arc<Self>, index: Key, after: Option<Cursor>) -> Call<Page>;
}

impl<B: Index> ErasedIndex for B {
    fn add(self: Arc<Self>, index: Key, member: Bytes, deadline: Timestamp) -> Call<()> {
        Box::pin(async move { Index::add(&*self, &index, member, deadline).await })
    }

    fn remove(self: Arc<Self>, index: Key, member: Bytes) -> Call<bool> {
        Box::pin(async move { Index::remove(&*self, &index, member).await })
    }

    fn members(self: Arc<Self>, index: Key, after: Option<Cursor>) -> Call<Page> {
        Box::pin(async move { Index::members(&*self, &index, after).await })
    }
}

/// [`Broadcast`] behind a pointer.
pub(crate) trait ErasedBroadcast: Send + Sync {
    fn publish(self: Arc<Self>, channel: Key, message: Bytes) -> Call<()>;
    fn subscribe(self: Arc<Self>, channel: Key) -> Call<Subscription>;
}

impl<B: Broadcast> ErasedBroadcast for B {
    fn publish(self: Arc<Self>, channel: Key, message: Bytes) -> Call<()> {
        Box::pin(async move { Broadcast::publish(&*self, &channel, message).await })
    }

    fn subscribe(self: Arc<Self>, channel: Key) -> Call<Subscription> {
        Box::pin(async move { Broadcast::subscribe(&*self, &channel).await })
    }
}

/// [`Backend`] behind a pointer.
pub(crate) trait ErasedBackend:
    ErasedKeyValue + ErasedQuotas + ErasedSlots + ErasedIndex + ErasedBroadcast
{
}

impl<B: Backend> ErasedBackend for B {}
