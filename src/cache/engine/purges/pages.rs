//! Purging URLs.

use std::time::Duration;

use bytes::Bytes;

use super::{Purges, message::Message, recent::Done};
use crate::{
    backend::{self, BackendError, Precondition, Put, Result, Version},
    cache::{
        protocol::{TOMBSTONE_LIFE, record_life},
        record::{Entry, Flag, Head, Record},
        stamps::Severity,
        url::UrlKey,
    },
    clock::{Timestamp, monotonic_now},
};

/// What is to stand in the place of what was found.
enum Next {
    /// That will do.
    Found,
    Record(Bytes, Duration),
}

impl Next {
    const fn tombstone() -> Self {
        Self::Record(Record::tombstone(), TOMBSTONE_LIFE)
    }
}

impl Purges {
    /// Purges a URL: two calls. What was fetched of it before is not used any more.
    pub(in crate::cache::engine) async fn bury(&self, url: &UrlKey) -> Result<()> {
        let page = url.page();
        let record = Record::tombstone();
        let put = self
            .store
            .put_patiently(&page, record, TOMBSTONE_LIFE, Precondition::Any);
        let Put::Stored(version) = put.await? else {
            return Err(BackendError::contended());
        };
        self.urls.enter(page, version.written_at());
        self.done(url, Severity::Hard, version).await;
        Ok(())
    }

    /// Purges a URL softly: three calls. What was fetched of it before is stale. Where nothing stands,
    /// something may be on its way, so that a tombstone is put there; nothing is lost by that.
    pub(in crate::cache::engine) async fn soften(&self, url: &UrlKey) -> Result<()> {
        let version = self
            .rewrite(url, |found, current, now| {
                self.softened(url, found, current, now)
            })
            .await?;
        if let Some(version) = version {
            self.done(url, Severity::Soft, version).await;
        }
        Ok(())
    }

    /// Purges a URL as it was purged then, unless that can still be seen.
    pub(super) async fn purge_url_again(
        &self,
        url: &UrlKey,
        severity: Severity,
        at: Timestamp,
    ) -> Result<()> {
        let skew = self.store.clock_skew();
        let written = self.rewrite(url, |found, current, now| {
            let is_older = match (&found, severity) {
                (Some(Record::Entry { entry, .. }), Severity::Hard) => entry.born <= at + skew,
                (Some(Record::Entry { entry, .. }), Severity::Soft) => {
                    entry.checked <= at + skew && !entry.flags.has(Flag::SoftlyPurged)
                }
                (Some(Record::Head(head)), Severity::Hard) => head.generation <= at + skew,
                (Some(Record::Head(head)), Severity::Soft) => head.softly_purged < at,
                _ => false,
            };
            match severity {
                _ if !is_older => Next::Found,
                Severity::Hard => Next::tombstone(),
                Severity::Soft => self.softened(url, found, current, now),
            }
        });
        if let Some(version) = written.await? {
            self.tell(&Message::Url {
                severity,
                version,
                digest: url.digest(),
            })
            .await;
        }
        Ok(())
    }

    /// Puts a tombstone where nothing is, else what is said of that; says which write it was, if there
    /// was one.
    async fn rewrite(
        &self,
        url: &UrlKey,
        next: impl Fn(Option<Record>, &backend::Entry, Timestamp) -> Next,
    ) -> Result<Option<Version>> {
        let page = url.page();
        let mut precondition = Precondition::Absent;
        let (mut record, mut ttl) = (Record::tombstone(), TOMBSTONE_LIFE);
        for _ in 0..MAX_ROUNDS {
            let put = self
                .store
                .put_patiently(&page, record.clone(), ttl, precondition);
            match put.await? {
                Put::Stored(version) => return Ok(Some(version)),
                Put::Conflict { current: None, .. } => {
                    precondition = Precondition::Absent;
                    (record, ttl) = (Record::tombstone(), TOMBSTONE_LIFE);
                }
                Put::Conflict {
                    current: Some(current),
                    now,
                } => {
                    let found = Record::decode(current.value.clone()).ok();
                    match next(found, &current, now) {
                        Next::Found => return Ok(None),
                        Next::Record(bytes, life) => (record, ttl) = (bytes, life),
                    }
                    precondition = Precondition::Matches(current.version);
                }
            }
        }
        Err(BackendError::contended())
    }

    /// What was found, marked as stale from now on.
    fn softened(
        &self,
        url: &UrlKey,
        found: Option<Record>,
        current: &backend::Entry,
        now: Timestamp,
    ) -> Next {
        // Kept as long as a tombstone, since fetches that began before it must find it.
        let left = record_life(current.expires_in.unwrap_or_default());
        let now = now.max(self.mirror().time().floor(monotonic_now()));
        let record = match found {
            Some(Record::Entry { entry, body }) if entry.check == url.check() => {
                let resident = now - current.version.written_at();
                let entry = Entry {
                    flags: entry.flags.with(Flag::SoftlyPurged),
                    age: entry.age.saturating_add(resident),
                    ..entry
                };
                entry.encode(&[body])
            }
            Some(Record::Head(head)) if head.check == url.check() => {
                let softly_purged = head.softly_purged.max(now);
                let head = Head {
                    softly_purged,
                    ..head
                };
                Some(head.encode())
            }
            _ => None,
        };
        record.map_or(Next::tombstone(), |record| Next::Record(record, left))
    }

    async fn done(&self, url: &UrlKey, severity: Severity, version: Version) {
        let done = Done::Url {
            url: *url,
            severity,
            at: version.written_at(),
        };
        self.recent.add([done]);
        self.tell(&Message::Url {
            severity,
            version,
            digest: url.digest(),
        })
        .await;
    }
}

/// Of a URL that many fetch and store at once.
const MAX_ROUNDS: u32 = 16;
