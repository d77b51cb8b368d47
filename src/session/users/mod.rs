//! Which sessions a user has: an index of handles for each, and an epoch that "log out everywhere"
//! raises.
//!
//! A login joins the index before it looks at the epoch, and logging out everywhere raises the epoch
//! before it reads the index: so either the login sees the new epoch and fails, or its handle is on
//! the list. It binds its session to the user by a conditional write of a record that was there
//! before, so that one whose handle was on the list fails as well, even when the tombstone is gone.

mod devices;
mod login;
mod ticket;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use self::devices::Device;
pub use self::{devices::DeviceSession, ticket::LoginTicket};
pub(super) use self::{
    login::{Login, LoginRefusal, NotLoggedIn},
    ticket::Ticket,
};
use super::{
    SessionError, SessionErrorKind,
    record::Ending,
    store::{Store, until_answered},
    token::Handle,
};
use crate::{
    backend::{ErasedIndex, GetOptions, PutOptions, Version},
    clock::Timestamp,
    key::{Key, KeyParts, Kind},
};

/// How many sessions a user may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaxSessions {
    /// A login that would be one more is refused. Of two at the same moment, both may be.
    Reject(usize),
    /// A login that is one more ends the oldest, and none that is newer than itself.
    EvictOldest(usize),
}

/// The index of users, and what it is for.
#[derive(Clone)]
pub(super) struct Users {
    pub(super) index: Arc<dyn ErasedIndex>,
    pub(super) max_sessions: Option<MaxSessions>,
}

/// The sessions of one user.
pub(super) struct Roster<'a> {
    store: &'a Store,
    index: &'a Arc<dyn ErasedIndex>,
    user: &'a str,
}

impl Users {
    pub(super) fn of<'a>(&'a self, store: &'a Store, user: &'a str) -> Roster<'a> {
        Roster {
            store,
            index: &self.index,
            user,
        }
    }
}

