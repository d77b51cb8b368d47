//! Writing what a request changed, beside whatever others write.
//!
//! A write names the version that it replaces. When another was there first, it is made anew from
//! what stands there now, so changes of different attributes all survive; of the same attribute,
//! the later commit's. It is refused when the session has ended or has another generation: nothing
//! brings back what was destroyed, and who loaded a session before a login does not write after.

mod decide;

use std::time::Duration;

use bytes::Bytes;

use self::decide::{Attempt, Verdict};
pub(super) use self::decide::{
    Change, Identity, Mode, Refusal, SignIn, is_first_use, new_record, next_record, slid_record,
};
use super::{
    SessionError, SessionErrorKind,
    expiry::ServerClock,
    limits,
    record::Record,
    rule::Family,
    store::{MAX_TRIES, Reading, Store, Stored, Via},
    token::{Handle, SecretDigest, Token},
};
use crate::{
    backend::{BackendError, Precondition, Put},
    clock::monotonic_now,
};

/// Why a commit did not come about.
#[derive(Clone, Debug)]
pub(super) enum NotCommitted {
    Refused(Refusal),
    Failed(SessionError),
}

impl<E: Into<SessionError>> From<E> for NotCommitted {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Where and how a commit is made.
pub(super) struct Commit<'a> {
    pub(super) store: &'a Store,
    pub(super) family: &'a Family,
    pub(super) base: &'a Stored,
    pub(super) via: Via,
    pub(super) mode: Mode,
}

impl Commit<'_> {
    /// Writes what `change` makes of the session as it stands; asked again whenever that is not
    /// what it was.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the write has happened, or not, or will; never twice.
    pub(super) async fn run(
        &self,
        mut change: impl FnMut(&Stored) -> Result<Change, SessionError>,
    ) -> Result<Stored, NotCommitted> {
        let began = monotonic_now();
        let mut current = self.base.clone();
        for attempt in 0..MAX_ATTEMPTS {
            // Only every other attempt: what is known is old after a wait, and so most of these are
            // refused while others write. What the refusal tells is new, and is written over at once.
            if attempt >= PATIENT_ATTEMPTS && attempt % 2 == 0 {
                if monotonic_now().saturating_duration_since(began) > LONGEST {
                    break;
                }
                jitter(attempt).await?;
            }
            // One for each: by the last one alone it is known that none before was applied.
            let nonce = getrandom::u64()?;
            let write = self.write_over(&current, &change(&current)?, nonce)?;
            let (found, was_unanswered) = match write.send().await? {
                Written::Stored(stored) => return Ok(stored),
                Written::Conflict {
                    found,
                    was_unanswered,
                } => (found, was_unanswered),
            };
            let replaced = current.record.head.trail.newest();
            let attempt = Attempt {
                base: self.base,
                nonce,
                mode: self.mode,
                unanswered_over: was_unanswered.then_some(replaced),
            };
            let verdict = attempt.judge(found.as_ref());
            if let Verdict::Refused(refusal) = verdict {
                return Err(NotCommitted::Refused(refusal));
            }
            let Some(found) = found else {
                return Err(NotCommitted::Refused(Refusal::Gone));
            };
            if verdict == Verdict::Done {
                return Ok(found);
            }
            current = found;
        }
        Err(SessionErrorKind::Contended.into())
    }

    /// The session as it stands, changed, to be written over it.
    fn write_over(
        &self,
        current: &Stored,
        change: &Change,
        nonce: u64,
    ) -> Result<Write<'_>, NotCommitted> {
        let base = (&self.base.record.head, self.via);
        let now = current.clock.now();
        let Some(record) = next_record(current, base, change, nonce, self.family, now) else {
            return Err(NotCommitted::Refused(Refusal::Gone));
        };
        limits::check_record(&record)?;
        Ok(Write {
            store: self.store,
            handle: self.base.handle,
            record,
            precondition: Precondition::Matches(current.version),
        })
    }
}

/// Stores a session that nobody has heard of, for this long.
///
/// When an answer does not come, it begins anew with another token: what then arrives late is a
/// session that nobody can have ended before, and nobody can use.
pub(super) async fn create(
    store: &Store,
    ttl: Duration,
    record: impl Fn(SecretDigest) -> Result<Record, SessionError>,
) -> Result<(Token, Stored), SessionError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let token = Token::random()?;
        let mut record = record(token.secret.digest())?;
        record.head.trail.push(getrandom::u64()?);
        record.head.ttl = ttl;
        limits::check_record(&record)?;
        let put = store.put(&token.handle, record.encode(), ttl, Precondition::Absent);
        match put.await {
            Ok((Put::Stored(version), asked)) => {
                let stored = Stored::written(token.handle, record, version, asked);
                return Ok((token, stored));
            }
            // 128 bits by chance: not to be seen in a lifetime.
            Ok((Put::Conflict { .. }, _)) if tries < MAX_TRIES => {}
            Ok((Put::Conflict { .. }, _)) => return Err(SessionErrorKind::Contended.into()),
            Err(error) if error.may_have_applied() && tries < MAX_TRIES => {}
            Err(error) => return Err(unanswered(error, tries)),
        }
    }
}

/// A record on its way to the store.
struct Write<'a> {
    store: &'a Store,
    handle: Handle,
    record: Record,
    precondition: Precondition,
}

/// What became of it.
enum Written {
    Stored(Stored),
    Conflict {
        /// What stands there; nothing if it was ended, or is there no more.
        found: Option<Stored>,
        /// Whether it was sent more than once, because an answer did not come.
        was_unanswered: bool,
    },
}

impl Write<'_> {
    /// Sends it, and again as it is while it is not known whether it arrived.
    async fn send(self) -> Result<Written, SessionError> {
        let value = self.record.encode();
        let ttl = self.record.head.ttl;
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = self
                .store
                .put(&self.handle, Bytes::clone(&value), ttl, self.precondition);
            match sent.await {
                Ok((Put::Stored(version), asked)) => {
                    let stored = Stored::written(self.handle, self.record, version, asked);
                    return Ok(Written::Stored(stored));
                }
                Ok((Put::Conflict { current, now }, asked)) => {
                    let clock = ServerClock::new(now, asked);
                    let found = current
                        .map(|entry| Reading::told(entry, clock))
                        .transpose()?;
                    return Ok(Written::Conflict {
                        found: found.and_then(|found| found.into_session(self.handle)),
                        was_unanswered: tries > 1,
                    });
                }
                Err(error) if error.may_have_applied() && tries < MAX_TRIES => {}
                Err(error) => return Err(unanswered(error, tries)),
            }
        }
    }
}

/// A write that failed for good; an earlier try of it may have been applied.
fn unanswered(error: BackendError, tries: u32) -> SessionError {
    if tries > 1 || error.may_have_applied() {
        SessionError::indeterminate(error)
    } else {
        error.into()
    }
}

/// Waits a little, by chance, so that those who write the same session come apart.
async fn jitter(attempt: u32) -> Result<(), SessionError> {
    let most = 1_u64 << attempt.min(5);
    let micros = getrandom::u64()? % (most * 1_000);
    tokio::time::sleep(Duration::from_micros(micros)).await;
    Ok(())
}

/// More conflicts than these in a row, or for longer, are given up; half the attempts follow a wait.
const MAX_ATTEMPTS: u32 = 256;
const LONGEST: Duration = Duration::from_secs(2);

/// The first attempts follow at once.
const PATIENT_ATTEMPTS: u32 = 2;
