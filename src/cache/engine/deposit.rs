//! Storing what was fetched.

use std::{pin::pin, slice, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use tokio::{runtime::Handle, time::timeout};

use super::{
    Core,
    budget::Budget,
    capture::Elsewhere,
    flights::{Landing, Lead},
    lease::Holding,
    lookup::{Asking, Held, Page, Place},
    marks::Mark,
    packing,
    purges::Standing,
    settings::Settings,
};
use crate::{
    backend::{self, Precondition, Put, Version},
    cache::{
        protocol::{
            Occupant, OnStoreConflict, Present, Storing, is_too_late, on_store_conflict,
            record_life,
        },
        record::{Entry, Flag, Head, Lease, Record},
        semantics::{NotStored, vary::VaryNames},
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    key::Key,
    observe::WarnSite,
};

/// What is held for the sake of a fetch: here, so that others of the process wait, and there, so that
/// other instances do.
pub(in crate::cache) struct Stake {
    pub(in crate::cache) core: Arc<Core>,
    pub(in crate::cache) runtime: Handle,
    /// By which name the others wait.
    pub(in crate::cache) lease: Key,
    pub(in crate::cache) lead: Option<Lead>,
    pub(in crate::cache) holding: Option<Holding>,
}

/// A response that is to be stored when its body is there, and who waits for that.
pub(in crate::cache) struct Deposit {
    pub(in crate::cache) stake: Stake,
    pub(in crate::cache) settings: Settings,
    pub(in crate::cache) asking: Arc<dyn Asking + Send + Sync>,
    pub(in crate::cache) place: Place,
    pub(in crate::cache) page: Page,
    /// Whether it is what stood there, refreshed by a 304.
    pub(in crate::cache) merged: bool,
    /// What stood in its place before.
    pub(in crate::cache) replaced: Option<Version>,
    /// The response; its age is that when it was received.
    pub(in crate::cache) entry: Entry,
    pub(in crate::cache) received: Monotonic,
    /// By which headers of requests one of several responses is chosen.
    pub(in crate::cache) vary: Vec<HeaderName>,
    /// And by which parts of the rule's key.
    pub(in crate::cache) parts: Vec<Box<str>>,
    /// Whether its body is stored in fewer bytes.
    pub(in crate::cache) is_compressible: bool,
}

/// A response that was stored just now.
#[derive(Debug)]
pub(in crate::cache) struct Deposited {
    pub(in crate::cache) place: Place,
    pub(in crate::cache) held: Held,
}

/// Why nothing was stored.
#[derive(Debug)]
enum Refused {
    /// What it was made of was purged since, or something newer is there.
    Overtaken,
    Unwritable,
    TooSlow,
    Backend(backend::BackendError),
}

impl Stake {
    /// The response is not for the others, who need not wait for it.
    pub(in crate::cache) fn release(&mut self) {
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::NotShared);
        }
    }

    /// The response will be stored when its body is there.
    pub(in crate::cache) fn arrive(&self) {
        if let Some(lead) = &self.lead {
            lead.arrive();
        }
    }

    /// Nothing is stored, and others like it need not wait for one another for a while.
    pub(in crate::cache) fn abandon(mut self, reason: NotStored) {
        if is_of_its_request(reason) {
            // Dropped, the lease is free: another request may fetch what is stored.
            return;
        }
        self.core.marks.set(&self.lease, Mark::Pass);
        self.release();
        if let Some(holding) = self.holding.take() {
            let (code, lasts) = passing(reason);
            let pass = holding.pass(Lease::Pass(code).encode(), lasts);
            self.elsewhere().spawn(pass);
        }
    }

    pub(in crate::cache) fn elsewhere(&self) -> Elsewhere {
        Elsewhere::new(&self.core.tasks, &self.runtime)
    }
}

impl Deposit {
    pub(in crate::cache) fn budget(&self) -> &Arc<Budget> {
        &self.stake.core.budget
    }

    pub(in crate::cache) fn elsewhere(&self) -> Elsewhere {
        self.stake.elsewhere()
    }

