//! Fetching a value, and storing it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::want::Want;
use crate::{
    cache::{
        NotStored, OutcomeKind,
        engine::{Asking as _, Deposit, Found, Held, Page, Place, Stake, Standing},
        future::Handover,
        record::{Entry, Flag, Flags, Tags},
        tags,
        url::{TagName, tag_digest},
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    observe::WarnSite,
};

/// A value that is to be fetched.
pub(super) struct Fill<T> {
    pub(super) want: Want<T>,
    pub(super) found: Found,
    pub(super) stake: Stake,
    /// What is fetched was not there before this; or why it is not to be stored.
    pub(super) started: Result<Timestamp, NotStored>,
    /// What is given in the place of an error.
    pub(super) stand_in: Option<T>,
}

/// Someone's fetch, which goes on without him if others wait for it.
struct Going<O: 'static> {
    /// Nothing when it has ended.
    fetch: Option<Pin<Box<dyn Future<Output = O> + Send>>>,
    handover: Arc<Handover>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Fill<T> {
    /// Fetches the value, and stores it in the background.
    pub(super) async fn run<F, E>(
        mut self,
        fetch: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Send + 'static,
    {
        if self.started.is_err() {
            // Nobody waits for what is not stored.
            self.stake.release();
        }
        let handover = Arc::<Handover>::default();
        if let Some(lead) = &self.stake.lead {
            handover.set(lead.audience(), self.stake.elsewhere());
        }
        let going = Going {
            fetch: Some(Box::pin(self.fetch(fetch))),
            handover,
        };
        going.await
    }

    async fn fetch<F, E>(self, fetch: impl FnOnce() -> F + Send) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: Send,
    {
        let asked = monotonic_now();
        match fetch().await {
            Ok(value) => {
                self.want.note(OutcomeKind::Miss);
                self.store(&value, asked);
                Ok(value)
            }
            Err(error) => {
                let is_present = self.want.is_present(self.found.held.clone()).await;
                self.stake.abandon(NotStored::HandlerFailed);
                let Some(stand_in) = self.stand_in.filter(|_| is_present) else {
                    self.want.note(OutcomeKind::Miss);
                    return Err(error);
                };
                self.want.note(OutcomeKind::StaleIfError);
                Ok(stand_in)
            }
        }
    }

    fn store(self, value: &T, asked: Monotonic) {
        let Ok(started) = self.started else { return };
        let body = match self.want.encode(value) {
            Ok(body) => body,
            Err(reason) => return self.stake.abandon(reason),
        };
        let received = monotonic_now();
        let took = received.saturating_duration_since(asked);
        let entry = match self.want.entry(started, took) {
            Ok(entry) => entry,
            Err(reason) => return self.stake.abandon(reason),
        };
        let deposit = self.want.deposit(self.stake, self.found.page, entry);
        let elsewhere = deposit.elsewhere();
        elsewhere.spawn(async move { deposit.store(&[body], None).await });
    }
}

impl<T> Want<T> {
    /// Whether what was found has not been purged while another was fetched.
    fn is_present(&self, held: Option<Held>) -> impl Future<Output = bool> + Send + use<T> {
        let shared = Arc::clone(&self.shared);
        let url = *self.ask.url();
        async move {
            let Some(held) = held else { return false };
            let purges = &shared.core.purges;
            let standing = purges.present_standing(&held.entry, &url, &shared.settings);
            standing
                .await
                .is_ok_and(|standing| standing != Standing::Purged)
        }
    }
}

impl<T: Serialize> Want<T> {
    /// The value as it is stored, or why it cannot be.
    pub(super) fn encode(&self, value: &T) -> Result<Bytes, NotStored> {
        let json = serde_json::to_vec(value).map_err(|_| {
            // Its own words may be of the value.
            UNWRITABLE.warn(&"a value cannot be written as JSON: it is not stored");
            NotStored::Malformed
        })?;
        if json.len() > self.rule.shape().body_limit {
            return Err(NotStored::TooLarge);
        }
        Ok(json.into())
    }
}

impl<T> Want<T> {
    /// What is stored beside a value that was fetched, or set, since then.
    pub(super) fn entry(
        &self,
        started: Timestamp,
        fill_time: Duration,
    ) -> Result<Entry, NotStored> {
        let keep = &self.keep;
        if keep.fresh.is_zero() {
            return Err(NotStored::NoFreshness);
        }
        let named = tags::of_value(&keep.tags).map_err(|_| NotStored::Tags)?;
        let digester = &self.shared.core.digester;
        let digests = named.iter().filter_map(|tag| match tag {
            tags::Tag::Plain(name) => Some(tag_digest(&TagName::Plain(name), digester)),
            tags::Tag::Group(_) => None,
        });
        Ok(Entry {
            status: StatusCode::OK,
            flags: Flags::none().with(Flag::Coalescable),
            born: started,
            checked: started,
            age: Duration::ZERO,
            lifetime: keep.fresh,
            while_revalidate: keep.while_revalidate,
            if_error: keep.if_error,
            kept: Duration::ZERO,
            fill_time,
            check: self.ask.url().check(),
            shape: self.ask.shape(),
            tags: digests.collect::<Tags>(),
            headers: HeaderMap::new(),
            trailers: None,
        })
    }

    /// A value that is to be stored where this stands now.
    pub(super) fn deposit(&self, stake: Stake, page: Page, entry: Entry) -> Deposit {
        let replaced = match page {
            Page::Something(version) | Page::Tombstone(version) => Some(version),
            Page::Nothing | Page::Unread => None,
        };
        Deposit {
            stake,
            settings: self.shared.settings.clone(),
            asking: Arc::clone(&self.ask) as _,
            place: Place::Url(*self.ask.url()),
            page,
            merged: false,
            replaced,
            entry,
            received: monotonic_now(),
            vary: Vec::new(),
            parts: Vec::new(),
            is_compressible: false,
        }
    }
}

impl<O: 'static> Future for Going<O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        // Taken out, so that one that panics does not go on.
        let Some(mut fetch) = self.fetch.take() else {
            return Poll::Pending;
        };
        let polled = fetch.as_mut().poll(cx);
        if polled.is_pending() {
            self.fetch = Some(fetch);
        }
        polled
    }
}

impl<O: 'static> Drop for Going<O> {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            self.handover.go_on(fetch);
        }
    }
}

static UNWRITABLE: WarnSite = WarnSite::new("cache: values");