impl Roster<'_> {
    /// The user's epoch; `None` if they were not logged out everywhere of late.
    pub(super) async fn epoch(&self) -> Result<Option<Version>, SessionError> {
        let backend = Arc::clone(&self.store.backend);
        let entry = backend
            .get(self.key(Kind::USER_EPOCH), GetOptions::new())
            .await?;
        Ok(entry.map(|entry| entry.version))
    }

    /// Begins another epoch of the user: tickets of the one before are worth nothing.
    async fn raise_epoch(&self) -> Result<(), SessionError> {
        let raised = until_answered(|| {
            let backend = Arc::clone(&self.store.backend);
            let epoch = Bytes::from_static(EPOCH);
            let key = self.key(Kind::USER_EPOCH);
            backend.put(key, epoch, PutOptions::new(EPOCH_TTL))
        });
        Ok(raised.await.map(drop)?)
    }

    /// Puts a session on the list; to be done before it is the user's.
    pub(super) async fn join(&self, handle: &Handle, until: Timestamp) -> Result<(), SessionError> {
        let member = Bytes::copy_from_slice(handle.as_bytes());
        let joined = until_answered(|| {
            let index = Arc::clone(self.index);
            index.add(self.key(Kind::USER_INDEX), member.clone(), until + MARGIN)
        });
        Ok(joined.await?)
    }

    /// Takes a session from the list that is not the user's and never will be.
    pub(super) async fn leave(&self, handle: &Handle) -> Result<(), SessionError> {
        let index = Arc::clone(self.index);
        let member = Bytes::copy_from_slice(handle.as_bytes());
        index.remove(self.key(Kind::USER_INDEX), member).await?;
        Ok(())
    }

    /// All sessions on the list; some may have ended, or not be the user's yet.
    async fn handles(&self) -> Result<Vec<Handle>, SessionError> {
        let members = self.members().await?;
        Ok(members.into_iter().map(|(handle, _)| handle).collect())
    }

    /// The same, and how long they stay on it.
    async fn members(&self) -> Result<Vec<(Handle, Timestamp)>, SessionError> {
        let mut members = Vec::new();
        let mut after = None;
        loop {
            let index = Arc::clone(self.index);
            let page = index.members(self.key(Kind::USER_INDEX), after).await?;
            members.extend(page.members.iter().filter_map(|member| {
                let handle = Handle::from_bytes(&member.member)?;
                Some((handle, member.deadline))
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // A member whose deadline moved meanwhile may have been on two pages.
        members.sort_unstable_by(|one, other| other.cmp(one));
        members.dedup_by_key(|(handle, _)| *handle);
        Ok(members)
    }

    /// Ends all sessions of the user, and all logins that are under way; says how many sessions.
    ///
    /// One that cannot be reached keeps no other from being ended; done again, it goes on with those
    /// that are left.
    pub(super) async fn end_all(&self) -> Result<usize, SessionError> {
        self.end_all_where(|_| true).await
    }

    /// The same for all but this one.
    pub(super) async fn end_all_but(&self, kept: &Handle) -> Result<usize, SessionError> {
        self.end_all_where(|handle| handle != kept).await
    }

    async fn end_all_where(&self, goes: impl Fn(&Handle) -> bool) -> Result<usize, SessionError> {
        let mut ended = 0;
        // A store that is full takes no epoch, but lets sessions go.
        let mut failed = self.raise_epoch().await.err();
        for handle in self.handles().await?.iter().filter(|handle| goes(handle)) {
            match self.end_listed(handle, Ending::Revoked).await {
                Ok(was_theirs) => ended += usize::from(was_theirs),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// Ends a session of the list, also one that a login is about to make the user's; says whether
    /// it was the user's.
    async fn end_listed(&self, handle: &Handle, ending: Ending) -> Result<bool, SessionError> {
        let listed = self.listed(handle).await?;
        if !matches!(listed, Listed::AnothersNow | Listed::Ended) {
            self.store.end(handle, ending).await?;
        }
        self.leave(handle).await?;
        Ok(matches!(listed, Listed::TheirOwn(_)))
    }

    /// Ends a session if it is the user's, and says whether it was.
    pub(super) async fn end_own(
        &self,
        handle: &Handle,
        ending: Ending,
    ) -> Result<bool, SessionError> {
        if !matches!(self.listed(handle).await?, Listed::TheirOwn(_)) {
            return Ok(false);
        }
        self.store.end(handle, ending).await?;
        self.leave(handle).await?;
        Ok(true)
    }

    /// What stands under a handle of the list.
    async fn listed(&self, handle: &Handle) -> Result<Listed, SessionError> {
        let reading = match self.store.read(handle).await {
            Ok(Some(reading)) => reading,
            Ok(None) => return Ok(Listed::Ended),
            Err(error) if error.kind() == SessionErrorKind::Unreadable => {
                return Ok(Listed::Unknown);
            }
            Err(error) => return Err(error),
        };
        let Some(session) = reading.into_session(*handle) else {
            return Ok(Listed::Ended);
        };
        Ok(match &session.record.user {
            Some(user) if **user != *self.user.as_bytes() => Listed::AnothersNow,
            _ if session.is_over() => Listed::Over,
            Some(_) => Listed::TheirOwn(Device::new(&session)),
            None => Listed::Nobodys,
        })
    }

    fn key(&self, kind: Kind) -> Key {
        let parts = KeyParts::new().with(&self.store.family).with(self.user);
        Key::new(kind, self.store.digester.digest(&parts))
    }
}

/// What a session is that is on a user's list.
enum Listed {
    TheirOwn(Device),
    /// A login is under way with it, or failed.
    Nobodys,
    AnothersNow,
    /// Its time is over, as far as is known; the store has it still.
    Over,
    Ended,
    /// A newer version of this crate wrote it, or it is damaged.
    Unknown,
}

/// What is stored as an epoch; its version is all that counts.
const EPOCH: &[u8] = b"e\x01";

/// As long as an epoch is kept, well above the life of a ticket.
const EPOCH_TTL: Duration = Duration::from_secs(3_600);

/// How much longer than its session a handle stays on the list.
const MARGIN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{
            SessionRule, commit::new_record, csrf::CsrfSeed, store::LATE, token::SecretDigest,
        },
        *,
    };
    use crate::{
        backend::{MemoryBackend, Precondition, Put},
        clock::Clock as _,
        testing::ManualClock,
    };

    /// What a clock says that may be wrong is no reason to lose sight of a session.
    #[tokio::test]
    async fn a_session_that_seems_to_be_over_stays_on_the_list_until_it_is_ended() {
        let clock = ManualClock::new();
        let memory = MemoryBackend::new().with_clock(clock.clone());
        let store = Store::new(Arc::new(memory.clone()), &"web".into());
        let users = Users {
            index: Arc::new(memory),
            max_sessions: None,
        };
        let roster = users.of(&store, "ada");

        let rule = SessionRule::new("web").unwrap();
        let seed = CsrfSeed::random().unwrap();
        let mut record = new_record(SecretDigest::NONE, 1, seed, rule.family());
        record.user = Some("ada".into());
        record.head.ttl = LATE;
        record.head.born = Some(clock.now() - 2 * record.head.life);
        let handle = Handle::random().unwrap();
        let put = store.put(&handle, record.encode(), LATE, Precondition::Absent);
        let (stored, _) = put.await.unwrap();
        assert!(matches!(stored, Put::Stored(_)));
        roster.join(&handle, clock.now() + LATE).await.unwrap();

        assert_eq!(roster.devices(None).await.unwrap(), []);
        assert_eq!(roster.handles().await.unwrap(), [handle]);
        assert_eq!(roster.end_all().await.unwrap(), 0);
        let left = store.read(&handle).await.unwrap().unwrap();
        assert!(left.into_session(handle).is_none(), "it has a tombstone");
        assert_eq!(roster.handles().await.unwrap(), []);
    }
}
