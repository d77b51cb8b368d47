//! Purging tags.

use std::{sync::PoisonError, time::Duration};

use tokio::time::sleep;

use super::{POLL_INTERVAL, Purges, message::Message, recent::Done, stamp_life};
use crate::{
    backend::{BackendError, Entry, Precondition, Put, Result, Version},
    cache::{
        engine::all::all,
        record::Record,
        stamps::{Doubt, JOURNAL_CAPACITY, Journal, Purge, Severity, StampRecord, StampState, Tag},
        url::tag_key,
    },
    clock::{Timestamp, monotonic_now},
};

/// A stamp that is to be written.
#[derive(Clone, Copy)]
struct Wanted {
    tag: Tag,
    severity: Severity,
    /// One that is no earlier will do, if that is known.
    at: Option<Timestamp>,
}

impl Purges {
    /// Purges tags: three calls, however many they are at once, and one more for a tag that another
    /// instance purged last.
    ///
    /// When it has returned `Ok`, this process uses nothing any more that was fetched before, and no
    /// other does later than its settings allow. After an error it is not known whether they were
    /// purged; this process looks each time for a while.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the tags in doubt, as after an error.
    pub(in crate::cache) async fn purge_tags(
        &self,
        tags: &[Tag],
        severity: Severity,
        max_life: Duration,
    ) -> Result<()> {
        self.know_the_time(max_life).await;
        for tags in tags.chunks(JOURNAL_CAPACITY) {
            let doubts = self.doubt(tags);
            let wanted = tags.iter().map(|tag| Wanted {
                tag: *tag,
                severity,
                at: None,
            });
            self.write(wanted, max_life).await?;
            let mut mirror = self.mirror_mut();
            for (tag, doubt) in tags.iter().zip(doubts) {
                mirror.settle(tag, doubt, severity);
            }
        }
        Ok(())
    }

    /// Writes again what this process purged and a failover may have lost.
    pub(super) async fn purge_again(&self, purges: &[Purge], max_life: Duration) -> Result<()> {
        for purges in purges.chunks(JOURNAL_CAPACITY) {
            let wanted = purges.iter().map(|purge| Wanted {
                tag: purge.tag,
                severity: purge.severity,
                at: Some(purge.at),
            });
            self.write(wanted, max_life).await?;
        }
        Ok(())
    }

    /// The tag of all that is stored.
    pub(in crate::cache) fn everything(&self) -> Tag {
        self.everything
    }

    /// A purge is no earlier than any time that was ever seen; a process that did not look for a while
    /// looks first.
    async fn know_the_time(&self, max_life: Duration) {
        let is_current = self.mirror().is_current(monotonic_now(), POLL_INTERVAL);
        if !is_current {
            // Where that fails, the writes tell more.
            let _ = self.poll(max_life).await;
        }
    }

    /// Until it is known whether they were purged.
    fn doubt(&self, tags: &[Tag]) -> Vec<Doubt> {
        let until = monotonic_now() + DOUBT;
        let mut mirror = self.mirror_mut();
        tags.iter().map(|tag| mirror.doubt(*tag, until)).collect()
    }