    /// Stores the response with this body.
    pub(in crate::cache) async fn store(mut self, body: &[Bytes], trailers: Option<HeaderMap>) {
        let resident = monotonic_now().saturating_duration_since(self.received);
        self.entry.age = self.entry.age.saturating_add(resident);
        self.entry.trailers = trailers;
        let packed = self.pack(body).await;
        let body = packed.as_ref().map_or(body, slice::from_ref);
        let written = self.write_for_others(body).await;
        let deposited = match written {
            Ok(deposited) => deposited,
            // The lease is dropped, so that it is free, and whoever waits looks again.
            Err(Refused::Overtaken) => return,
            Err(Refused::Unwritable) => return self.stake.abandon(NotStored::TooLarge),
            Err(Refused::TooSlow) => return self.stake.abandon(NotStored::Backend),
            Err(Refused::Backend(error)) => {
                UNWRITTEN.warn(&error);
                return self.stake.abandon(NotStored::Backend);
            }
        };
        if let Place::Variant { variant, .. } = &deposited.place {
            let page = self.asking.url().page();
            let variants = &self.stake.core.variants;
            variants.keep(&page, variant.check(), self.life());
        }
        match self.stake.holding.take() {
            Some(holding) => holding.spend(self.entry.checked),
            None => self.stake.core.end_pass(&self.stake.lease).await,
        }
        if let Some(lead) = self.stake.lead.take() {
            lead.land(Landing::Stored(Arc::new(deposited)));
        }
    }

    /// Stores it with this body while its maker waits; says whether it is stored, and nothing newer.
    pub(in crate::cache) async fn store_now(mut self, body: &[Bytes]) -> bool {
        self.write(body).await.is_ok()
    }

    /// The response is not stored.
    pub(in crate::cache) fn abandon(self, reason: NotStored) {
        self.stake.abandon(reason);
    }

    /// The body in fewer bytes, if it is to be stored so; its headers go on to speak of the whole.
    async fn pack(&mut self, body: &[Bytes]) -> Option<Bytes> {
        if !self.is_compressible {
            return None;
        }
        let packed = packing::packed(body).await?;
        let length: usize = body.iter().map(Bytes::len).sum();
        let headers = &mut self.entry.headers;
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        self.entry.flags = self.entry.flags.with(Flag::Gzip);
        Some(packed)
    }

    /// Writes it while others wait for it; not longer than they would for any call.
    async fn write_for_others(&mut self, body: &[Bytes]) -> Result<Deposited, Refused> {
        let mut lead = self.stake.lead.take();
        let written = {
            let mut writing = pin!(timeout(LONGEST_WRITING, self.write(body)));
            if let Ok(written) = timeout(PATIENCE, writing.as_mut()).await {
                written
            } else {
                if let Some(lead) = lead.take() {
                    lead.land(Landing::NotShared);
                }
                writing.await
            }
        };
        self.stake.lead = lead;
        written.unwrap_or(Err(Refused::TooSlow))
    }

    async fn write(&mut self, body: &[Bytes]) -> Result<Deposited, Refused> {
        for _ in 0..MAX_ROUNDS {
            let core = &self.stake.core;
            let begun = core.begin_near(self.asking.url(), monotonic_now(), &self.settings);
            if is_too_late(self.entry.checked, self.stake.core.purges.now()) {
                return Err(Refused::Overtaken);
            }
            let url = self.asking.url();
            let standing = self.stake.core.purges.standing(&self.entry, url).await;
            let standing = standing.map_err(Refused::Backend)?;
            if standing == Standing::Purged {
                return Err(Refused::Overtaken);
            }
            let head = self.head()?;
            let written = match head {
                None => self.write_entry(body).await?,
                Some(head) => match &self.place {
                    Place::Variant { head: known, .. } if **known == head => {
                        self.write_entry(body).await?
                    }
                    _ => self.write_head(head, body).await?,
                },
            };
            if let Some(deposited) = written {
                if let Some(begun) = begun {
                    let (page, place) = (self.asking.url().page(), deposited.place.page());
                    let near = &self.stake.core.near;
                    near.keep(&page, &place, begun, &deposited.held);
                }
                return Ok(deposited);
            }
        }
        Err(Refused::Overtaken)
    }

