//! The web server: one route for each thing that is compared, on one Redis client.
#![expect(
    clippy::disallowed_types,
    reason = "what a handler would do without the layer it does with the Redis client"
)]

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use axum_response_cache::CacheLayer as PeerLayer;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{Resp3Frame, Value},
};
use http_body_util::BodyExt as _;
use moka::sync::Cache;
use tower::ServiceExt as _;
use tower_stash::{
    backend::{MemoryBackend, RedisBackend},
    cache::{CacheLayer, CacheRule, CacheTags},
    policy::Routes,
};

use crate::{redis, request, servers::Result};

/// What every handler answers that is loaded: 1 KB.
pub(crate) const BODY: &str = match str::from_utf8(&[b'r'; 1_024]) {
    Ok(body) => body,
    Err(_) => "",
};

/// What a request does before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing.
    Axum,
    /// One GET in the handler, of as many bytes as a stored response.
    Get,
    /// One GET that finds nothing, then one SET of as many bytes as a stored response.
    GetSet,
    /// One look-up in a map of the process.
    Moka,
    /// The handler of [`Axum`](Self::Axum) behind the layer, on a route that has no rule.
    Unruled,
    /// The response is in Redis.
    Hit,
    /// The same with three tags.
    TaggedHit,
    /// It is not, and is stored.
    Miss,
    /// It may not be stored.
    Private,
    /// The response is in Redis, and a copy of it in the process as a rule.
    NearHit,
    /// The same as [`Hit`](Self::Hit), in memory.
    MemoryHit,
    MemoryMiss,
    /// The same as [`MemoryHit`](Self::MemoryHit), behind the peer's layer.
    PeerHit,
    PeerMiss,
}

impl Route {
    pub(crate) const ALL: [Self; 14] = [
        Self::Axum,
        Self::Get,
        Self::GetSet,
        Self::Moka,
        Self::Unruled,
        Self::Hit,
        Self::TaggedHit,
        Self::Miss,
        Self::Private,
        Self::NearHit,
        Self::MemoryHit,
        Self::MemoryMiss,
        Self::PeerHit,
        Self::PeerMiss,
    ];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Axum => "/bare/axum",
            Self::Get => "/bare/get",
            Self::GetSet => "/bare/get-set",
            Self::Moka => "/bare/moka",
            Self::Unruled => "/redis/unruled",
            Self::Hit => "/redis/hit",
            Self::TaggedHit => "/redis/tagged",
            Self::Miss => "/redis/miss",
            Self::Private => "/redis/private",
            Self::NearHit => "/near/hit",
            Self::MemoryHit => "/memory/hit",
            Self::MemoryMiss => "/memory/miss",
            Self::PeerHit => "/peer/hit",
            Self::PeerMiss => "/peer/miss",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Axum => "axum alone",
            Self::Get => "fred GET",
            Self::GetSet => "fred GET, SET",
            Self::Moka => "moka get",
            Self::Unruled => "CacheLayer, no rule",
            Self::Hit => "CacheLayer, hit",
            Self::TaggedHit => "CacheLayer, hit with three tags",
            Self::Miss => "CacheLayer, miss",
            Self::Private => "CacheLayer, not to be stored",
            Self::NearHit => "CacheLayer, hit near by",
            Self::MemoryHit => "CacheLayer in memory, hit",
            Self::MemoryMiss => "CacheLayer in memory, miss",
            Self::PeerHit => "axum-response-cache, hit",
            Self::PeerMiss => "axum-response-cache, miss",
        }
    }

    /// Whether each request is for a URL that nobody asked for before.
    pub(crate) const fn is_new(self) -> bool {
        matches!(
            self,
            Self::GetSet | Self::Miss | Self::MemoryMiss | Self::PeerMiss
        )
    }
}

/// One client, which all routes use.
#[derive(Clone)]
pub(crate) struct App {
    client: Client,
    backend: RedisBackend,
    map: Cache<String, Answer>,
    /// As many bytes as a stored response has.
    stored: Bytes,
    router: Router,
}

