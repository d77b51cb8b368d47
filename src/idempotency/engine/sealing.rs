//! What is kept of work, readable in the store or not: the one place where it is sealed and opened.

#[cfg(feature = "sealed-answers")]
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "sealed-answers")]
use crate::idempotency::{answer_keys::AnswerKeys, protocol::State};
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

/// What is kept, so that one is not taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::idempotency) enum Purpose {
    Answer = b'A',
    /// The head of an answer that is too large to be kept.
    Head = b'H',
    RecoveryPoints = b'P',
}

#[cfg(feature = "sealed-answers")]
impl Purpose {
    /// What a record says that it has.
    fn of(record: &Record) -> Self {
        match record.state {
            State::Completed if record.flags.is_not_replayable => Self::Head,
            State::Completed => Self::Answer,
            State::InProgress | State::Failed => Self::RecoveryPoints,
        }
    }
}

#[cfg_attr(
    not(feature = "sealed-answers"),
    expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as where there may be keys"
    )
)]
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
        purpose: Purpose,
    ) -> Result<Kept, getrandom::Error> {
        #[cfg(feature = "sealed-answers")]
        if let Some(keys) = self.keys.as_ref().filter(|_| !plain.is_empty()) {
            return Ok(Kept {
                payload: keys.seal(&plain, key, fingerprint, purpose)?,
                is_sealed: true,
            });
        }
        #[cfg(not(feature = "sealed-answers"))]
        let _ = (key, fingerprint, purpose);
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
            return keys.open(
                &record.payload,
                key,
                &record.fingerprint,
                Purpose::of(record),
            );
        }
        #[cfg(not(feature = "sealed-answers"))]
        let _ = key;
        None
    }
}
