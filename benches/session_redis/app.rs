//! The web server: one route for each thing that is compared, on one Redis client.
#![expect(
    clippy::disallowed_types,
    reason = "what a handler would do without the layer it does with the Redis client"
)]

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::{ClientLike as _, KeysInterface as _},
    types::{Resp3Frame, Value},
};
use tower::ServiceExt as _;
use tower_sessions::{Expiry, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_stash::{
    backend::RedisBackend,
    session::{Session, SessionError, SessionLayer, SessionRule},
};

use crate::{redis, servers::Result};

/// What every handler answers that is loaded.
pub(crate) const BODY: &str = "a session";

/// What a handler answers that finds no session; the load generator takes it for a failure.
const NO_SESSION: &str = "there is no session of this name";

/// What a request does before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing.
    Axum,
    /// One GET in the handler, of as many bytes as a session.
    Get,
    /// The same as it is written without a second thought.
    PlainGet,
    /// GET and PTTL at the same time.
    GetTtl,
    /// One GET, then one EVALSHA of the backend's script for `put`.
    GetPut,
    /// GET and PTTL at the same time, then that EVALSHA.
    GetTtlPut,
    /// The handler of [`Axum`](Self::Axum) behind the layer.
    Untouched,
    /// An attribute is read.
    Read,
    /// An attribute is read, and one more is written.
    Write,
    /// The same as [`Read`](Self::Read), behind the peer's layer.
    PeerRead,
    PeerWrite,
}

impl Route {
    pub(crate) const ALL: [Self; 11] = [
        Self::Axum,
        Self::Get,
        Self::PlainGet,
        Self::GetTtl,
        Self::GetPut,
        Self::GetTtlPut,
        Self::Untouched,
        Self::Read,
        Self::Write,
        Self::PeerRead,
        Self::PeerWrite,
    ];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Axum => "/bare/axum",
            Self::Get => "/bare/get",
            Self::PlainGet => "/bare/plain-get",
            Self::GetTtl => "/bare/get-ttl",
            Self::GetPut => "/bare/get-put",
            Self::GetTtlPut => "/bare/get-ttl-put",
            Self::Untouched => "/ours/untouched",
            Self::Read => "/ours/read",
            Self::Write => "/ours/write",
            Self::PeerRead => "/peer/read",
            Self::PeerWrite => "/peer/write",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Axum => "axum alone",
            Self::Get => "fred GET",
            Self::PlainGet => "fred client.get(..)",
            Self::GetTtl => "fred GET and PTTL",
            Self::GetPut => "fred GET, EVALSHA put",
            Self::GetTtlPut => "fred GET and PTTL, EVALSHA put",
            Self::Untouched => "SessionLayer, untouched",
            Self::Read => "SessionLayer, read",
            Self::Write => "SessionLayer, read + write",
            Self::PeerRead => "tower-sessions, read",
            Self::PeerWrite => "tower-sessions, read + write",
        }
    }
}

/// Whose sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Peer,
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Ours, Self::Peer];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Ours => "SessionLayer",
            Self::Peer => "tower-sessions",
        }
    }

    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Ours => "/ours",
            Self::Peer => "/peer",
        }
    }
}

/// One client, which all routes use.
#[derive(Clone)]
pub(crate) struct App {
    client: Client,
    backend: RedisBackend,
    /// The digest by which the server knows the script.
    put: Arc<str>,
    router: Router,
}

impl App {
    pub(crate) async fn start(url: &str) -> Result<Self> {
        let client = redis::client(url)?;
        client.init().await?;
        let mut app = Self {
            backend: RedisBackend::from_client(client.clone())?
                .with_command_timeout(redis::TIMEOUT),
            put: load(&client).await?,
            router: Router::new(),
            client,
        };
        app.router = app
            .bare()
            .merge(ours(&app.backend)?)
            .merge(peer(&app.client));
        Ok(app)
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn close(self) {
        self.backend.close().await;
        let _ = self.client.quit().await;
    }

    /// Asks without a connection, and gives the answer.
    pub(crate) async fn ask(&self, path: &str, cookie: &str) -> Result<Response> {
        let request = Request::get(path).header(header::COOKIE, cookie);
        let request = request.body(Body::empty())?;
        let response = self.router().oneshot(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("{path} was answered with {}", response.status()).into());
        }
        Ok(response)
    }

    /// A new session, by the `Cookie` header that opens it: of 1.2 KB.
    pub(crate) async fn begin(&self, side: Side) -> Result<String> {
        let response = self.ask(&format!("{}/begin", side.prefix()), "").await?;
        let cookie = response.headers().get(header::SET_COOKIE);
        let cookie = cookie.ok_or("no cookie was set")?.to_str()?;
        let (pair, _) = cookie.split_once(';').unwrap_or((cookie, ""));
        Ok(pair.to_owned())
    }

