//! What a session asks of the backend: to read it, to write it, to end it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    SessionError, SessionErrorKind,
    expiry::{ServerClock, read_at},
    record::{Content, Ending, Record},
    token::{Handle, Token},
};
use crate::{
    backend::{
        BackendErrorKind, Entry, ErasedKeyValue, GetOptions, Precondition, Put, PutOptions,
        Result as BackendResult, Version,
    },
    clock::{Monotonic, monotonic_now},
    key::{Digester, Key, KeyParts, Kind},
};

/// The sessions of one family in a backend.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) backend: Arc<dyn ErasedKeyValue>,
    pub(super) digester: Digester,
    pub(super) family: Arc<str>,
}

/// A session as it stands in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) handle: Handle,
    pub(super) record: Arc<Record>,
    pub(super) version: Version,
    pub(super) clock: ServerClock,
}

/// What a token stands for.
#[derive(Debug)]
pub(super) enum Found {
    /// A session, of which it is the secret or, for a while after a rotation, was.
    Session(Stored, Via),
    /// One that ended or was given another secret a moment ago. The answer that tells the client
    /// may still be on its way.
    Gone,
    /// One whose secret was replaced long ago, and whose new one has been used.
    Reused,
    /// None.
    Nothing,
}

/// By which of its secrets a request came to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Current,
    /// The one before the last rotation.
    Previous,
}

/// What stands under a key, and when.
pub(super) struct Reading {
    pub(super) content: Content,
    pub(super) version: Version,
    pub(super) clock: ServerClock,
}

impl Store {
    /// Looks up what a token stands for.
    pub(super) async fn find(&self, token: &Token) -> Result<Found, SessionError> {
        let Some(reading) = self.read(&token.handle).await? else {
            return Ok(Found::Nothing);
        };
        let Content::Session(record) = reading.content else {
            return Ok(Found::Gone);
        };
        let stored = Stored {
            handle: token.handle,
            record,
            version: reading.version,
            clock: reading.clock,
        };
        Ok(stored.known_by(token))
    }

    /// Reads what stands under a handle.
    pub(super) async fn read(&self, handle: &Handle) -> Result<Option<Reading>, SessionError> {
        let asked = monotonic_now();
        let backend = Arc::clone(&self.backend);
        let options = GetOptions::new().with_expiry();
        match backend.get(self.key(handle), options).await? {
            Some(entry) => Reading::new(entry, asked).map(Some),
            None => Ok(None),
        }
    }

    /// Writes a record if what was read, or nothing, is still there.
    pub(super) async fn put(
        &self,
        handle: &Handle,
        value: Bytes,
        ttl: Duration,
        precondition: Precondition,
    ) -> BackendResult<(Put, Monotonic)> {
        let asked = monotonic_now();
        let backend = Arc::clone(&self.backend);
        let options = PutOptions::new(ttl).with_precondition(precondition);
        let put = backend.put(self.key(handle), value, options).await?;
        Ok((put, asked))
    }

    /// Ends a session, whoever writes it at the same time.
    ///
    /// A tombstone keeps whoever still has it from taking it for one that never was. A store that
    /// is full takes none, but lets the record go.
    pub(super) async fn end(&self, handle: &Handle, ending: Ending) -> Result<(), SessionError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let tombstone = ending.tombstone();
            match self.put(handle, tombstone, LATE, Precondition::Any).await {
                Ok(_) => return Ok(()),
                Err(error) if error.may_have_applied() && tries < MAX_TRIES => {}
                Err(error) if error.kind() == BackendErrorKind::Rejected => {
                    let backend = Arc::clone(&self.backend);
                    backend.delete(self.key(handle), Precondition::Any).await?;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn key(&self, handle: &Handle) -> Key {
        let parts = KeyParts::new()
            .with(&self.family)
            .with(handle.as_bytes().as_slice());
        Key::new(Kind::SESSION, self.digester.digest(&parts))
    }
}

impl Reading {
    fn new(entry: Entry, asked: Monotonic) -> Result<Self, SessionError> {
        let content = Content::decode(entry.value).map_err(|_| SessionErrorKind::Unreadable)?;
        let then = match (&content, entry.expires_in) {
            (Content::Session(record), Some(left)) => read_at(entry.version, record.head.ttl, left),
            _ => entry.version.written_at(),
        };
        Ok(Self {
            content,
            version: entry.version,
            clock: ServerClock::new(then, asked),
        })
    }
}

impl Stored {
    /// Whether the token that found it is its token.
    fn known_by(self, token: &Token) -> Found {
        let head = &self.record.head;
        let digest = token.secret.digest();
        let is_current = digest == head.digest;
        let is_previous = digest == head.previous;
        let now = self.clock.now();
        if now >= head.deadline(self.version) {
            return Found::Nothing;
        }
        if is_current {
            return Found::Session(self, Via::Current);
        }
        if is_previous && now < head.previous_until {
            return Found::Session(self, Via::Previous);
        }
        if now < head.rotated.max(head.previous_until) + LATE {
            return Found::Gone;
        }
        if is_previous && head.is_new_secret_used {
            return Found::Reused;
        }
        Found::Nothing
    }

    /// Who is logged in.
    pub(super) fn user(&self) -> Option<&str> {
        let user = self.record.user.as_deref()?;
        str::from_utf8(user).ok()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// How long a request may be under way with a token that has ended, and still be told so instead of
/// being given a new session; as long lives a tombstone.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// How often a write is sent whose answer does not come.
pub(super) const MAX_TRIES: u32 = 3;
