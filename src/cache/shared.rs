//! What the services of a layer share.

use std::{fmt, sync::Arc, time::Duration};

use http::{Request, Uri};

use super::{
    CacheRule,
    engine::{Core, Settings, Store},
    url::{Target, UrlKey},
};
use crate::{
    backend::{Broadcast, KeyValue},
    key::Digester,
    policy::Policy,
};

/// What all services of a layer share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) core: Arc<Core>,
    pub(super) policy: Arc<dyn Policy<CacheRule>>,
    pub(super) settings: Settings,
}

impl Shared {
    pub(super) fn new(
        backend: impl KeyValue + Broadcast + Clone,
        policy: impl Policy<CacheRule>,
    ) -> Self {
        Self {
            core: Arc::new(Core::new(
                Store::new(backend, PATIENCE),
                Digester::default(),
                0,
            )),
            policy: Arc::new(policy),
            settings: Settings::default(),
        }
    }
}

impl Shared {
    /// Begins anew with the same store, before anything was asked of it.
    pub(super) fn restart(&mut self, digester: Digester) {
        let store = self.core.store.clone();
        self.core = Arc::new(Core::new(store, digester, self.settings.near));
    }

    /// What stands for a URL, by the rule that a GET for it has; `None` if none of it is stored.
    pub(super) fn url_key(&self, url: &Uri) -> Option<UrlKey> {
        let (mut request, ()) = Request::new(()).into_parts();
        request.uri = url.clone();
        let rule = self.policy.rule(&request)?;
        let target = Target::from_absolute(url, rule.shape()).ok()?;
        Some(UrlKey::of(&target, &self.core.digester))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A request waits no longer for the backend: it is better off without a cache.
const PATIENCE: Duration = Duration::from_millis(100);
