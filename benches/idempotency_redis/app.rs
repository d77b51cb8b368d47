//! The web server: one route for each thing that is compared, on one Redis client.
#![expect(
    clippy::disallowed_types,
    reason = "what a handler would do without the layer it does with the Redis client"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{Resp3Frame, Value},
};
use tokio::time::sleep;
use tower::ServiceExt as _;
use tower_stash::{
    backend::RedisBackend,
    idempotency::{
        IdempotencyLayer, IdempotencyRule, InProgress, KeyPresence, Recovery, Unrecorded,
    },
    policy::{KeyExtractor as _, Routes, header},
};

use crate::{
    peer, redis,
    request::{self, Asked},
    servers::Result,
};

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
    /// One GET in the handler, of as many bytes as a stored answer.
    Get,
    /// One GET that finds nothing, then one SET of as many bytes as a stored answer.
    GetSet,
    /// The backend's script for `put`, which finds something and says what.
    Refused,
    /// The same, which finds nothing; then once more with as many bytes as a stored answer.
    Stored,
    /// The handler of [`Axum`](Self::Axum) behind the layer, on a route that has no rule.
    Unruled,
    /// The same on a route whose rule needs no key, and without one.
    Keyless,
    /// The answer is there.
    Replay,
    /// The handler runs.
    Run,
    /// The handler runs, and never twice.
    RunOnce,
    /// The same as [`Replay`](Self::Replay), behind the peer's layer.
    PeerReplay,
    PeerRun,
}

