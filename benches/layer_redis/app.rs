//! The web server: one route for each thing that is compared.
#![expect(
    clippy::disallowed_types,
    reason = "what a handler would do without the layer it does with the Redis client"
)]

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    routing::get,
};
use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{Resp3Frame, Value},
};
use tower_stash::{
    backend::{Acquire, Limit, Quota, Quotas as _, RedisBackend},
    key::{Key, KeyParts},
    policy::{KeyExtractor as _, header},
    rate_limit::{RateLimitLayer, RateLimitRule},
};

use crate::{
    redis,
    servers::{Result, resp::Connection, standalone::Server},
};

/// What every handler answers.
pub(crate) const BODY: &str = "within the limit";

/// What a request does before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing.
    Axum,
    /// One GET in the handler.
    Get,
    /// One EVALSHA of a script that does nothing, in the handler.
    Script,
    /// One EVALSHA of the script behind `RedisBackend::acquire`, with its
    /// arguments, in the handler.
    Acquire,
    /// One `RedisBackend::acquire` in the handler.
    Backend,
    /// The handler of [`Axum`](Self::Axum) behind the layer.
    Layer,
}

impl Route {
    pub(crate) const ALL: [Self; 6] = [
        Self::Axum,
        Self::Get,
        Self::Script,
        Self::Acquire,
        Self::Backend,
        Self::Layer,
    ];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Axum => "/axum",
            Self::Get => "/get",
            Self::Script => "/script",
            Self::Acquire => "/acquire",
            Self::Backend => "/backend",
            Self::Layer => "/layer",
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Axum => "axum alone",
            Self::Get => "fred GET",
            Self::Script => "fred EVALSHA, empty",
            Self::Acquire => "fred EVALSHA, acquire",
            Self::Backend => "RedisBackend",
            Self::Layer => "RateLimitLayer",
        }
    }
}

/// One client and one limit, which all routes use.
#[derive(Clone)]
pub(crate) struct App {
    client: Client,
    backend: RedisBackend,
    limits: Arc<[Limit]>,
    counter: Arc<str>,
    /// Digests by which the server knows the scripts.
    acquire: Arc<str>,
    empty: Arc<str>,
    /// What the backend tells the script of its limit.
    numbers: Bytes,
}

impl App {
    pub(crate) async fn start(server: &Server) -> Result<Self> {
        let client = redis::client(&server.url())?;
        client.init().await?;
        let limit = Limit::new(("api", "burst"), QUOTA)?;
        let backend = RedisBackend::from_client(client.clone())?;
        let limits: Arc<[Limit]> = [limit].into();
        let (acquire, numbers) = said(server, &backend, &limits).await?;
        Ok(Self {
            backend,
            client,
            limits,
            counter: limit.counter_name().into(),
            acquire,
            empty: load(server, "return 1").await?,
            numbers,
        })
    }

    pub(crate) fn backend(&self) -> &RedisBackend {
        &self.backend
    }

    pub(crate) fn router(&self) -> Result<Router> {
        let subject = header("x-client").or_reject();
        let rule = RateLimitRule::new("api", subject, [("burst", QUOTA)])?;
        let layer = RateLimitLayer::new(self.backend.clone(), rule)?;
        Ok(Router::new()
            .route(Route::Layer.path(), get(answer).layer(layer))
            .route(Route::Axum.path(), get(answer))
            .route(Route::Get.path(), get(ask_get))
            .route(Route::Script.path(), get(ask_empty))
            .route(Route::Acquire.path(), get(ask_acquire))
            .route(Route::Backend.path(), get(ask_backend))
            .with_state(self.clone()))
    }

    pub(crate) async fn close(self) {
        self.backend.close().await;
        let _ = self.client.quit().await;
    }

    pub(crate) async fn send(
        &self,
        name: &'static str,
        key: &str,
        args: Vec<Value>,
    ) -> Result<Resp3Frame, StatusCode> {
        redis::send(&self.client, name, key, args).await
    }
}

async fn answer() -> &'static str {
    BODY
}

async fn ask_get(State(app): State<App>, request: Request) -> Result<&'static str, StatusCode> {
    let key = format!("get:{{{}}}", client_of(&request)?);
    app.send("GET", &key, vec![key.clone().into()]).await?;
    Ok(BODY)
}

async fn ask_empty(State(app): State<App>, request: Request) -> Result<&'static str, StatusCode> {
    let key = format!("empty:{{{}}}", client_of(&request)?);
    let args = vec![(&*app.empty).into(), 1.into(), key.clone().into()];
    app.send("EVALSHA", &key, args).await?;
    Ok(BODY)
}

async fn ask_acquire(State(app): State<App>, request: Request) -> Result<&'static str, StatusCode> {
    let key = format!("bare:{{{}}}:{}", client_of(&request)?, app.counter);
    let mut args: Vec<Value> = vec![(&*app.acquire).into(), 1.into(), key.clone().into()];
    args.extend([
        Value::from_static_str(""),
        Value::Bytes(app.numbers.clone()),
    ]);
    app.send("EVALSHA", &key, args).await?;
    Ok(BODY)
}

async fn ask_backend(State(app): State<App>, request: Request) -> Result<&'static str, StatusCode> {
    let subject = Key::custom("bench", &KeyParts::new().with(client_of(&request)?));
    let request = Acquire::new(subject, Arc::clone(&app.limits));
    match app.backend.acquire(&request).await {
        Ok(decision) if decision.admitted => Ok(BODY),
        _ => Err(StatusCode::TOO_MANY_REQUESTS),
    }
}

fn client_of(request: &Request) -> Result<&str, StatusCode> {
    let client = request
        .headers()
        .get("x-client")
        .and_then(|client| client.to_str().ok());
    client.ok_or(StatusCode::BAD_REQUEST)
}

/// What the backend says to Redis when it asks for these limits: the script's
/// digest, and its numbers.
async fn said(
    server: &Server,
    backend: &RedisBackend,
    limits: &Arc<[Limit]>,
) -> Result<(Arc<str>, Bytes)> {
    let request = Acquire::new(
        Key::custom("bench", &KeyParts::new().with("said")),
        Arc::clone(limits),
    );
    // From now on the server knows the script by its digest.
    backend.acquire(&request).await?;
    let mut monitor = Connection::to_socket(&server.socket()).await?;
    monitor.call(&["MONITOR"]).await?;
    backend.acquire(&request).await?;
    loop {
        let line = monitor.hear().await?.to_string();
        let Some((_, words)) = line.split_once("\"EVALSHA\" ") else {
            continue;
        };
        // Digest, number of keys, key, time, numbers.
        let words: Vec<&str> = words.split("\" \"").collect();
        if let [digest, _, _, _, numbers] = words.as_slice() {
            let numbers = unescaped(numbers.strip_suffix('"').unwrap_or(numbers))?;
            return Ok((digest.trim_matches('"').into(), numbers));
        }
    }
}

/// The bytes that MONITOR shows like this.
fn unescaped(shown: &str) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let mut rest = shown.bytes();
    while let Some(byte) = rest.next() {
        let escaped = match byte {
            b'\\' => rest.next().ok_or("MONITOR ends in an escape")?,
            plain => {
                bytes.push(plain);
                continue;
            }
        };
        bytes.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'x' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16)?
            }
            other => other,
        });
    }
    Ok(bytes.into())
}

async fn load(server: &Server, script: &str) -> Result<Arc<str>> {
    let digest = server.call(&["SCRIPT", "LOAD", script]).await?;
    Ok(digest.to_string().into())
}

const QUOTA: Quota = Quota::sliding(1_000, Duration::from_secs(1));