    /// Writes stamps, side by side, then the journal.
    async fn write(&self, wanted: impl Iterator<Item = Wanted>, max_life: Duration) -> Result<()> {
        let stamped_for = max_life.max(self.known_max_life());
        let stamping = wanted.map(|wanted| self.stamp(wanted, stamp_life(stamped_for)));
        let mut purges = Vec::new();
        let mut failed = None;
        for stamped in all(stamping).await {
            match stamped {
                Ok(purge) => purges.push(purge),
                Err(error) => failed = Some(error),
            }
        }
        {
            let mut mirror = self.mirror_mut();
            for purge in &purges {
                mirror.enter(*purge);
            }
        }
        if !purges.is_empty() {
            self.record(&purges, max_life).await?;
            self.recent.add(purges.iter().copied().map(Done::Tag));
        }
        let max_life = self.known_max_life();
        if max_life > stamped_for {
            // Another instance stores for longer, which was not known.
            self.prolong(&purges, stamp_life(max_life)).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes the stamp of a tag, or finds one that will do.
    async fn stamp(&self, wanted: Wanted, ttl: Duration) -> Result<Purge> {
        let Wanted { tag, severity, .. } = wanted;
        let key = tag_key(tag);
        let mut at = wanted.at;
        let (mut precondition, mut found) = match self.last_stamp(&tag) {
            Some((version, state)) => (Precondition::Matches(version), Some(state)),
            None => (Precondition::Absent, None),
        };
        for _ in 0..MAX_STAMP_ROUNDS {
            let floor = self.mirror().time().floor(monotonic_now());
            let floor = floor.max(at.unwrap_or_default());
            // Where something stands already it is never put over unseen: the clock may have been set
            // back since, and the stamp must not go back with it.
            let record = StampRecord::new(severity, floor, found);
            let put = self
                .store
                .put_patiently(&key, record.encode(), ttl, precondition);
            let (current, now) = match put.await? {
                Put::Stored(version) => {
                    self.remember_stamp(tag, version, record.state(version));
                    let at = record.at(version);
                    return Ok(Purge { tag, severity, at });
                }
                Put::Conflict { current, now } => (current, now),
            };
            let at = *at.get_or_insert(now.max(floor));
            let Some(current) = current else {
                (precondition, found) = (Precondition::Absent, None);
                continue;
            };
            let state = match Record::decode(current.value) {
                Ok(Record::Stamp(stamp)) => {
                    let state = stamp.state(current.version);
                    self.remember_stamp(tag, current.version, state);
                    if let Some((severity, at)) = covering(state, severity, at) {
                        return Ok(Purge { tag, severity, at });
                    }
                    state
                }
                // What nobody can read counts as a hard one, so that none is hidden.
                _ => StampState::of(Severity::Hard, current.version.written_at()),
            };
            (precondition, found) = (Precondition::Matches(current.version), Some(state));
        }
        Err(BackendError::contended())
    }

    async fn prolong(&self, purges: &[Purge], ttl: Duration) -> Result<()> {
        let touching = purges.iter().filter_map(|purge| {
            let (version, _) = self.last_stamp(&purge.tag)?;
            Some(async move {
                // Another version's writer sees to it.
                self.store.touch(&tag_key(purge.tag), ttl, version).await
            })
        });
        for touched in all(touching).await {
            touched?;
        }
        Ok(())
    }

    fn last_stamp(&self, tag: &Tag) -> Option<(Version, StampState)> {
        let stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        stamps.peek(tag).copied()
    }

    fn remember_stamp(&self, tag: Tag, version: Version, state: StampState) {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        stamps.insert(tag, (version, state));
    }
}

impl Purges {
    /// Adds purges to the journal, one writer for all that wait, and tells everybody.
    async fn record(&self, purges: &[Purge], max_life: Duration) -> Result<()> {
        self.unwritten().extend_from_slice(purges);
        let _turn = self.writing.lock().await;
        let mut batch = std::mem::take(&mut *self.unwritten());
        // Another's turn may have taken these and failed.
        for purge in purges {
            if !batch.contains(purge) {
                batch.push(*purge);
            }
        }
        for round in 0..MAX_JOURNAL_ROUNDS {
            let (precondition, journal) = self.journal_to_add_to(max_life);
            if journal.has_all(&batch) {
                return Ok(());
            }
            let sent = monotonic_now();
            let next = Journal {
                max_life: journal.max_life.max(max_life),
                ..journal.with(&batch)
            };
            let ttl = stamp_life(next.max_life);
            let put = self
                .store
                .put_patiently(&self.journal, next.encode(), ttl, precondition);
            match put.await? {
                Put::Stored(version) => {
                    self.remember(version, &next);
                    let journal = next.clone();
                    self.mirror_mut()
                        .wrote(sent, monotonic_now(), version, journal);
                    self.tell(&Message::Journal {
                        version,
                        journal: next,
                    })
                    .await;
                    return Ok(());
                }
                Put::Conflict { current, .. } => self.forget_or_remember(current),
            }
            sleep(pause(round)).await;
        }
        Err(BackendError::contended())
    }

    /// Tells all instances. Whoever does not hear it reads it.
    pub(super) async fn tell(&self, message: &Message) {
        let _ = self.store.publish(&self.journal, message.encode()).await;
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

    fn forget_or_remember(&self, current: Option<Entry>) {
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

    fn unwritten(&self) -> std::sync::MutexGuard<'_, Vec<Purge>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stamp that does what one of this severity and time would do, if it is there.
fn covering(state: StampState, severity: Severity, at: Timestamp) -> Option<(Severity, Timestamp)> {
    if state.hard >= at {
        return Some((Severity::Hard, state.hard));
    }
    let is_enough = severity == Severity::Soft && state.soft >= at;
    is_enough.then_some((Severity::Soft, state.soft))
}

/// How long someone waits whom others were before so often: the longer, the more they are.
fn pause(round: u32) -> Duration {
    if round < PATIENT_ROUNDS {
        return Duration::ZERO;
    }
    let mut random = [0; 2];
    // Without a random number all wait as long, which is no worse than not at all.
    let _ = getrandom::fill(&mut random);
    let most = 1_000_u64 << (round - PATIENT_ROUNDS).min(6);
    Duration::from_micros(u64::from(u16::from_le_bytes(random)) % most)
}

/// How long a purge is in doubt of which it is not known whether it happened.
const DOUBT: Duration = Duration::from_secs(30);

/// The second one finds as a rule what others have written since, and that will do.
const MAX_STAMP_ROUNDS: u32 = 16;

/// As many writers go before, at most.
const MAX_JOURNAL_ROUNDS: u32 = 48;

/// Others in the way so often are no crowd.
const PATIENT_ROUNDS: u32 = 3;
