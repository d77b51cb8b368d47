//! What is recorded of work that is no request, for operators.

use bytes::Bytes;

use super::Idempotent;
use crate::{
    backend::Version,
    idempotency::{Inspection, RecordError, inspection::Payload, protocol::Record},
    key::KeyPart,
};

impl Idempotent {
    /// What is recorded under this key; `None` if nothing is. See
    /// [`IdempotencyHandle::inspect`](crate::idempotency::IdempotencyHandle::inspect).
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub async fn inspect(&self, key: impl KeyPart) -> Result<Option<Inspection>, RecordError> {
        let (key, store) = (self.record_key(key), self.store());
        let read = store.inspect(&key).await?;
        let payload = |found: &Record| match store.sealing.open(&key, found) {
            Some(_) => Payload::Result,
            None => Payload::Unreadable,
        };
        Ok(read.map(|read| Inspection::of(read, self.never_again(), payload)))
    }

    /// Deletes what is recorded under this key, if it is what an [`inspect`](Self::inspect) has
    /// shown, and says whether it is gone; work that may be running is refused. See
    /// [`IdempotencyHandle::forget`](crate::idempotency::IdempotencyHandle::forget).
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub async fn forget(&self, key: impl KeyPart, version: Version) -> Result<bool, RecordError> {
        let key = self.record_key(key);
        self.store().forget(&key, version).await
    }

    /// As [`forget`](Self::forget), also if the work may be running. See
    /// [`IdempotencyHandle::forget_running`](crate::idempotency::IdempotencyHandle::forget_running).
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub async fn forget_running(
        &self,
        key: impl KeyPart,
        version: Version,
    ) -> Result<bool, RecordError> {
        let key = self.record_key(key);
        self.store().forget_running(&key, version).await
    }

    /// Gives this result to work of which nobody knows what became, if what is recorded is what an
    /// [`inspect`](Self::inspect) has shown, and says whether it has it. See
    /// [`IdempotencyHandle::settle`](crate::idempotency::IdempotencyHandle::settle).
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub async fn settle(
        &self,
        key: impl KeyPart,
        version: Version,
        result: impl Into<Bytes>,
    ) -> Result<bool, RecordError> {
        let key = self.record_key(key);
        let result = |_: &Record| Ok(result.into());
        let never_again = |_: &Record| self.never_again();
        let store = self.store();
        store.settle(&key, version, never_again, result).await
    }
}
