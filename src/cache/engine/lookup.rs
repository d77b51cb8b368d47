//! What is stored for a request.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Core,
    purges::Standing,
    settings::{Consistency, Settings},
};
use crate::{
    backend::{Result, Version},
    cache::{
        record::{Entry, Head, Record},
        url::{UrlKey, VariantKey},
    },
    clock::{Monotonic, monotonic_now},
    key::{Digest, Key},
};

/// What a request is, to the store.
pub(in crate::cache) trait Asking {
    fn url(&self) -> &UrlKey;

    /// Which of the responses that this head tells of is the request's.
    fn variant(&self, head: &Head) -> VariantKey;

    /// By which parts of requests the rule chooses.
    fn shape(&self) -> u64;
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
    pub(in crate::cache) version: Version,
    pub(in crate::cache) standing: Standing,
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
        let (current, found) = tokio::join!(
            self.purges.keep_current(asked, settings),
            self.read(asking, hint, asked),
        );
        current?;
        let mut found = found?;
        if let Some(held) = &mut found.held {
            held.standing = self.purges.standing(&held.entry, asking.url()).await?;
        }
        Ok(found)
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
        match Record::decode(stored.value) {
            Ok(Record::Head(head)) if head.check == url.check() => {
                let head = Arc::new(head);
                self.hints.keep(&page, Arc::clone(&head), asked);
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
        let held = stored.and_then(|stored| {
            let record = Record::decode(stored.value).ok()?;
            Held::of(record, stored.version, &place, asking)
        });
        Ok(Found { place, page, held })
    }
}

impl Held {
    /// The response in a record that was just written.
    pub(in crate::cache) fn read(record: Bytes, version: Version) -> Option<Self> {
        let Ok(Record::Entry { entry, body }) = Record::decode(record) else {
            return None;
        };
        Some(Self {
            entry: Arc::new(entry),
            body,
            version,
            standing: Standing::Valid,
        })
    }

    /// The response in a record, if it is the one that belongs there.
    fn of(record: Record, version: Version, place: &Place, asking: &impl Asking) -> Option<Self> {
        let Record::Entry { entry, body } = record else {
            return None;
        };
        let is_its = entry.check == place.check() && entry.shape == asking.shape();
        is_its.then(|| Self {
            entry: Arc::new(entry),
            body,
            version,
            standing: Standing::Valid,
        })
    }
}
