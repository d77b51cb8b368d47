//! What is stored for a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Core,
    near::Begun,
    packing,
    purges::Standing,
    settings::{Consistency, Settings},
};
use crate::{
    backend::{Result, Version},
    cache::{
        record::{Entry, Flag, Head, Record},
        semantics::coding,
        url::{UrlKey, VariantKey},
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    key::{Digest, Key},
};

/// What a request is, to the store.
pub(in crate::cache) trait Asking {
    fn url(&self) -> &UrlKey;

    /// Which of the responses that this head tells of is the request's.
    fn variant(&self, head: &Head) -> VariantKey;

    /// By which parts of requests the rule chooses.
    fn shape(&self) -> u64;

    /// Whether its client takes a body that is stored in gzip.
    fn accepts_gzip(&self) -> bool;
}

/// What is stored for a request, and where its response belongs.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Found {
    pub(in crate::cache) place: Place,
    /// What stands under the key of the URL.
    pub(in crate::cache) page: Page,
    pub(in crate::cache) held: Option<Held>,
}

/// Where the response to a request belongs, as far as it is known before the response is there.
#[derive(Clone, Debug)]
pub(in crate::cache) enum Place {
    /// Nothing is known to choose between several.
    Url(UrlKey),
    /// It is this one of several.
    Variant {
        head: Arc<Head>,
        variant: VariantKey,
    },
}

/// What stands under the key of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Page {
    /// Nobody looked: it was known shortly before.
    Unread,
    Nothing,
    Something(Version),
    /// It was purged then.
    Tombstone(Version),
}

/// A stored response.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Held {
    /// Shared, as it goes to many.
    pub(in crate::cache) entry: Arc<Entry>,
    pub(in crate::cache) body: Bytes,
    /// The body as it was before it was packed, where it is packed and its client wants it so.
    pub(in crate::cache) unpacked: Option<Bytes>,
    pub(in crate::cache) version: Version,
    pub(in crate::cache) standing: Standing,
}

impl Found {
    /// What purges mean for the stored response: of its tags, and softly of its URL, which its record
    /// says, or the head.
    pub(in crate::cache) fn standing(&self, held: &Held, skew: Duration) -> Standing {
        let standing = held.standing();
        if let Place::Variant { head, .. } = &self.place
            && head.softly_purged > Timestamp::default()
            && head.softly_purged + skew >= held.entry.checked
        {
            return standing.softened(head.softly_purged);
        }
        standing
    }
}

impl Place {
    /// Where the response is stored.
    pub(in crate::cache) fn page(&self) -> Key {
        match self {
            Self::Url(url) => url.page(),
            Self::Variant { variant, .. } => variant.page(),
        }
    }

    /// Where the lease is of who fetches it.
    pub(in crate::cache) fn lease(&self) -> Key {
        match self {
            Self::Url(url) => url.lease(),
            Self::Variant { variant, .. } => variant.lease(),
        }
    }

    pub(in crate::cache) fn check(&self) -> Digest {
        match self {
            Self::Url(url) => url.check(),
            Self::Variant { variant, .. } => variant.check(),
        }
    }
}

impl Core {
    /// Looks for the response to a request: one call as a rule; one more where it is one of several
    /// and that was not known, and one for a tag that was last purged before this process began.
    pub(in crate::cache) async fn look(
        &self,
        asking: &impl Asking,
        settings: &Settings,
    ) -> Result<Found> {
        let asked = monotonic_now();
        let hint = self.hint(asking.url(), settings);
        if let Some(found) = self.look_near(asking, hint.as_ref(), asked, settings).await {
            return Ok(found);
        }
        let begun = self.begin_near(asking.url(), asked, settings);
        let mut found = if self.store.is_remote() && !self.purges.is_current(asked, settings) {
            let (current, found) = tokio::join!(
                self.purges.keep_current(asked, settings),
                self.read(asking, hint, asked),
            );
            current?;
            found?
        } else {
            // What is asked in this process is not waited for.
            self.purges.keep_current(asked, settings).await?;
            self.read(asking, hint, asked).await?
        };
        found.held = match found.held {
            Some(held) => held.opened(asking).await,
            None => None,
        };
        if let Some(held) = &mut found.held {
            held.standing = self.purges.standing(&held.entry, asking.url()).await?;
            if let Some(begun) = begun {
                let (page, place) = (asking.url().page(), found.place.page());
                self.near.keep(&page, &place, begun, held);
            }
        }
        Ok(found)
    }

    /// What may be kept in the process of what a call brings that is sent now; `None` if nothing.
    pub(in crate::cache) fn begin_near(
        &self,
        url: &UrlKey,
        sent: Monotonic,
        settings: &Settings,
    ) -> Option<Begun> {
        let is_used = self.near.is_used() && settings.consistency != Consistency::Strict;
        is_used.then(|| {
            let gaps = self.purges.gaps();
            self.near.begin(&url.page(), sent, gaps)
        })
    }