impl Route {
    pub(crate) const ALL: [Self; 12] = [
        Self::Axum,
        Self::Get,
        Self::GetSet,
        Self::Refused,
        Self::Stored,
        Self::Unruled,
        Self::Keyless,
        Self::Replay,
        Self::Run,
        Self::RunOnce,
        Self::PeerReplay,
        Self::PeerRun,
    ];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Axum => "/bare/axum",
            Self::Get => "/bare/get",
            Self::GetSet => "/bare/get-set",
            Self::Refused => "/bare/refused",
            Self::Stored => "/bare/stored",
            Self::Unruled => "/ours/unruled",
            Self::Keyless => "/ours/keyless",
            Self::Replay => "/ours/replay",
            Self::Run => "/ours/run",
            Self::RunOnce => "/ours/run-once",
            Self::PeerReplay => "/peer/replay",
            Self::PeerRun => "/peer/run",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Axum => "axum alone",
            Self::Get => "fred GET",
            Self::GetSet => "fred GET, SET",
            Self::Refused => "fred EVALSHA put, refused",
            Self::Stored => "fred EVALSHA put, twice",
            Self::Unruled => "IdempotencyLayer, no rule",
            Self::Keyless => "IdempotencyLayer, no key",
            Self::Replay => "IdempotencyLayer, replay",
            Self::Run => "IdempotencyLayer, run",
            Self::RunOnce => "IdempotencyLayer, run, never again",
            Self::PeerReplay => "axum-idempotent, replay",
            Self::PeerRun => "axum-idempotent, run",
        }
    }

    pub(crate) const fn is_peers(self) -> bool {
        matches!(self, Self::PeerReplay | Self::PeerRun)
    }

    /// Which key a request has.
    pub(crate) const fn key(self) -> Key {
        match self {
            Self::Unruled | Self::Keyless => Key::None,
            Self::GetSet | Self::Stored | Self::Run | Self::RunOnce | Self::PeerRun => Key::New,
            Self::Axum | Self::Get | Self::Refused | Self::Replay | Self::PeerReplay => Key::Known,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    None,
    /// That of an answer which is stored.
    Known,
    /// One that no request had before.
    New,
}

/// One client, which all routes use.
#[derive(Clone)]
pub(crate) struct App {
    client: Client,
    backend: RedisBackend,
    /// The digest by which the server knows the script.
    put: Arc<str>,
    /// As many bytes as a stored answer has.
    answer: Bytes,
    /// How often the handler of `/../slow` ran.
    pub(crate) ran: Arc<AtomicU32>,
    router: Router,
}

impl App {
    /// Starts one; with the peer's layer only where the server can do what that needs.
    pub(crate) async fn start(url: &str, has_peer: bool) -> Result<Self> {
        let client = redis::client(url)?;
        client.init().await?;
        let mut app = Self {
            backend: RedisBackend::from_client(client.clone())?
                .with_command_timeout(redis::TIMEOUT),
            put: load(&client).await?,
            answer: Bytes::new(),
            ran: Arc::default(),
            router: Router::new(),
            client,
        };
        app.router = app.ours()?;
        if has_peer {
            let peer = peer::router(&app.client, app.handlers("peer")).await?;
            app.router = app.router().merge(peer);
        }
        Ok(app)
    }

    /// Adds the bare handlers, which store so many bytes.
    pub(crate) fn with_bare(mut self, stored: usize) -> Self {
        self.answer = vec![b'x'; stored].into();
        self.router = self.router().merge(self.bare());
        self
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn close(self) {
        self.backend.close().await;
        let _ = self.client.quit().await;
    }

    /// Sends a request without a connection.
    pub(crate) async fn send(&self, asked: &Asked<'_>) -> Result<Response> {
        let mut request = Request::post(asked.path);
        for (name, value) in asked.headers() {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(request::BODY))?;
        Ok(self.router().oneshot(request).await?)
    }

    /// The same for a request whose answer must be 200.
    pub(crate) async fn ask(&self, asked: &Asked<'_>) -> Result<()> {
        let response = self.send(asked).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("{} was answered with {}", asked.path, response.status()).into());
        }
        Ok(())
    }

    /// Stores an answer for a bare handler.
    pub(crate) async fn store_bare(&self, asked: &Asked<'_>) -> Result<()> {
        let mut headers = HeaderMap::new();
        for (name, value) in asked.headers() {
            headers.insert(name, value.parse()?);
        }
        let key = key_in(&headers).map_err(|status| status.to_string())?;
        let stored = self.put(&key, self.answer.clone(), ANY).await;
        stored.map(drop).map_err(|status| status.to_string().into())
    }

    /// What is behind a layer.
    fn handlers(&self, side: &str) -> Router {
        Router::new()
            .route(&format!("/{side}/replay"), post(answer))
            .route(&format!("/{side}/run"), post(answer))
            .route(&format!("/{side}/slow"), post(slow))
            .route(&format!("/{side}/answers/{{len}}"), post(answer_of))
            .with_state(self.clone())
    }

    fn ours(&self) -> Result<Router> {
        let rule = IdempotencyRule::new("bench", Recovery::ReExecute)?;
        let never = Recovery::Never(Unrecorded::Answer);
        let waiting = InProgress::Wait(10 * SLOW);
        let routes = Routes::new()
            .post(
                Route::Keyless.path(),
                rule.clone().with_key(KeyPresence::Optional),
            )
            .post(Route::RunOnce.path(), IdempotencyRule::new("once", never)?)
            .post("/ours/patient/slow", rule.clone().with_in_progress(waiting))
            .post(Route::Replay.path(), rule.clone())
            .post(Route::Run.path(), rule.clone())
            .post("/ours/slow", rule.clone())
            .post("/ours/answers/{len}", rule);
        let scope = header("x-client").or_reject();
        let layer = IdempotencyLayer::new(self.backend.clone(), scope, routes)?;
        Ok(self
            .handlers("ours")
            .route(Route::Unruled.path(), post(answer))
            .route(Route::Keyless.path(), post(answer))
            .route(Route::RunOnce.path(), post(answer))
            .route("/ours/patient/slow", post(slow).with_state(self.clone()))
            .layer(layer))
    }

    fn bare(&self) -> Router {
        Router::new()
            .route(Route::Axum.path(), post(answer))
            .route(Route::Get.path(), post(get))
            .route(Route::GetSet.path(), post(get_set))
            .route(Route::Refused.path(), post(refused))
            .route(Route::Stored.path(), post(stored))
            .with_state(self.clone())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StatusCode> {
        match redis::send(&self.client, "GET", key, vec![key.into()]).await? {
            Resp3Frame::BlobString { data, .. } => Ok(Some(data)),
            Resp3Frame::Null => Ok(None),
            _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    async fn set(&self, key: &str) -> Result<(), StatusCode> {
        let value = Value::Bytes(self.answer.clone());
        let args = vec![key.into(), value, "PX".into(), DAY_MILLIS.into()];
        redis::send(&self.client, "SET", key, args).await.map(drop)
    }

    /// The version that was stored; nothing if it was refused.
    async fn put(&self, key: &str, value: Bytes, wanted: &[u8]) -> Result<Option<i64>, StatusCode> {
        let args = vec![
            (&*self.put).into(),
            1.into(),
            key.into(),
            Value::Bytes(value),
            DAY_MILLIS.into(),
            Value::Bytes(Bytes::copy_from_slice(wanted)),
        ];
        match redis::send(&self.client, "EVALSHA", key, args).await? {
            Resp3Frame::Number { data, .. } => Ok(Some(data)),
            _ => Ok(None),
        }
    }
}

async fn answer(_: Bytes) -> &'static str {
    BODY
}

async fn answer_of(Path(len): Path<usize>, _: Bytes) -> String {
    "r".repeat(len)
}

async fn slow(State(app): State<App>, _: Bytes) -> &'static str {
    app.ran.fetch_add(1, Ordering::Relaxed);
    sleep(SLOW).await;
    BODY
}

async fn get(
    State(app): State<App>,
    headers: HeaderMap,
    _: Bytes,
) -> Result<&'static str, StatusCode> {
    let found = app.get(&key_in(&headers)?).await?;
    found.map(|_| BODY).ok_or(StatusCode::NOT_FOUND)
}

