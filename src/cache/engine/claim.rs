//! Who fetches, among all instances.

use std::time::Duration;

use tokio::runtime::Handle;

use super::{
    Core,
    lease::{Holding, LEASE},
    lookup::{Found, Page},
    marks::Mark,
    purges::Standing,
};
use crate::{
    backend::{self, Precondition, Put, Version},
    cache::{
        protocol::{self, OnLeaseConflict, Settled, Token, on_lease_conflict},
        record::{Lease, Record},
    },
    clock::{Timestamp, monotonic_now},
    key::Key,
};

/// Who is to fetch.
pub(in crate::cache) enum Claim {
    /// This one, and what it fetches was not there before this.
    Ours(Holding, Timestamp),
    /// Everybody for himself: what came last could not be stored. What is fetched was not there before
    /// this.
    Everybody(Timestamp),
    /// Someone else does.
    Another(Timestamp),
    /// Someone else does, and takes too long: what is fetched is not stored.
    Unstored,
}

impl Core {
    /// Takes the lease of what was found, or says who has it: one call, and one more if the lease of
    /// an earlier fetch is still there.
    pub(in crate::cache) async fn claim(
        &self,
        found: &Found,
        waited: Duration,
    ) -> backend::Result<Claim> {
        let key = found.place.lease();
        let token = token()?;
        let record = Lease::Filling(token.0).encode();
        let settled = settled(found);
        let mut precondition = self.spent_lease(found);
        for _ in 0..MAX_ROUNDS {
            let put = self.store.put(&key, record.clone(), LEASE, precondition);
            let put = match put.await {
                Ok(put) => put,
                Err(error) => {
                    if error.may_have_applied() {
                        self.withdraw(key, token);
                    }
                    return Err(error);
                }
            };
            let (current, now) = match put {
                Put::Stored(version) => return Ok(self.ours(&key, version)),
                Put::Conflict { current, now } => (current, now),
            };
            let found = current.map(|current| protocol::Found {
                version: current.version,
                lease: match Record::decode(current.value) {
                    Ok(Record::Lease(Lease::Filling(token))) => {
                        protocol::Lease::Filling(Token(token))
                    }
                    // What nobody can read is in nobody's way either.
                    _ => protocol::Lease::Pass,
                },
            });
            match on_lease_conflict(token, found, now, settled, waited) {
                OnLeaseConflict::Ours(version) => return Ok(self.ours(&key, version)),
                OnLeaseConflict::Claim => precondition = Precondition::Absent,
                OnLeaseConflict::Replace(version) => precondition = Precondition::Matches(version),
                OnLeaseConflict::CallAt(started) => {
                    self.marks.set(&key, Mark::Pass);
                    return Ok(Claim::Everybody(started));
                }
                OnLeaseConflict::Wait => return Ok(Claim::Another(now)),
                OnLeaseConflict::CallUnstored => {
                    self.marks.set(&key, Mark::Hurry);
                    return Ok(Claim::Unstored);
                }
            }
        }
        Ok(Claim::Unstored)
    }

    /// Takes a lease from whoever has it: what is fetched under it is overtaken by what began when this
    /// says.
    ///
    /// Nobody renews it: it is for who has what to store already.
    pub(in crate::cache) async fn overtake(&self, lease: &Key) -> backend::Result<Version> {
        let record = Lease::Filling(token()?.0).encode();
        for _ in 0..MAX_ROUNDS {
            let put = self
                .store
                .put_patiently(lease, record.clone(), LEASE, Precondition::Any);
            if let Put::Stored(version) = put.await? {
                return Ok(version);
            }
        }
        Err(backend::BackendError::new(
            backend::BackendErrorKind::Corrupt,
            "take a lease: a write on no condition met a conflict",
        ))
    }

    /// Takes back, in the background, a lease of which it is not known whether it was taken.
    fn withdraw(&self, key: Key, token: Token) {
        let store = self.store.clone();
        self.tasks.spawn(&Handle::current(), async move {
            // Left, it expires shortly.
            let Ok(Some(found)) = store.get(&key).await else {
                return;
            };
            if Record::decode(found.value) == Ok(Record::Lease(Lease::Filling(token.0))) {
                let _ = store.delete(&key, found.version).await;
            }
        });
    }

    /// A response was stored where none could be before: whoever wants the next one waits again.
    pub(in crate::cache) async fn end_pass(&self, lease: &Key) {
        self.marks.clear(lease);
        let Ok(Some(found)) = self.store.get(lease).await else {
            return;
        };
        if let Ok(Record::Lease(Lease::Pass(_))) = Record::decode(found.value) {
            // Undeleted, it expires.
            let _ = self.store.delete(lease, found.version).await;
        }
    }

    fn ours(&self, key: &Key, version: Version) -> Claim {
        let runtime = Handle::current();
        let holding = Holding::new(&self.store, &self.tasks, &runtime, key, version);
        Claim::Ours(holding, self.purges.started(monotonic_now(), version))
    }

    /// The lease by which what is stored was fetched may still be there.
    fn spent_lease(&self, found: &Found) -> Precondition {
        let spent = found.held.as_ref().filter(|held| {
            let age = self.purges.now() - held.version.written_at();
            age < LEASE
        });
        spent.map_or(Precondition::Absent, |held| {
            Precondition::Matches(Version::from_u64(held.entry.checked.as_micros()))
        })
    }
}

/// Until when fetches are over.
fn settled(found: &Found) -> Settled {
    let mut settled = Settled::default();
    if let Page::Tombstone(version) = found.page {
        settled = settled.by_purge(version.written_at());
    }
    if let Some(held) = &found.held {
        settled = settled.by_entry(held.entry.checked);
        if let Standing::Soft(since) = found.standing(held, Duration::ZERO) {
            settled = settled.by_purge(since);
        }
    }
    settled
}

fn token() -> backend::Result<Token> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| {
        backend::BackendError::new(
            backend::BackendErrorKind::Unavailable,
            "take a lease: the operating system gives no random numbers",
        )
        .with_source(error)
    })?;
    Ok(Token(token))
}

/// More surprises than these in a row: others are fetching.
const MAX_ROUNDS: u32 = 4;