    /// The copy of a response in this process, if it can be used as it is. Whatever else must be done
    /// is done with what is stored, which may be newer.
    async fn look_near(
        &self,
        asking: &impl Asking,
        hint: Option<&Arc<Head>>,
        asked: Monotonic,
        settings: &Settings,
    ) -> Option<Found> {
        let Consistency::Bounded(max_age) = settings.consistency else {
            return None;
        };
        if !self.near.is_used() {
            return None;
        }
        let place = match hint {
            Some(head) => Place::Variant {
                head: Arc::clone(head),
                variant: asking.variant(head),
            },
            None => Place::Url(*asking.url()),
        };
        let key = place.page();
        let gaps = self.purges.gaps();
        let held = self.near.find(&key, asked, max_age, gaps)?;
        if !self.purges.ask_aside(asked, settings, &self.tasks) {
            self.purges.keep_current(asked, settings).await.ok()?;
        }
        let is_current = self.purges.gaps() == gaps && held.belongs(&place, asking);
        let standing = self.purges.known_standing(&held.entry, asking.url());
        if !is_current || standing == Some(Standing::Purged) {
            self.near.discard(&key);
            return None;
        }
        let is_fresh = standing == Some(Standing::Valid)
            && !held.entry.flags.has(Flag::SoftlyPurged)
            && held.age(self.purges.now()) < held.entry.lifetime;
        let page = match &place {
            Place::Url(_) => Page::Something(held.version),
            Place::Variant { .. } => Page::Unread,
        };
        if !is_fresh {
            return None;
        }
        Some(Found {
            place,
            page,
            held: Some(held.opened(asking).await?),
        })
    }

    /// Whether a response may be stored in this place, where none is yet.
    pub(in crate::cache) fn admits(&self, place: &Place, asking: &impl Asking) -> bool {
        match place {
            Place::Url(_) => true,
            Place::Variant { variant, .. } => {
                let page = asking.url().page();
                self.variants.admits(&page, variant.check())
            }
        }
    }

    fn hint(&self, url: &UrlKey, settings: &Settings) -> Option<Arc<Head>> {
        match settings.consistency {
            Consistency::Bounded(max_age) => self.hints.find(&url.page(), max_age),
            Consistency::Strict => None,
        }
    }

    async fn read(
        &self,
        asking: &impl Asking,
        hint: Option<Arc<Head>>,
        asked: Monotonic,
    ) -> Result<Found> {
        if let Some(head) = hint {
            let found = self.read_variant(asking, head, Page::Unread).await?;
            if found.held.is_some() {
                return Ok(found);
            }
            // Nothing there: perhaps there is another head by now.
        }
        let url = *asking.url();
        let page = url.page();
        let generation = self.purges.generation();
        let stored = self.store.get(&page).await?;
        let Some(stored) = stored else {
            self.hints.forget(&page);
            return Ok(Found {
                place: Place::Url(url),
                page: Page::Nothing,
                held: None,
            });
        };
        let version = stored.version;
        match Record::decode(self.near.own(stored.value)) {
            Ok(Record::Head(head)) if head.check == url.check() => {
                let head = Arc::new(head);
                self.hints.keep(&page, Arc::clone(&head), asked);
                if self.purges.generation() != generation {
                    // It may have been read before a purge.
                    self.hints.forget(&page);
                }
                self.read_variant(asking, head, Page::Something(version))
                    .await
            }
            Ok(Record::Tombstone) => Ok(Found {
                place: Place::Url(url),
                page: Page::Tombstone(version),
                held: None,
            }),
            record => {
                let place = Place::Url(url);
                let held = record
                    .ok()
                    .and_then(|record| Held::of(record, version, &place, asking));
                Ok(Found {
                    place,
                    page: Page::Something(version),
                    held,
                })
            }
        }
    }

    async fn read_variant(
        &self,
        asking: &impl Asking,
        head: Arc<Head>,
        page: Page,
    ) -> Result<Found> {
        let variant = asking.variant(&head);
        let stored = self.store.get(&variant.page()).await?;
        let place = Place::Variant { head, variant };
        let found = stored.and_then(|stored| {
            let record = Record::decode(self.near.own(stored.value)).ok()?;
            Held::of(record, stored.version, &place, asking)
        });
        Ok(Found {
            place,
            page,
            held: found,
        })
    }
}

impl Held {
    /// What purges mean for it, by its stamps and its own record.
    pub(in crate::cache) fn standing(&self) -> Standing {
        if self.entry.flags.has(Flag::SoftlyPurged) {
            return self.standing.softened(self.version.written_at());
        }
        self.standing
    }

    /// The response in a record that was just written.
    pub(in crate::cache) fn read(record: Bytes, version: Version) -> Option<Self> {
        let Ok(Record::Entry { entry, body }) = Record::decode(record) else {
            return None;
        };
        Some(Self {
            entry: Arc::new(entry),
            body,
            unpacked: None,
            version,
            standing: Standing::Valid,
        })
    }

    /// How old it is at this time of the backend.
    pub(in crate::cache) fn age(&self, now: Timestamp) -> Duration {
        let resident = now - self.version.written_at();
        self.entry.age.saturating_add(resident)
    }

    /// The same with a body that this client takes; `None` if what was packed cannot be unpacked.
    pub(in crate::cache) async fn opened(mut self, asking: &impl Asking) -> Option<Self> {
        if self.is_packed() && !asking.accepts_gzip() {
            let length = coding::unpacked_length(&self.entry.headers)?;
            self.unpacked = Some(packing::unpacked(&self.body, length).await?);
        }
        Some(self)
    }

    /// Whether the body is stored in gzip.
    pub(in crate::cache) fn is_packed(&self) -> bool {
        self.entry.flags.has(Flag::Gzip)
    }

    /// The response in a record, if it is the one that belongs there.
    fn of(record: Record, version: Version, place: &Place, asking: &impl Asking) -> Option<Self> {
        let Record::Entry { entry, body } = record else {
            return None;
        };
        let held = Self {
            entry: Arc::new(entry),
            body,
            unpacked: None,
            version,
            standing: Standing::Valid,
        };
        held.belongs(place, asking).then_some(held)
    }

    /// Whether it is the one that belongs there, and not one of the same key by chance.
    pub(in crate::cache) fn belongs(&self, place: &Place, asking: &impl Asking) -> bool {
        self.entry.check == place.check() && self.entry.shape == asking.shape()
    }
}
