//! Setting a value, and removing it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::want::Want;
use crate::{
    backend,
    cache::{
        NotStored,
        engine::{Asking as _, Page, Stake},
    },
    clock::monotonic_now,
};

impl<T> Want<T> {
    /// Stores this in the place of what is there, or nothing where it cannot be stored.
    pub(super) async fn set(self, body: Result<Bytes, NotStored>) -> backend::Result<()> {
        let core = &self.shared.core;
        let key = self.ask.url();
        core.listen(self.shared.settings.max_life);
        core.flights.detach(&key.page());
        let stored = match body {
            Ok(body) => self.write(body).await,
            Err(_) => Ok(false),
        };
        // What was read before goes nowhere any more.
        core.near.forget(&key.page());
        if let Ok(true) = stored {
            return Ok(());
        }
        // Of what stands there it is not known that it is newer.
        self.remove().await
    }

    /// Purges what is there, and what is being fetched.
    pub(super) async fn remove(self) -> backend::Result<()> {
        let core = &self.shared.core;
        let key = self.ask.url();
        let max_life = self.shared.settings.max_life;
        core.listen(max_life);
        core.purge_url_or_owe(key, max_life).await
    }

    /// Stores this, unless something newer is there; says whether it did.
    async fn write(&self, body: Bytes) -> backend::Result<bool> {
        let core = &self.shared.core;
        let key = self.ask.url();
        let page_key = key.page();
        let lease = key.lease();
        let (began, present) = tokio::join!(core.overtake(&lease), core.store.get(&page_key));
        let (began, present) = (began?, present?);
        let started = core.purges.started(monotonic_now(), began);
        // What was written since may be newer; the store says so when it is in the way.
        let page = match present {
            Some(entry) if entry.version < began => Page::Something(entry.version),
            _ => Page::Nothing,
        };
        let Ok(entry) = self.entry(started, Duration::ZERO) else {
            return Ok(false);
        };
        let stake = Stake {
            core: Arc::clone(core),
            runtime: Handle::current(),
            lease,
            lead: None,
            holding: None,
        };
        let deposit = self.deposit(stake, page, entry);
        Ok(deposit.store_now(&[body]).await)
    }
}
