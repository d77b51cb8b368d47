//! Purging.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{MAX_ROUNDS, Purges, stamp_life};
use crate::{
    backend::{BackendError, BackendErrorKind, Precondition, Put, Result, Version},
    cache::{
        record::Record,
        stamps::{Journal, Purge, Severity, StampRecord, Tag},
        url::{UrlKey, tag_key},
    },
    clock::monotonic_now,
};

impl Purges {
    /// Purges tags: three calls, however many they are at once.
    ///
    /// When it has returned `Ok`, this process uses nothing any more that was fetched before, and no
    /// other does later than its settings allow. After an error it is not known whether they were
    /// purged; this process looks each time for a while.
    pub(in crate::cache) async fn purge_tags(
        &self,
        tags: &[Tag],
        severity: Severity,
        max_life: Duration,
    ) -> Result<()> {
        let until = monotonic_now() + DOUBT;
        for tag in tags {
            // Until it is known; dropped on the way, it stays in doubt.
            self.mirror_mut().doubt(*tag, until);
        }
        let mut purges = Vec::with_capacity(tags.len());
        for tag in tags {
            purges.push(self.stamp(*tag, severity, max_life).await?);
        }
        for purge in &purges {
            self.mirror_mut().enter(*purge);
        }
        self.record(&purges, max_life).await?;
        self.keep_recent(&purges);
        Ok(())
    }

    /// The tag of all that is stored.
    pub(in crate::cache) fn everything(&self) -> Tag {
        self.everything
    }

    /// Writes the stamp of a tag.
    async fn stamp(&self, tag: Tag, severity: Severity, max_life: Duration) -> Result<Purge> {
        let key = tag_key(tag);
        let ttl = stamp_life(max_life);
        let mut found = None;
        let mut precondition = match severity {
            Severity::Hard => Precondition::Any,
            Severity::Soft => Precondition::Absent,
        };
        for _ in 0..MAX_ROUNDS {
            let floor = self.mirror().time().floor(monotonic_now());
            let record = StampRecord::new(severity, floor, found);
            let put = self
                .store
                .put_patiently(&key, record.encode(), ttl, precondition);
            let current = match put.await? {
                Put::Stored(version) => {
                    let at = record.at(version);
                    return Ok(Purge { tag, severity, at });
                }
                Put::Conflict { current, .. } => current,
            };
            let Some(current) = current else {
                found = None;
                precondition = Precondition::Absent;
                continue;
            };
            precondition = Precondition::Matches(current.version);
            found = match Record::decode(current.value) {
                Ok(Record::Stamp(stamp)) => Some(stamp.state(current.version)),
                // What nobody can read counts as a hard one, so that none is hidden.
                _ => Some(crate::cache::stamps::StampState::of(
                    Severity::Hard,
                    current.version.written_at(),
                )),
            };
        }
        Err(crowded())
    }

    /// Adds purges to the journal, one writer for all that wait, and tells everybody.
    async fn record(&self, purges: &[Purge], max_life: Duration) -> Result<()> {
        self.unwritten().extend_from_slice(purges);
        let _turn = self.writing.lock().await;
        let batch = std::mem::take(&mut *self.unwritten());
        let mut batch = batch;
        // Another's turn may have taken these and failed.
        for purge in purges {
            if !batch.contains(purge) {
                batch.push(*purge);
            }
        }
        for _ in 0..MAX_JOURNAL_ROUNDS {
            let (precondition, journal) = self.journal_to_add_to(max_life);
            if journal.has_all(&batch) {
                return Ok(());
            }
            let sent = monotonic_now();
            let next = journal.with(&batch);
            let record = next.encode();
            let ttl = stamp_life(max_life.max(next.max_life));
            let put = self
                .store
                .put_patiently(&self.journal, record.clone(), ttl, precondition);
            match put.await? {
                Put::Stored(version) => {
                    self.remember(version, &next);
                    self.mirror_mut()
                        .wrote(sent, monotonic_now(), version, next);
                    // Whoever does not hear it, reads it.
                    let _ = self.publish_journal(version, &record).await;
                    return Ok(());
                }
                Put::Conflict { current, .. } => self.forget_or_remember(current),
            }
        }
        Err(crowded())
    }

    fn journal_to_add_to(&self, max_life: Duration) -> (Precondition, Journal) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((version, journal)) => (
                Precondition::Matches(*version),
                journal.clone().written_as(*version),
            ),
            None => (Precondition::Absent, Journal::empty(max_life)),
        }
    }

    fn forget_or_remember(&self, current: Option<crate::backend::Entry>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = current.map(|entry| {
            let journal = match Record::decode(entry.value) {
                Ok(Record::Journal(journal)) => journal,
                // Begun anew, in its place.
                _ => Journal::empty(Duration::ZERO),
            };
            (entry.version, journal)
        });
    }

    async fn publish_journal(&self, version: Version, record: &Bytes) -> Result<()> {
        let mut message = BytesMut::with_capacity(MESSAGE_HEAD + record.len());
        message.put_u8(JOURNAL_MESSAGE);
        message.put_u64(version.as_u64());
        message.put_slice(record);
        self.store.publish(&self.journal, message.freeze()).await
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<Purge>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_recent(&self, purges: &[Purge]) {
        let now = monotonic_now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(at, _)| now.saturating_duration_since(*at) < REPEATED);
        recent.extend(purges.iter().map(|purge| (now, *purge)));
    }

    /// Purges a URL: two calls. What was fetched of it before is not used any more.
    pub(in crate::cache) async fn purge_url(&self, url: &UrlKey) -> Result<()> {
        let page = url.page();
        let put =
            self.store
                .put_patiently(&page, Record::tombstone(), TOMBSTONE, Precondition::Any);
        let Put::Stored(version) = put.await? else {
            return Err(crowded());
        };
        self.urls.enter(page.clone(), version.written_at());
        let mut message = BytesMut::with_capacity(MESSAGE_HEAD + 2 * 16);
        message.put_u8(URL_MESSAGE);
        message.put_u64(version.as_u64());
        message.put_slice(page.as_str().as_bytes());
        // Whoever does not hear it, reads it.
        let _ = self.store.publish(&self.journal, message.freeze()).await;
        Ok(())
    }
}

impl Purges {
    /// Holds it that a URL was purged now, which the store does not know yet.
    pub(in crate::cache) fn hold(&self, url: &UrlKey) {
        self.urls.enter(url.page(), self.now());
    }
}

fn crowded() -> BackendError {
    BackendError::new(
        BackendErrorKind::Unavailable,
        "purge: others write the same all the time",
    )
}

const JOURNAL_MESSAGE: u8 = b'j';
const URL_MESSAGE: u8 = b'u';
const MESSAGE_HEAD: usize = 9;

/// How long a purge is in doubt of which it is not known whether it happened.
const DOUBT: Duration = Duration::from_secs(30);

/// Purges of so long ago are repeated after a failover, which may have lost them.
const REPEATED: Duration = Duration::from_secs(60);

/// Longer than any fetch of what was there before.
const TOMBSTONE: Duration = Duration::from_secs(300);

const MAX_JOURNAL_ROUNDS: u32 = 16;
