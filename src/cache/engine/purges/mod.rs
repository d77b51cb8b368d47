//! What was purged, as this process knows it, and purging.

mod listen;
mod message;
mod pages;
mod purge;
mod recent;
mod urls;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use hashlink::LruCache;
use tokio::runtime::Handle;

pub(super) use self::listen::Ear;
use self::{recent::Recent, urls::Urls};
use super::{
    settings::{Consistency, Settings},
    store::Store,
    tasks::Tasks,
};
use crate::{
    backend::{BackendError, BackendErrorKind, Precondition, Put, Result, Subscription, Version},
    cache::{
        record::{Entry, Record},
        stamps::{Journal, Mirror, Purge, Severity, StampState, Tag, Verdict},
        url::{TagName, UrlKey, journal_key, tag_digest, tag_key},
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    key::{Digester, Key},
};

/// What purges mean for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Standing {
    Valid,
    /// It is stale since then.
    Soft(Timestamp),
    /// It is as if it were not there.
    Purged,
}

/// What was purged.
pub(in crate::cache) struct Purges {
    store: Store,
    journal: Key,
    everything: Tag,
    mirror: RwLock<Mirror>,
    /// The journal as it was last seen in the store.
    last: Mutex<Option<(Version, Journal)>>,
    /// Held by the one that asks for all.
    polling: Arc<tokio::sync::Mutex<()>>,
    /// Purges whose stamps are written, and which no journal tells of yet.
    unwritten: Mutex<Vec<Purge>>,
    /// Held by the one that writes the journal for all.
    writing: tokio::sync::Mutex<()>,
    /// Stamps as they were last seen in the store, to write over them without asking.
    stamps: Mutex<LruCache<Tag, (Version, StampState)>>,
    urls: Urls,
    recent: Recent,
}

impl Purges {
    pub(in crate::cache) fn new(store: &Store, digester: &Digester) -> Self {
        let everything = tag_digest(&TagName::All, digester);
        Self {
            store: store.clone(),
            journal: journal_key(digester),
            everything,
            mirror: RwLock::new(Mirror::new(store.clock_skew(), everything, MAX_TAGS)),
            last: Mutex::default(),
            polling: Arc::default(),
            unwritten: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            stamps: Mutex::new(LruCache::new(MAX_STAMPS)),
            urls: Urls::new(store.clock_skew()),
            recent: Recent::default(),
        }
    }

    /// The backend's time, as far as it is known; no earlier than it is.
    pub(in crate::cache) fn now(&self) -> Timestamp {
        let at = monotonic_now();
        let mirror = self.mirror();
        let time = mirror.time();
        time.at_most(at).unwrap_or_else(|| time.floor(at))
    }

    /// When a fetch began whose lease got this version at this instant.
    pub(in crate::cache) fn started(&self, at: Monotonic, lease: Version) -> Timestamp {
        let skew = self.store.clock_skew();
        self.mirror().time().started(at, lease, skew)
    }

    /// Whether this process knows of purges what the settings ask for, and it is not time yet to ask
    /// again.
    pub(in crate::cache) fn is_current(&self, asked: Monotonic, settings: &Settings) -> bool {
        let max_age = self.max_age(settings).min(POLL_INTERVAL);
        self.mirror().is_current(asked, max_age)
    }

    /// Makes sure that this process knows of every purge that ended so long before this instant as
    /// the settings allow.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the question to the next one.
    pub(in crate::cache) async fn keep_current(
        &self,
        asked: Monotonic,
        settings: &Settings,
    ) -> Result<()> {
        let max_age = self.max_age(settings);
        let is_current = |within| is_current(&self.mirror(), asked, within);
        if is_current(max_age.min(POLL_INTERVAL)) {
            return Ok(());
        }
        if is_current(max_age) {
            // It is due, and nobody need wait for it.
            if let Ok(_turn) = self.polling.try_lock() {
                // What it does not learn, the next one asks again.
                let _ = self.poll(settings.max_life).await;
            }
            return Ok(());
        }
        if !self.store.is_remote() {
            // It answers sooner than another's turn is over.
            return self.poll(settings.max_life).await;
        }
        let _turn = self.polling.lock().await;
        if is_current(max_age) {
            return Ok(());
        }
        self.poll(settings.max_life).await
    }

    /// Whether this process knows of purges what the settings ask for; if it is time to ask again, it
    /// does so without anybody's waiting.
    pub(in crate::cache) fn ask_aside(
        self: &Arc<Self>,
        asked: Monotonic,
        settings: &Settings,
        tasks: &Arc<Tasks>,
    ) -> bool {
        let max_age = self.max_age(settings);
        let mirror = self.mirror();
        if !is_current(&mirror, asked, max_age) {
            return false;
        }
        let is_due = !is_current(&mirror, asked, max_age.min(POLL_INTERVAL));
        drop(mirror);
        if is_due && let Ok(turn) = Arc::clone(&self.polling).try_lock_owned() {
            let purges = Arc::clone(self);
            let max_life = settings.max_life;
            tasks.spawn(&Handle::current(), async move {
                // What it does not learn, the next one asks again.
                let _ = purges.poll(max_life).await;
                drop(turn);
            });
        }
        true
    }