    /// The head that the response needs; the one that is known, if it chooses by all that this does.
    /// Together they choose by no more than one response may.
    fn head(&self) -> Result<Option<Head>, Refused> {
        let known = match &self.place {
            Place::Url(_) if self.vary.is_empty() && self.parts.is_empty() => {
                return Ok(None);
            }
            Place::Url(_) => None,
            Place::Variant { head, .. } => Some(head),
        };
        let mut headers = self.vary.clone();
        let mut parts = self.parts.clone();
        if let Some(known) = known {
            headers.extend(known.headers.iter().cloned());
            parts.extend(known.parts.iter().cloned());
        }
        headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        headers.dedup();
        parts.sort();
        parts.dedup();
        if let Some(known) = known
            && known.headers == headers
            && known.parts == parts
        {
            return Ok(Some((**known).clone()));
        }
        if headers.len() > VaryNames::MAX_NAMES {
            return Err(Refused::Unwritable);
        }
        Ok(Some(Head {
            check: self.asking.url().check(),
            // One that has more names tells of the same time: what it replaces is in its digests.
            generation: known.map_or(self.entry.checked, |known| known.generation),
            softly_purged: known.map_or_else(Timestamp::default, |known| known.softly_purged),
            headers,
            parts,
        }))
    }

    /// Writes the response where it belongs; `None` if it belongs elsewhere by now.
    async fn write_entry(&mut self, body: &[Bytes]) -> Result<Option<Deposited>, Refused> {
        self.entry.check = self.place.check();
        let record = self.entry.encode(body).ok_or(Refused::Unwritable)?;
        let (storing, precondition) = match (self.merged, self.replaced) {
            (true, Some(version)) => (Storing::Merge, Precondition::Matches(version)),
            (true, None) => return Err(Refused::Overtaken),
            (false, Some(version)) => (Storing::Body, Precondition::Matches(version)),
            (false, None) => (Storing::Body, Precondition::Absent),
        };
        let page = self.place.page();
        let put =
            self.stake
                .core
                .store
                .put_patiently(&page, record.clone(), self.life(), precondition);
        let (current, now) = match put.await.map_err(Refused::Backend)? {
            Put::Stored(version) => return self.deposited(record, version),
            Put::Conflict { current, now } => (current, now),
        };
        self.on_conflict(storing, current.as_ref(), now)?;
        Ok(None)
    }

    /// Writes the response as one of several, then the head that tells of them; `None` if another
    /// head is there by now.
    async fn write_head(
        &mut self,
        head: Head,
        body: &[Bytes],
    ) -> Result<Option<Deposited>, Refused> {
        let variant = self.asking.variant(&head);
        self.entry.check = variant.check();
        let record = self.entry.encode(body).ok_or(Refused::Unwritable)?;
        let life = self.life();
        let store = &self.stake.core.store;
        let page = variant.page();
        let mut precondition = Precondition::Absent;
        let version = loop {
            let put = store.put_patiently(&page, record.clone(), life, precondition);
            let (current, now) = match put.await.map_err(Refused::Backend)? {
                Put::Stored(version) => break version,
                Put::Conflict { current, now } => (current, now),
            };
            // Someone else may have added the same names.
            let found = current.as_ref().map(occupant);
            let present = Present {
                now,
                skew: store.clock_skew(),
            };
            match on_store_conflict(Storing::Body, self.entry.checked, found, present) {
                OnStoreConflict::Again(next) if next != precondition => precondition = next,
                _ => return Err(Refused::Overtaken),
            }
        };
        let page = self.asking.url().page();
        let precondition = match self.page {
            Page::Something(version) | Page::Tombstone(version) => Precondition::Matches(version),
            Page::Unread | Page::Nothing => Precondition::Absent,
        };
        let life = record_life(self.settings.max_life);
        let put = store.put_patiently(&page, head.encode(), life, precondition);
        let (current, now) = match put.await.map_err(Refused::Backend)? {
            Put::Stored(head_version) => {
                self.page = Page::Something(head_version);
                let head = Arc::new(head);
                self.place = Place::Variant { head, variant };
                return self.deposited(record, version);
            }
            Put::Conflict { current, now } => (current, now),
        };
        self.on_conflict(Storing::Head, current.as_ref(), now)?;
        Ok(None)
    }

