//! A handler behind the layer, as two instances.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::Request;
use http_body_util::BodyExt as _;
use tokio::time::sleep;
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};
use tower_stash::{
    backend::RedisBackend,
    cache::{CacheLayer, CacheOutcome, CacheRule, CacheTags, OutcomeKind, Purge, RequestBody},
};

use super::super::{connect, scripts_are_loaded};
use crate::servers::{Address, Result, standalone::Server};

/// A server of their own, and two instances with connections of their own.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) backend: RedisBackend,
    pub(super) one: Instance,
    pub(super) other: Instance,
    pub(super) calls: Arc<AtomicUsize>,
}

/// The handler behind a layer of its own.
#[derive(Clone)]
pub(super) struct Instance {
    service: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(super) purge: Purge,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: Option<OutcomeKind>,
    /// Which call of the handler it is of.
    pub(super) body: String,
}

impl Site {
    pub(super) async fn new() -> Result<Self> {
        let server = Server::start().await?;
        let (backend, second) = connections(server.url().into()).await?;
        scripts_are_loaded(&server).await?;
        let calls = Arc::<AtomicUsize>::default();
        Ok(Self {
            one: Instance::new(backend.clone(), &calls)?,
            other: Instance::new(second, &calls)?,
            server,
            backend,
            calls,
        })
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// The names of the commands that are sent meanwhile and shortly after.
    pub(super) async fn commands(
        &self,
        call: impl Future<Output = Result<()>>,
    ) -> Result<Vec<String>> {
        let sent = self.server.commands_during(async {
            call.await?;
            sleep(BACKGROUND).await;
            Ok(())
        });
        let names = sent.await?.into_iter().map(|sent| sent.name);
        // The connection's own.
        Ok(names
            .filter(|name| name != "client" && name != "ping")
            .collect())
    }
}

/// Two connections in one namespace.
async fn connections(address: Address) -> Result<(RedisBackend, RedisBackend)> {
    let backend = connect(address.clone()).await?;
    let second = connect(address).await?;
    let second = second.with_namespace(backend.namespace())?;
    Ok((backend, second))
}

impl Instance {
    /// Two of them, on servers that others use as well.
    pub(super) async fn two_at(address: Address) -> Result<[Self; 2]> {
        let (backend, second) = connections(address).await?;
        let calls = Arc::default();
        Ok([Self::new(backend, &calls)?, Self::new(second, &calls)?])
    }

    fn new(backend: RedisBackend, calls: &Arc<AtomicUsize>) -> Result<Self> {
        let layer = CacheLayer::new(backend, CacheRule::new("pages")?)?;
        let calls = Arc::clone(calls);
        let handler = tower::service_fn(move |request: Request<RequestBody<Body>>| {
            let calls = Arc::clone(&calls);
            let path = request.uri().path().to_owned();
            async move { Ok::<_, Infallible>(handle(&path, &calls).await) }
        });
        let service = layer.layer(handler);
        let service = service.map_response(|response: http::Response<_>| response.map(Body::new));
        Ok(Self {
            service: BoxCloneSyncService::new(service),
            purge: layer.purge(),
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.get_in(path, "en").await
    }

    pub(super) async fn get_in(&self, path: &str, language: &str) -> Result<Answer> {
        let request = Request::get(url(path))
            .header("accept-language", language)
            .body(Body::empty())?;
        let response = self.service.clone().oneshot(request).await?;
        let outcome = response.extensions().get::<CacheOutcome>();
        let kind = outcome.map(|outcome| outcome.kind);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            kind,
            body: String::from_utf8(body.to_vec())?,
        })
    }
}

impl Answer {
    pub(super) fn is_hit(&self) -> bool {
        self.kind == Some(OutcomeKind::Hit)
    }
}

pub(super) fn url(path: &str) -> String {
    format!("http://example.com{path}")
}

/// Answers with the number of the call; the path says how.
async fn handle(path: &str, calls: &AtomicUsize) -> Response {
    let call = calls.fetch_add(1, SeqCst) + 1;
    let control = match path {
        "/private" => "private",
        "/stale" => "max-age=1, stale-while-revalidate=60",
        _ => "max-age=60",
    };
    let response = Response::builder().header("cache-control", control);
    let response = match path {
        "/varies" => response.header("vary", "accept-language"),
        _ => response,
    };
    if path == "/slow" {
        sleep(Duration::from_millis(300)).await;
    }
    let body = match path {
        "/long" => "x".repeat(1_024),
        _ => format!("call {call}"),
    };
    response
        .extension(CacheTags::new([format!("page:{path}")]))
        .body(Body::from(body))
        .expect("a response")
}

/// Longer than what goes on in the background takes.
const BACKGROUND: Duration = Duration::from_millis(150);