    /// Stores as many bytes for a client of the bare handlers.
    pub(crate) async fn store_bare(&self, client: &str, len: usize) -> Result<()> {
        let value = Bytes::from(vec![b'x'; len]);
        let any = Value::from_static_str("any");
        let put = self.put(&key_of(client), value, any).await;
        put.map_err(|status| status.to_string().into())
    }

    fn bare(&self) -> Router {
        Router::new()
            .route(Route::Axum.path(), get(answer))
            .route(Route::Get.path(), get(bare_get))
            .route(Route::PlainGet.path(), get(bare_plain_get))
            .route(Route::GetTtl.path(), get(bare_get_ttl))
            .route(Route::GetPut.path(), get(bare_get_put))
            .route(Route::GetTtlPut.path(), get(bare_get_ttl_put))
            .with_state(self.clone())
    }

    async fn get(&self, key: &str) -> Result<Bytes, StatusCode> {
        match redis::send(&self.client, "GET", key, vec![key.into()]).await? {
            Resp3Frame::BlobString { data, .. } if data.len() > VERSION => Ok(data),
            _ => Err(StatusCode::NOT_FOUND),
        }
    }

    async fn get_ttl(&self, key: &str) -> Result<Bytes, StatusCode> {
        let ttl = redis::send(&self.client, "PTTL", key, vec![key.into()]);
        let (record, ttl) = tokio::join!(self.get(key), ttl);
        ttl.and(record)
    }

    /// Writes a record back as it is.
    async fn put_back(&self, key: &str, mut record: Bytes) -> Result<(), StatusCode> {
        let version = record.split_to(VERSION);
        let wanted = [b"v", version.as_ref()].concat();
        self.put(key, record, Value::Bytes(wanted.into())).await
    }

    async fn put(&self, key: &str, value: Bytes, wanted: Value) -> Result<(), StatusCode> {
        let args = vec![
            (&*self.put).into(),
            1.into(),
            key.into(),
            Value::Bytes(value),
            DAY_MILLIS.into(),
            wanted,
        ];
        match redis::send(&self.client, "EVALSHA", key, args).await? {
            Resp3Frame::Number { .. } => Ok(()),
            _ => Err(StatusCode::CONFLICT),
        }
    }
}

async fn answer() -> &'static str {
    BODY
}

async fn bare_get(State(app): State<App>, headers: HeaderMap) -> Result<&'static str, StatusCode> {
    app.get(&key_in(&headers)?).await?;
    Ok(BODY)
}

async fn bare_plain_get(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<&'static str, StatusCode> {
    match app.client.get::<Option<Bytes>, _>(key_in(&headers)?).await {
        Ok(Some(_)) => Ok(BODY),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

async fn bare_get_ttl(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<&'static str, StatusCode> {
    app.get_ttl(&key_in(&headers)?).await?;
    Ok(BODY)
}

async fn bare_get_put(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<&'static str, StatusCode> {
    let key = key_in(&headers)?;
    let record = app.get(&key).await?;
    app.put_back(&key, record).await?;
    Ok(BODY)
}

async fn bare_get_ttl_put(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<&'static str, StatusCode> {
    let key = key_in(&headers)?;
    let record = app.get_ttl(&key).await?;
    app.put_back(&key, record).await?;
    Ok(BODY)
}

fn key_in(headers: &HeaderMap) -> Result<String, StatusCode> {
    let client = headers.get("x-client");
    let client = client.and_then(|client| client.to_str().ok());
    client.map(key_of).ok_or(StatusCode::BAD_REQUEST)
}

fn key_of(client: &str) -> String {
    format!("bare:{{{client}}}")
}

/// Sessions that no slide interrupts, as the peer has none.
fn ours(backend: &RedisBackend) -> Result<Router> {
    let rule = SessionRule::new("web")?
        .with_anonymous_timeouts(DAY, 30 * DAY)?
        .with_touch_every(DAY / 2)?;
    let layer = SessionLayer::new(backend.clone(), rule)?;
    Ok(Router::new()
        .route(Route::Untouched.path(), get(answer))
        .route(Route::Read.path(), get(ours_read))
        .route(Route::Write.path(), get(ours_write))
        .route("/ours/begin", get(ours_begin))
        .route("/ours/fill/{attributes}", get(ours_fill))
        .route("/ours/count/{field}", get(ours_count))
        .route("/ours/counted/{field}", get(ours_counted))
        .layer(layer))
}

async fn ours_read(session: Session) -> Result<&'static str, SessionError> {
    let visits: Option<u64> = session.get(VISITS).await?;
    Ok(visits.map_or(NO_SESSION, |_| BODY))
}

async fn ours_write(session: Session) -> Result<&'static str, SessionError> {
    let Some(visits) = session.get::<u64>(VISITS).await? else {
        return Ok(NO_SESSION);
    };
    session.insert(VISITS, visits + 1).await?;
    Ok(BODY)
}