    /// How long ago what this process knows of purges may have been asked for.
    fn max_age(&self, settings: &Settings) -> Duration {
        match settings.consistency {
            Consistency::Bounded(max_age) if self.store.is_remote() => max_age,
            // What is asked in this process is asked at once.
            Consistency::Bounded(_) | Consistency::Strict => Duration::ZERO,
        }
    }

    /// Asks for the journal, and the backend's time.
    async fn poll(&self, max_life: Duration) -> Result<()> {
        let mut precondition = Precondition::Absent;
        let mut journal = Journal::empty(max_life);
        for _ in 0..MAX_ROUNDS {
            let sent = monotonic_now();
            let ttl = stamp_life(journal.max_life);
            let put = self
                .store
                .put(&self.journal, journal.encode(), ttl, precondition);
            let put = put.await?;
            let received = monotonic_now();
            let (current, now) = match put {
                Put::Stored(version) => {
                    self.remember(version, &journal);
                    let mut mirror = self.mirror_mut();
                    if precondition == Precondition::Absent {
                        let now = version.written_at();
                        mirror.polled(sent, received, now, version, journal);
                    } else {
                        // After a version the clock may be behind it.
                        mirror.wrote(sent, received, version, journal);
                    }
                    return Ok(());
                }
                Put::Conflict { current, now } => (current, now),
            };
            let Some(current) = current else {
                precondition = Precondition::Absent;
                journal = Journal::empty(max_life);
                continue;
            };
            let version = current.version;
            if let Some(known) = self.known_life(version)
                && known >= max_life
                && self.mirror_mut().polled_again(sent, received, now, version)
            {
                self.keep_journal(current.expires_in, version, known).await;
                return Ok(());
            }
            precondition = Precondition::Matches(version);
            let Ok(Record::Journal(found)) = Record::decode(current.value) else {
                // Of what it says nothing is known, as if it had been lost.
                journal = Journal::empty(max_life);
                continue;
            };
            self.remember(version, &found);
            let told = found.clone();
            {
                let mut mirror = self.mirror_mut();
                mirror.polled(sent, received, now, version, told);
                mirror.tidy(received);
            }
            if found.max_life.as_millis() >= max_life.as_millis() {
                self.keep_journal(current.expires_in, version, found.max_life)
                    .await;
                return Ok(());
            }
            // This instance stores for longer, so that stamps must be kept for longer.
            journal = Journal {
                max_life,
                ..found.written_as(version)
            };
        }
        Err(BackendError::new(
            BackendErrorKind::Corrupt,
            "read what was purged: the journal changes all the time",
        ))
    }

    /// For how long instances store by the journal of this version, if that was read before and no
    /// other can have its version: a store elsewhere may lose one and give its version again.
    fn known_life(&self, version: Version) -> Option<Duration> {
        if self.store.is_remote() {
            return None;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, journal) = last.as_ref()?;
        (*known == version).then_some(journal.max_life)
    }

    /// What purges mean for a stored response, now, as far as it is known without asking.
    pub(in crate::cache) fn known_standing(&self, entry: &Entry, url: &UrlKey) -> Option<Standing> {
        if self.urls.is_purged(url, entry.born) {
            return Some(Standing::Purged);
        }
        let tags = entry.tags.as_slice();
        let mirror = self.mirror();
        match mirror.verdict(monotonic_now(), entry.born, entry.checked, tags) {
            Verdict::Unknown(_) => None,
            known => Some(known.into()),
        }
    }

    /// Asks for the journal whoever did so just now.
    async fn poll_at_once(&self, max_life: Duration) -> Result<()> {
        let _turn = self.polling.lock().await;
        self.poll(max_life).await
    }

    /// A journal that ends because nothing was purged for so long is a gap for everybody.
    async fn keep_journal(&self, left: Option<Duration>, version: Version, max_life: Duration) {
        let life = stamp_life(max_life);
        if left.is_some_and(|left| left < life / 2) {
            // The next one tries it, too.
            let _ = self.store.touch(&self.journal, life, version).await;
        }
    }

    /// How long any instance may store, as far as is known.
    fn known_max_life(&self) -> Duration {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .map_or(Duration::ZERO, |(_, journal)| journal.max_life)
    }

    /// Another instance has written the journal so.
    fn heard(&self, version: Version, journal: Journal) {
        self.remember(version, &journal);
        self.mirror_mut().heard(monotonic_now(), version, journal);
    }

    /// An instance, perhaps this one, has purged a URL; says whether that is news.
    fn heard_url(&self, page: &Key, severity: Severity, at: Timestamp) -> bool {
        match severity {
            Severity::Hard => self.urls.enter(page.clone(), at),
            Severity::Soft => !self.recent.has_softened(page, at),
        }
    }

    /// What instances tell of purges, from when this has ended.
    fn subscription(&self) -> impl Future<Output = Result<Subscription>> + Send + use<> {
        let store = self.store.clone();
        let channel = self.journal.clone();
        async move { store.subscribe(&channel).await }
    }

