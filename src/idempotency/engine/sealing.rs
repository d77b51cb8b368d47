//! What is kept of work, readable in the store or not: the one place where it is sealed and opened.

#[cfg(feature = "sealed-answers")]
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "sealed-answers")]
use crate::idempotency::answer_keys::AnswerKeys;
use crate::{
    idempotency::protocol::{Fingerprint, Record},
    key::Key,
};

/// How answers and recovery points are kept; as they are, unless there are keys.
#[derive(Clone, Debug, Default)]
pub(in crate::idempotency) struct Sealing {
    #[cfg(feature = "sealed-answers")]
    keys: Option<Arc<AnswerKeys>>,
}

/// An answer or recovery points, as they are put into a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::idempotency) struct Kept {
    pub(in crate::idempotency) payload: Bytes,
    pub(in crate::idempotency) is_sealed: bool,
}

impl Sealing {
    #[cfg(feature = "sealed-answers")]
    pub(in crate::idempotency) fn with(keys: AnswerKeys) -> Self {
        Self {
            keys: Some(Arc::new(keys)),
        }
    }

    /// What is to be put into the record under this key with this fingerprint. Where nothing is to be
    /// kept, nothing is sealed.
    pub(in crate::idempotency) fn seal(
        &self,
        plain: Bytes,
        key: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<Kept, getrandom::Error> {
        #[cfg(feature = "sealed-answers")]
        if let Some(keys) = self.keys.as_ref().filter(|_| !plain.is_empty()) {
            return Ok(Kept {
                payload: keys.seal(&plain, key, fingerprint)?,
                is_sealed: true,
            });
        }
        #[cfg(not(feature = "sealed-answers"))]
        let _ = (key, fingerprint);
        Ok(Kept {
            payload: plain,
            is_sealed: false,
        })
    }

    /// What was sealed, or kept as it was, in the record under this key; `None` if none of the keys
    /// opens it.
    pub(in crate::idempotency) fn open(&self, key: &Key, record: &Record) -> Option<Bytes> {
        if !record.flags.is_sealed {
            return Some(record.payload.clone());
        }
        #[cfg(feature = "sealed-answers")]
        if let Some(keys) = &self.keys {
            return keys.open(&record.payload, key, &record.fingerprint);
        }
        #[cfg(not(feature = "sealed-answers"))]
        let _ = key;
        None
    }
}