    /// Takes notice of what is in the way, or gives up where it is newer.
    fn on_conflict(
        &mut self,
        storing: Storing,
        current: Option<&backend::Entry>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let present = Present {
            now,
            skew: self.stake.core.store.clock_skew(),
        };
        let record = current.map(|entry| Record::decode(entry.value.clone()));
        let found = current.map(occupant);
        let next = on_store_conflict(storing, self.entry.checked, found, present);
        let is_page = storing == Storing::Head || matches!(self.place, Place::Url(_));
        let version = found.map(|(_, version)| version);
        if is_page {
            self.page = version.map_or(Page::Nothing, Page::Something);
        }
        match next {
            OnStoreConflict::Drop => return Err(Refused::Overtaken),
            OnStoreConflict::Again(_) if storing == Storing::Head => {}
            OnStoreConflict::Again(_) => self.replaced = version,
            OnStoreConflict::AsVariant | OnStoreConflict::Unite(_) => {
                let Some(Ok(Record::Head(head))) = record else {
                    return Err(Refused::Overtaken);
                };
                let variant = self.asking.variant(&head);
                let head = Arc::new(head);
                self.place = Place::Variant { head, variant };
                self.replaced = None;
            }
        }
        Ok(())
    }

    /// What was stored, as it will be read; nothing, if it could not be.
    fn deposited(&self, record: Bytes, version: Version) -> Result<Option<Deposited>, Refused> {
        let held = Held::read(record, version).ok_or(Refused::Unwritable)?;
        Ok(Some(Deposited {
            place: self.place.clone(),
            held,
        }))
    }

    /// How long the record is kept.
    fn life(&self) -> Duration {
        let entry = &self.entry;
        let stale = entry.while_revalidate.max(entry.if_error).max(entry.kept);
        let life = entry
            .lifetime
            .saturating_sub(entry.age)
            .saturating_add(stale);
        record_life(life.min(self.settings.max_life))
    }
}

/// Whether a response is not stored for what its request was: those of others may be.
fn is_of_its_request(reason: NotStored) -> bool {
    matches!(
        reason,
        NotStored::RequestNoStore | NotStored::Authorization | NotStored::CookieInRequest
    )
}

/// What stands in the place of what is to be stored.
fn occupant(current: &backend::Entry) -> (Occupant, Version) {
    let occupant = match Record::decode(current.value.clone()) {
        // A fetch that began before it must not make good what it says.
        Ok(Record::Entry { entry, .. }) if entry.flags.has(Flag::SoftlyPurged) => {
            Occupant::Tombstone
        }
        Ok(Record::Entry { entry, .. }) => Occupant::Entry {
            checked: entry.checked,
        },
        Ok(Record::Head(head)) => Occupant::Head {
            generation: head.generation,
        },
        Ok(Record::Tombstone) => Occupant::Tombstone,
        _ => Occupant::Unreadable,
    };
    (occupant, current.version)
}

/// What is told in the place of a lease, and for how long.
fn passing(reason: NotStored) -> (u8, Duration) {
    match reason {
        NotStored::TooLarge => (2, Duration::from_secs(60)),
        NotStored::BodyFailed
        | NotStored::HandlerFailed
        | NotStored::GrpcStatus
        | NotStored::Busy
        | NotStored::Backend => (3, Duration::from_secs(1)),
        _ => (1, Duration::from_secs(120)),
    }
}

/// How long those who wait are kept waiting by the backend.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a response is tried to be written.
const LONGEST_WRITING: Duration = Duration::from_secs(30);

static UNWRITTEN: WarnSite = WarnSite::new("cache: store");

const MAX_ROUNDS: u32 = 3;