    /// What purges mean for a response that was found some time ago: the others may have purged it
    /// since.
    pub(in crate::cache) async fn present_standing(
        &self,
        entry: &Entry,
        url: &UrlKey,
        settings: &Settings,
    ) -> Result<Standing> {
        self.keep_current(monotonic_now(), settings).await?;
        self.standing(entry, url).await
    }

    /// What purges mean for a stored response, now.
    pub(in crate::cache) async fn standing(&self, entry: &Entry, url: &UrlKey) -> Result<Standing> {
        if self.urls.is_purged(url, entry.born) {
            return Ok(Standing::Purged);
        }
        let tags = entry.tags.as_slice();
        let (ticket, missing) = {
            let mirror = self.mirror();
            match mirror.verdict(monotonic_now(), entry.born, entry.checked, tags) {
                Verdict::Unknown(missing) => (mirror.ticket(), missing),
                known => return Ok(known.into()),
            }
        };
        let mut read = Vec::with_capacity(missing.len());
        for tag in missing {
            read.push((tag, self.read_stamp(tag).await?));
        }
        let mut mirror = self.mirror_mut();
        for (tag, state) in &read {
            mirror.learn(ticket, *tag, *state);
        }
        let at = monotonic_now();
        Ok(mirror
            .verdict_with(&read, at, entry.born, entry.checked, tags)
            .into())
    }

    /// A stamp that cannot be read counts as one of this moment.
    async fn read_stamp(&self, tag: Tag) -> Result<StampState> {
        let Some(stored) = self.store.get(&tag_key(tag)).await? else {
            return Ok(StampState::default());
        };
        Ok(match Record::decode(stored.value) {
            Ok(Record::Stamp(stamp)) => stamp.state(stored.version),
            _ => StampState {
                hard: stored.version.written_at(),
                soft: Timestamp::default(),
            },
        })
    }

    /// Copies in the process that were made under an earlier generation are void.
    pub(in crate::cache) fn generation(&self) -> u64 {
        self.mirror().generation()
    }

    /// How often this process may have missed a purge, of a URL too.
    pub(in crate::cache) fn gaps(&self) -> u64 {
        self.mirror().gaps()
    }

    /// Makes copies in the process void, as a URL was purged.
    pub(super) fn begin_generation(&self) {
        self.mirror_mut().begin_generation();
    }

    /// Takes all responses of a URL for purged until it is [released](Self::release).
    pub(super) fn hold(&self, url: &UrlKey) {
        self.urls.hold(url.page());
    }

    /// The URL was purged, or nobody tries it any more.
    pub(super) fn release(&self, url: &UrlKey) {
        self.urls.release(&url.page());
    }

    /// Takes it that a URL was purged just now, of which the store will not know.
    pub(super) fn presume_url(&self, url: &UrlKey) {
        self.urls.enter(url.page(), self.soon());
    }

    /// The same of a tag.
    pub(super) fn presume(&self, tag: Tag) {
        let at = self.soon();
        let severity = Severity::Hard;
        self.mirror_mut().enter(Purge { tag, severity, at });
    }

    /// A time that no version has passed yet, which may be a little later than the clock.
    fn soon(&self) -> Timestamp {
        self.now() + Duration::from_millis(1)
    }

    fn remember(&self, version: Version, journal: &Journal) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_older = last.as_ref().is_some_and(|(known, _)| *known > version);
        if !is_older {
            *last = Some((version, journal.clone()));
        }
    }

    fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn mirror_mut(&self) -> RwLockWriteGuard<'_, Mirror> {
        self.mirror.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// The same after a soft purge at this time.
    pub(in crate::cache) fn softened(self, at: Timestamp) -> Self {
        match self {
            Self::Purged => Self::Purged,
            Self::Soft(since) => Self::Soft(since.max(at)),
            Self::Valid => Self::Soft(at),
        }
    }
}

impl From<Verdict> for Standing {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::Valid,
            Verdict::Soft { since } => Self::Soft(since),
            // Whoever cannot know does not use it.
            Verdict::Purged | Verdict::Unknown(_) => Self::Purged,
        }
    }
}

impl fmt::Debug for Purges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purges").finish_non_exhaustive()
    }
}

/// Whether a poll was sent so shortly before it was asked for; if it must be none at all, after that.
/// Of two in one instant nobody knows which was the first.
fn is_current(mirror: &Mirror, asked: Monotonic, within: Duration) -> bool {
    if within.is_zero() {
        return mirror.is_later_than(asked);
    }
    mirror.is_current(asked, within)
}

/// How long a stamp is kept: longer than whatever it may be asked of.
fn stamp_life(max_life: Duration) -> Duration {
    max_life.saturating_add(Duration::from_secs(2 * 3_600))
}

/// How often the journal is read while it is of use.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

const MAX_ROUNDS: u32 = 4;

/// Of how many tags a process remembers when they were purged.
const MAX_TAGS: usize = 65_536;

/// Of how many tags a process remembers their stamps' versions.
const MAX_STAMPS: usize = 10_000;