/// What is kept of a response in a map of the process.
#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl App {
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let client = redis::client(url)?;
        client.init().await?;
        let backend =
            RedisBackend::from_client(client.clone())?.with_command_timeout(redis::TIMEOUT);
        let memory = MemoryBackend::new().with_max_bytes(MEMORY);
        let near = CacheLayer::new(backend.clone(), routes("near")?)?.with_near_cache(MEMORY);
        let router = behind("redis", CacheLayer::new(backend.clone(), routes("redis")?)?)
            .merge(behind("near", near))
            .merge(behind(
                "memory",
                CacheLayer::new(memory, routes("memory")?)?,
            ))
            .merge(behind_peer());
        Ok(Self {
            client,
            backend,
            map: Cache::builder()
                .weigher(|path: &String, answer: &Answer| {
                    u32::try_from(path.len() + answer.body.len()).unwrap_or(u32::MAX)
                })
                .max_capacity(MEMORY as u64)
                .time_to_live(HOUR)
                .build(),
            stored: Bytes::new(),
            router,
        })
    }

    /// Adds the bare handlers, which store so many bytes.
    pub(crate) fn with_bare(mut self, stored: usize) -> Self {
        self.stored = [vec![b'x'; stored - BODY.len()], BODY.into()]
            .concat()
            .into();
        let bare = Router::new()
            .route("/bare/axum/{id}", get(answer))
            .route("/bare/get/{id}", get(from_redis))
            .route("/bare/get-set/{id}", get(into_redis))
            .route("/bare/moka/{id}", get(from_map))
            .with_state(self.clone());
        self.router = self.router().merge(bare);
        self
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn close(self) {
        self.backend.close().await;
        let _ = self.client.quit().await;
    }

    /// Sends a request without a connection, whose answer must be 200, and reads that.
    pub(crate) async fn ask(&self, path: &str) -> Result<()> {
        let mut request = Request::get(path);
        for (name, value) in request::HEADERS {
            request = request.header(name, value);
        }
        let response = self.router().oneshot(request.body(Body::empty())?).await?;
        let status = response.status();
        response.into_body().collect().await?;
        if status != StatusCode::OK {
            return Err(format!("{path} was answered with {status}").into());
        }
        Ok(())
    }

    /// Stores what the bare handlers are asked for at this path.
    pub(crate) async fn store_bare(&self, path: &str) -> Result<()> {
        let body = Bytes::from_static(BODY.as_bytes());
        let answer = Answer {
            headers: headers(),
            body,
        };
        self.map.insert(path.into(), answer);
        let stored = self.set(&format!("bare:{path}")).await;
        stored.map_err(|status| status.to_string().into())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StatusCode> {
        match redis::send(&self.client, "GET", key, vec![key.into()]).await? {
            Resp3Frame::BlobString { data, .. } => Ok(Some(data)),
            Resp3Frame::Null => Ok(None),
            _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    async fn set(&self, key: &str) -> Result<(), StatusCode> {
        let value = Value::Bytes(self.stored.clone());
        let args = vec![key.into(), value, "PX".into(), HOUR_MILLIS.into()];
        redis::send(&self.client, "SET", key, args).await.map(drop)
    }
}

/// Rules for what is under this prefix.
fn routes(prefix: &str) -> Result<Routes<CacheRule>> {
    let rule = CacheRule::new("bench")?;
    let ruled = ["hit", "miss", "tagged", "private", "plain", "labelled"];
    Ok(ruled.iter().fold(Routes::new(), |routes, name| {
        routes.get(&path(prefix, name), rule.clone())
    }))
}

/// Handlers behind this layer, under this prefix.
fn behind(prefix: &str, layer: CacheLayer) -> Router {
    let path = |name| path(prefix, name);
    Router::new()
        .route(&path("unruled"), get(answer))
        .route(&path("hit"), get(answer))
        .route(&path("miss"), get(answer))
        .route(&path("tagged"), get(tagged))
        .route(&path("private"), get(private))
        .route(&path("plain"), get(plain))
        .route(&path("labelled"), get(labelled))
        .layer(layer)
}

fn path(prefix: &str, name: &str) -> String {
    format!("/{prefix}/{name}/{{id}}")
}

fn behind_peer() -> Router {
    Router::new()
        .route("/peer/hit/{id}", get(answer))
        .route("/peer/miss/{id}", get(answer))
        .layer(PeerLayer::with_lifespan(HOUR))
}

async fn answer() -> impl IntoResponse {
    (headers(), BODY)
}

async fn tagged() -> impl IntoResponse {
    (tags(), headers(), BODY)
}

async fn private() -> impl IntoResponse {
    let mut headers = headers();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    (headers, BODY)
}

/// So many bytes.
async fn plain(Path(len): Path<usize>) -> impl IntoResponse {
    (headers(), "r".repeat(len))
}

async fn labelled(Path(len): Path<usize>) -> impl IntoResponse {
    (tags(), headers(), "r".repeat(len))
}

async fn from_redis(State(app): State<App>, uri: Uri) -> Result<Response, StatusCode> {
    let found = app.get(&format!("bare:{}", uri.path())).await?;
    let mut found = found.ok_or(StatusCode::NOT_FOUND)?;
    let body = found.split_off(found.len() - BODY.len());
    Ok((headers(), body).into_response())
}

async fn into_redis(State(app): State<App>, uri: Uri) -> Result<Response, StatusCode> {
    let key = format!("bare:{}", uri.path());
    if app.get(&key).await?.is_some() {
        return Err(StatusCode::CONFLICT);
    }
    app.set(&key).await?;
    Ok((headers(), BODY).into_response())
}

async fn from_map(State(app): State<App>, uri: Uri) -> Result<Response, StatusCode> {
    let Answer { headers, body } = app.map.get(uri.path()).ok_or(StatusCode::NOT_FOUND)?;
    Ok((headers, body).into_response())
}

/// Those of all that is loaded.
fn headers() -> HeaderMap {
    let entries = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=3600"),
        (ETAG, r#""5d8c72a5edda8d6a""#),
    ];
    HeaderMap::from_iter(entries.map(|(name, value)| (name, HeaderValue::from_static(value))))
}

fn tags() -> CacheTags {
    CacheTags::new(["product:7", "products", "shop:1"])
}

/// How many bytes are stored in memory.
const MEMORY: usize = 256 << 20;

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MILLIS: i64 = 3_600_000;
