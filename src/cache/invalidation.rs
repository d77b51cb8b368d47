//! What unsafe requests make invalid (RFC 9111 §4.4, RFC 9875 §3).

use std::{future::Future, sync::Arc, time::Duration};

use http::{Method, Request, Response, Uri, request::Parts, uri};
use tokio::{runtime::Handle, time::sleep};

use super::{
    CacheRule,
    answer::{Note, forwarded},
    body::ResponseBody,
    engine::Elsewhere,
    outcome::{CacheOutcome, OutcomeKind},
    semantics::{NotStored, groups, invalidate, status::Forward},
    shared::Shared,
    stamps::{Severity, Tag},
    url::{Origin, Scheme, TagName, Target, UrlKey, tag_digest},
};
use crate::observe::WarnSite;

/// A request that may change what is stored.
pub(super) struct Invalidation {
    rule: CacheRule,
    method: Method,
    /// What a GET for its URL is for; `None` where that cannot be said.
    own: Option<UrlKey>,
    target: Option<Uri>,
    shared: Arc<Shared>,
}

impl Invalidation {
    pub(super) fn new(rule: CacheRule, request: &Parts, shared: &Arc<Shared>) -> Self {
        let target = Target::of(request, rule.shape()).ok();
        let own = target
            .as_ref()
            .map(|target| UrlKey::of(target, &shared.core.digester));
        let target = target.as_ref().and_then(absolute);
        Self {
            own,
            target,
            rule,
            method: request.method.clone(),
            shared: Arc::clone(shared),
        }
    }

    /// The handler's response, after what it made invalid is purged.
    pub(super) async fn after<B, E>(
        self,
        response: impl Future<Output = Result<Response<B>, E>>,
    ) -> Result<Response<ResponseBody<B>>, E> {
        let mut response = response.await?.map(ResponseBody::passed);
        let status = response.status();
        if !invalidate::is_invalidating(&self.method, status) {
            return Ok(response);
        }
        let (urls, groups) = match &self.target {
            Some(target) => {
                let headers = response.headers();
                let urls = invalidate::urls(&self.method, target, status, headers);
                (urls, groups::invalidated(&self.method, status, headers))
            }
            None => (Vec::new(), Vec::new()),
        };
        let mut keys: Vec<_> = self.own.into_iter().collect();
        for url in &urls {
            if let Some(key) = self.key_of(url)
                && !keys.contains(&key)
            {
                keys.push(key);
            }
        }
        let tags = self.tags(&groups);
        self.purge(keys, tags).await;
        let outcome = CacheOutcome::unstored(OutcomeKind::Invalidated, NotStored::Method);
        let note = Note {
            rule: self.rule,
            name: self.shared.settings.name.clone(),
            status: forwarded(Forward::Method, &outcome),
            outcome,
        };
        note.write_on(&mut response);
        Ok(response)
    }

    /// What stands for a URL, by the rule that a GET for it has.
    fn key_of(&self, url: &Uri) -> Option<UrlKey> {
        self.shared.url_key(url)
    }

    fn tags(&self, groups: &[String]) -> Vec<Tag> {
        let Some(target) = &self.target else {
            return Vec::new();
        };
        let Ok(target) = Target::from_absolute(target, self.rule.shape()) else {
            return Vec::new();
        };
        let digester = &self.shared.core.digester;
        let digests = groups.iter().map(|name| {
            let origin = target.origin();
            let name = name.as_bytes();
            tag_digest(&TagName::Group { origin, name }, digester)
        });
        digests.collect()
    }

    /// Purges, or holds it so here and goes on trying where the backend does not answer.
    async fn purge(&self, keys: Vec<UrlKey>, tags: Vec<Tag>) {
        let core = Arc::clone(&self.shared.core);
        let max_life = self.shared.settings.max_life;
        let mut left = Vec::new();
        for key in keys {
            if let Err(error) = core.purge_url(&key).await {
                LOST.warn(&error);
                core.purges.hold(&key);
                left.push(key);
            }
        }
        let mut lost_tags = Vec::new();
        if !tags.is_empty() {
            let purged = core.purges.purge_tags(&tags, Severity::Hard, max_life);
            if let Err(error) = purged.await {
                LOST.warn(&error);
                lost_tags = tags;
            }
        }
        if left.is_empty() && lost_tags.is_empty() {
            return;
        }
        let elsewhere = Elsewhere::new(&core.tasks, &Handle::current());
        elsewhere.spawn(async move {
            for _ in 0..MAX_RETRIES {
                sleep(RETRY).await;
                let mut still = Vec::new();
                for key in std::mem::take(&mut left) {
                    if core.purge_url(&key).await.is_err() {
                        still.push(key);
                    }
                }
                left = still;
                if !lost_tags.is_empty() {
                    let purged = core.purges.purge_tags(&lost_tags, Severity::Hard, max_life);
                    if purged.await.is_ok() {
                        lost_tags.clear();
                    }
                }
                if left.is_empty() && lost_tags.is_empty() {
                    return;
                }
            }
        });
    }
}

fn absolute(target: &Target<'_>) -> Option<Uri> {
    let path = match &target.query {
        Some(query) => format!("{}?{query}", target.path),
        None => target.path.to_owned(),
    };
    let uri = uri::Builder::new()
        .scheme(target.scheme.as_str())
        .authority(&*target.host)
        .path_and_query(path);
    uri.build().ok()
}

static LOST: WarnSite = WarnSite::new("cache: invalidation");

const RETRY: Duration = Duration::from_secs(1);

/// For half a minute.
const MAX_RETRIES: u32 = 30;