async fn ours_begin(session: Session) -> Result<(), SessionError> {
    for (name, value) in profile() {
        session.insert(&name, value).await?;
    }
    session.insert(VISITS, FIRST_VISIT).await
}

async fn ours_fill(session: Session, Path(attributes): Path<usize>) -> Result<(), SessionError> {
    session.start().await?;
    for number in 0..attributes {
        session.insert(&small_name(number), SMALL).await?;
    }
    Ok(())
}

async fn ours_count(session: Session, Path(field): Path<String>) -> Result<(), SessionError> {
    let count: u64 = session.get(&field).await?.unwrap_or_default();
    session.insert(&field, count + 1).await
}

async fn ours_counted(session: Session, Path(field): Path<String>) -> Result<String, SessionError> {
    let count: u64 = session.get(&field).await?.unwrap_or_default();
    Ok(count.to_string())
}

/// The same, as the peer's documentation has it.
fn peer(client: &Client) -> Router {
    let expiry = Expiry::OnInactivity(tower_sessions::cookie::time::Duration::days(1));
    let layer = SessionManagerLayer::new(RedisStore::new(client.clone())).with_expiry(expiry);
    Router::new()
        .route(Route::PeerRead.path(), get(peer_read))
        .route(Route::PeerWrite.path(), get(peer_write))
        .route("/peer/begin", get(peer_begin))
        .route("/peer/fill/{attributes}", get(peer_fill))
        .route("/peer/count/{field}", get(peer_count))
        .route("/peer/counted/{field}", get(peer_counted))
        .layer(layer)
}

async fn peer_read(session: tower_sessions::Session) -> PeerResult<&'static str> {
    let visits: Option<u64> = session.get(VISITS).await?;
    Ok(visits.map_or(NO_SESSION, |_| BODY))
}

async fn peer_write(session: tower_sessions::Session) -> PeerResult<&'static str> {
    let Some(visits) = session.get::<u64>(VISITS).await? else {
        return Ok(NO_SESSION);
    };
    session.insert(VISITS, visits + 1).await?;
    Ok(BODY)
}

async fn peer_begin(session: tower_sessions::Session) -> PeerResult<()> {
    for (name, value) in profile() {
        session.insert(&name, value).await?;
    }
    session.insert(VISITS, FIRST_VISIT).await?;
    Ok(())
}

async fn peer_fill(
    session: tower_sessions::Session,
    Path(attributes): Path<usize>,
) -> PeerResult<()> {
    for number in 0..attributes {
        session.insert(&small_name(number), SMALL).await?;
    }
    // Its layer stores none without attributes.
    if attributes == 0 {
        session.save().await?;
    }
    Ok(())
}

async fn peer_count(session: tower_sessions::Session, Path(field): Path<String>) -> PeerResult<()> {
    let count: u64 = session.get(&field).await?.unwrap_or_default();
    session.insert(&field, count + 1).await?;
    Ok(())
}

async fn peer_counted(
    session: tower_sessions::Session,
    Path(field): Path<String>,
) -> PeerResult<String> {
    let count: u64 = session.get(&field).await?.unwrap_or_default();
    Ok(count.to_string())
}

type PeerResult<T> = Result<T, PeerError>;

struct PeerError;

impl From<tower_sessions::session::Error> for PeerError {
    fn from(_: tower_sessions::session::Error) -> Self {
        Self
    }
}

impl IntoResponse for PeerError {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// What makes a session 1.2 KB large.
fn profile() -> impl Iterator<Item = (String, String)> {
    (0..10).map(|number| (format!("profile-{number}"), "p".repeat(100)))
}

fn small_name(number: usize) -> String {
    format!("attribute-{number}")
}

async fn load(client: &Client) -> Result<Arc<str>> {
    let args = vec![Value::from_static_str("LOAD"), Value::from_static_str(PUT)];
    match redis::send(client, "SCRIPT", "", args).await {
        Ok(Resp3Frame::BlobString { data, .. }) => Ok(str::from_utf8(&data)?.into()),
        _ => Err("the script could not be loaded".into()),
    }
}

const PUT: &str = include_str!("../../src/backend/redis/scripts/put.lua");

/// The attribute that is read, and changed.
const VISITS: &str = "visits";

/// All that follow have as many digits.
const FIRST_VISIT: u64 = 1_000_000;

const SMALL: &str = "a value of thirty-two characters";

/// The bytes before a value.
const VERSION: usize = 8;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
