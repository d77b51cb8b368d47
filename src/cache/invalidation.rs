//! What unsafe requests make invalid (RFC 9111 §4.4, RFC 9875 §3).

use std::{future::Future, sync::Arc, time::Duration};

use http::{Method, Response, Uri, request::Parts, uri};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

use super::{
    CacheRule,
    answer::{Note, forwarded},
    body::ResponseBody,
    engine::{Elsewhere, Owing},
    outcome::{CacheOutcome, OutcomeKind},
    semantics::{NotStored, groups, invalidate, status::Forward},
    shared::Shared,
    stamps::Tag,
    url::{Origin, TagName, Target, UrlKey, origin, tag_digest},
};

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
        let target = Target::of_change(request, rule.shape()).ok();
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
        let mut purged: Vec<_> = self.own.into_iter().map(Owing::Url).collect();
        for url in &urls {
            let url = self.shared.url_key(url).map(Owing::Url);
            purged.extend(url.filter(|url| !purged.contains(url)));
        }
        purged.extend(self.tags(&groups).map(Owing::Tag));
        self.purge(purged).await;
        let outcome = CacheOutcome::unstored(OutcomeKind::Invalidated, NotStored::Method);
        let note = Note {
            rule: self.rule,
            name: self.shared.settings.name.clone(),
            status: forwarded(Forward::Method, outcome),
            outcome,
            is_counted: true,
        };
        note.write_on(&mut response);
        Ok(response)
    }

    /// Groups are those of the target's origin.
    fn tags(&self, groups: &[String]) -> impl Iterator<Item = Tag> {
        let digester = &self.shared.core.digester;
        let origin = self.target.as_ref().and_then(|target| origin(target).ok());
        groups.iter().filter_map(move |name| {
            let (scheme, host) = origin.as_ref()?;
            let origin = Origin {
                scheme: *scheme,
                host,
            };
            let name = name.as_bytes();
            Some(tag_digest(&TagName::Group { origin, name }, digester))
        })
    }

    /// Purges, in a task: a client that goes away does not take back what its request has changed. The
    /// response waits for it, though not for ever: meanwhile this instance takes it for purged anyway.
    async fn purge(&self, purged: Vec<Owing>) {
        let core = Arc::clone(&self.shared.core);
        let max_life = self.shared.settings.max_life;
        core.listen(max_life);
        let (done, is_done) = oneshot::channel();
        let elsewhere = Elsewhere::new(&core.tasks, &Handle::current());
        elsewhere.spawn(async move {
            core.purge_surely(purged, max_life).await;
            // Nobody may wait any more.
            let _ = done.send(());
        });
        let _ = timeout(PATIENCE, is_done).await;
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

/// How long a response waits until other instances know as well what it has changed.
const PATIENCE: Duration = Duration::from_secs(1);