async fn get_set(
    State(app): State<App>,
    headers: HeaderMap,
    _: Bytes,
) -> Result<&'static str, StatusCode> {
    let key = key_in(&headers)?;
    if app.get(&key).await?.is_some() {
        return Err(StatusCode::CONFLICT);
    }
    app.set(&key).await?;
    Ok(BODY)
}

async fn refused(
    State(app): State<App>,
    headers: HeaderMap,
    _: Bytes,
) -> Result<&'static str, StatusCode> {
    match app.put(&key_in(&headers)?, CLAIM, ABSENT).await? {
        None => Ok(BODY),
        Some(_) => Err(StatusCode::NOT_FOUND),
    }
}

async fn stored(
    State(app): State<App>,
    headers: HeaderMap,
    _: Bytes,
) -> Result<&'static str, StatusCode> {
    let key = key_in(&headers)?;
    let version = app.put(&key, CLAIM, ABSENT).await?;
    let version = version.ok_or(StatusCode::CONFLICT)?;
    let matches = [b"v", &version.to_be_bytes()[..]].concat();
    let stored = app.put(&key, app.answer.clone(), &matches).await?;
    stored.map(|_| BODY).ok_or(StatusCode::CONFLICT)
}

/// What a handler makes of the same headers that the layers read.
fn key_in(headers: &HeaderMap) -> Result<String, StatusCode> {
    let value = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or(StatusCode::BAD_REQUEST)
    };
    let (client, key) = (value("x-client")?, value("idempotency-key")?);
    Ok(format!("bare:{client}:{key}"))
}

async fn load(client: &Client) -> Result<Arc<str>> {
    let args = vec![Value::from_static_str("LOAD"), Value::from_static_str(PUT)];
    match redis::send(client, "SCRIPT", "", args).await {
        Ok(Resp3Frame::BlobString { data, .. }) => Ok(str::from_utf8(&data)?.into()),
        _ => Err("the script could not be loaded".into()),
    }
}

const PUT: &str = include_str!("../../src/backend/redis/scripts/put.lua");

/// As many bytes as a claim has.
const CLAIM: Bytes = Bytes::from_static(&[b'x'; 82]);

const ANY: &[u8] = b"any";
const ABSENT: &[u8] = b"absent";

/// How long the handler takes that is asked many times at once.
const SLOW: Duration = Duration::from_millis(200);

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
