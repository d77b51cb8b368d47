//! What an operator reads and writes of a record, under the version that they have seen.

use std::time::Duration;

use bytes::Bytes;

use super::{sealing::Purpose, store::Store};
use crate::{
    backend::{BackendError, GetOptions, Precondition, Put, Version},
    clock::Timestamp,
    idempotency::{
        protocol::{OnForget, OnSettle, Owner, Record, is_forgotten, on_forget, on_settle},
        record_error::{RecordError, RecordErrorKind},
    },
    key::Key,
};

/// A record as it was read.
#[derive(Clone, Debug)]
pub(in crate::idempotency) struct Read {
    pub(in crate::idempotency) record: Record,
    pub(in crate::idempotency) version: Version,
    pub(in crate::idempotency) expires_in: Option<Duration>,
}

impl Store {
    /// The record under this key, with the time that it has left.
    pub(in crate::idempotency) async fn inspect(
        &self,
        key: &Key,
    ) -> Result<Option<Read>, RecordError> {
        let Some(entry) = self.get(key, GetOptions::new().with_expiry()).await? else {
            return Ok(None);
        };
        Ok(Some(Read {
            record: Record::decode(entry.value)?,
            version: entry.version,
            expires_in: entry.expires_in,
        }))
    }

    /// Deletes the record of this version, and says whether it is gone; one whose owner is to be
    /// left alone stays.
    pub(in crate::idempotency) async fn forget(
        &self,
        key: &Key,
        version: Version,
    ) -> Result<bool, RecordError> {
        let Some((found, now)) = self.look(key, version).await? else {
            return Ok(false);
        };
        match on_forget(&found, version, now) {
            OnForget::Delete => self.forget_running(key, version).await,
            OnForget::Running => Err(RecordErrorKind::Running.into()),
        }
    }

    /// Deletes the record of this version whatever it says, and says whether it is gone.
    pub(in crate::idempotency) async fn forget_running(
        &self,
        key: &Key,
        version: Version,
    ) -> Result<bool, RecordError> {
        let lost = match self.delete(key, version).await {
            Ok(is_deleted) => return Ok(is_deleted),
            Err(error) if error.may_have_applied() => error,
            Err(error) => return Err(error.into()),
        };
        // If the first one was applied, this one finds nothing of that version.
        let is_there = match self.delete(key, version).await {
            Ok(true) => return Ok(true),
            Ok(false) => self.get(key, GetOptions::new()).await,
            Err(_) => return Err(RecordError::indeterminate(lost)),
        };
        let entry = is_there.map_err(|_| RecordError::indeterminate(lost))?;
        Ok(match entry {
            None => true,
            Some(entry) => is_forgotten(version, &Record::decode(entry.value)?, entry.version),
        })
    }

    /// Gives an answer to the record of this version, and says whether it has it; one whose outcome
    /// is known, or may become known, stays as it is. `never_again` is what the record's rule says
    /// by now.
    pub(in crate::idempotency) async fn settle(
        &self,
        key: &Key,
        version: Version,
        never_again: impl FnOnce(&Record) -> bool,
        answer: impl FnOnce(&Record) -> Result<Bytes, RecordError>,
    ) -> Result<bool, RecordError> {
        let Some((found, now)) = self.look(key, version).await? else {
            return Ok(false);
        };
        match on_settle(&found, version, now, never_again(&found)) {
            OnSettle::Settle => {}
            OnSettle::Running => return Err(RecordErrorKind::Running.into()),
            OnSettle::Known => return Err(RecordErrorKind::NotUnknown.into()),
        }
        let operator = Owner::random()?;
        let answer = answer(&found)?;
        let answer = self
            .sealing
            .seal(answer, key, &found.fingerprint, Purpose::Answer)?;
        let settled = found.settled(version, operator, answer.payload, answer.is_sealed);
        // No other write has the version of a record that is completed, and this one only if the
        // record says that nobody knows: nobody has been given it as an answer.
        let put = self
            .put(key, &settled, Precondition::Matches(version))
            .await;
        match put.map(|sent| sent.put) {
            Ok(Put::Stored(_)) => Ok(true),
            // Written all the same, if an earlier sending came through.
            Ok(Put::Conflict { current, .. }) => Ok(current
                .and_then(|entry| Record::decode(entry.value).ok())
                .is_some_and(|current| current.owner == operator)),
            Err(error) if error.may_have_applied() => Err(RecordError::indeterminate(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The record under this key if it has this version, and the backend's time: only a write that
    /// is refused tells it, so this is one.
    async fn look(
        &self,
        key: &Key,
        version: Version,
    ) -> Result<Option<(Record, Timestamp)>, RecordError> {
        let never = Precondition::Matches(NO_VERSION);
        match self.put_bytes(key, Bytes::new, SHORTEST, never).await?.put {
            Put::Conflict { current, now } => match current {
                Some(entry) if entry.version == version => {
                    Ok(Some((Record::decode(entry.value)?, now)))
                }
                _ => Ok(None),
            },
            Put::Stored(_) => Err(BackendError::unreadable().into()),
        }
    }
}

/// No write has it, since each has the time at which it was made.
const NO_VERSION: Version = Version::from_u64(0);

/// The shortest time that anything is stored for.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        backend::{KeyValue as _, MemoryBackend, PutOptions},
        key::{Digester, KeyParts, Kind},
    };

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn key() -> Key {
        let parts = KeyParts::new().with("k");
        Key::new(Kind::EXECUTION, Digester::default().digest(&parts))
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_and_never_deleted_or_settled() {
        for bytes in [
            "i\x02 of a newer version",
            "i\x01P too short",
            "",
            "no record",
        ] {
            let memory = Arc::new(MemoryBackend::new());
            let store = Store::new(memory.clone());
            let stored = memory.put(&key(), bytes.into(), PutOptions::new(DAY)).await;
            let Ok(Put::Stored(version)) = stored else {
                panic!("{stored:?}");
            };
            let answer = |_: &Record| -> Result<Bytes, RecordError> { unreachable!() };
            let unreadable = [
                store.inspect(&key()).await.map(drop),
                store.forget(&key(), version).await.map(drop),
                store
                    .settle(&key(), version, |_| true, answer)
                    .await
                    .map(drop),
            ];
            for result in unreadable {
                assert_eq!(result.unwrap_err().kind(), RecordErrorKind::Unreadable);
            }
            let entry = memory
                .get(&key(), GetOptions::new())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (entry.version, &entry.value[..]),
                (version, bytes.as_bytes())
            );
        }
    }
}
