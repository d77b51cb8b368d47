//! Cases of [`KeyValue`].

mod concurrency;
mod expiry;
mod preconditions;
mod values;
mod versions;

use std::time::Duration;

use bytes::Bytes;

use super::{Case, Fixture, LONG, Scene};
use crate::{
    backend::{Entry, GetOptions, KeyValue, Precondition, Put, PutOptions, Version},
    key::Key,
};

/// What [`KeyValue`] owes.
#[must_use]
pub fn key_value<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: KeyValue,
{
    [
        values::cases(),
        versions::cases(),
        preconditions::cases(),
        expiry::cases(),
        concurrency::cases(),
    ]
    .concat()
}

impl<F: Fixture<Backend: KeyValue>> Scene<F> {
    async fn read(&self, key: &Key) -> Option<Entry> {
        let read = self.backend().get(key, GetOptions::new()).await;
        read.expect("get answers")
    }

    async fn read_with_expiry(&self, key: &Key) -> Entry {
        let read = self
            .backend()
            .get(key, GetOptions::new().with_expiry())
            .await;
        read.expect("get answers").expect("the record is there")
    }

    /// Puts a record whatever is there.
    async fn store(&self, key: &Key, value: impl Into<Bytes>, ttl: Duration) -> Version {
        let put = self.backend().put(key, value.into(), PutOptions::new(ttl));
        match put.await.expect("put answers") {
            Put::Stored(version) => version,
            Put::Conflict { .. } => panic!("a put without a precondition met a conflict"),
        }
    }

    async fn put(&self, key: &Key, value: impl Into<Bytes>, precondition: Precondition) -> Put {
        let options = PutOptions::new(LONG).with_precondition(precondition);
        let put = self.backend().put(key, value.into(), options);
        put.await.expect("put answers")
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> bool {
        let delete = self.backend().delete(key, precondition);
        delete.await.expect("delete answers")
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> bool {
        let touch = self.backend().touch(key, ttl, precondition);
        touch.await.expect("touch answers")
    }
}
