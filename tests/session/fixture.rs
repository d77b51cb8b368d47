//! An application with sessions, a backend that can be looked into, and browsers with cookie jars.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Path, State},
    response::IntoResponse,
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::ServiceExt as _;
use tower_stash::{
    backend::MemoryBackend,
    policy::Policy,
    session::{Session, SessionError, SessionLayer, SessionRule, Sessions},
    testing::{FaultBackend, ManualClock},
};

use crate::spy::Spy;

/// A backend in memory whose clock the test moves and which fails on demand.
pub(crate) struct Bed {
    pub(crate) clock: ManualClock,
    pub(crate) backend: FaultBackend<MemoryBackend>,
    pub(crate) spy: Spy,
    pub(crate) gate: Gate,
}

/// The rule that most tests need.
pub(crate) fn web() -> SessionRule {
    SessionRule::new("web").unwrap()
}

impl Bed {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryBackend::new().with_clock(clock.clone());
        let backend = FaultBackend::new(memory);
        Self {
            clock,
            spy: Spy::on(backend.clone()),
            backend,
            gate: Gate::default(),
        }
    }

    /// A layer with an index of users.
    pub(crate) fn layer(&self, policy: impl Policy<SessionRule>) -> SessionLayer {
        SessionLayer::new(self.spy.clone(), policy)
            .unwrap()
            .with_users(self.backend.clone())
            .unwrap()
    }

    /// This application, for one rule: a router made from the handle of the layer around it.
    pub(crate) fn app(
        &self,
        policy: impl Policy<SessionRule>,
        router: impl FnOnce(Sessions) -> Router,
    ) -> Router {
        let layer = self.layer(policy);
        router(layer.handle()).layer(layer)
    }

    /// A browser of the [`shop`] with this rule.
    pub(crate) fn browser(&self, policy: impl Policy<SessionRule>) -> Browser {
        let gate = self.gate.clone();
        Browser::new(&self.app(policy, |sessions| shop(sessions, gate)))
    }

    /// A browser of an application whose one route, a POST to `/`, does this.
    pub(crate) fn doing<F, T>(
        &self,
        run: impl Fn(Session) -> F + Clone + Send + Sync + 'static,
    ) -> Browser
    where
        F: Future<Output = Result<T, SessionError>> + Send,
        T: IntoResponse + 'static,
    {
        let app = self.app(web(), |_| {
            let handler = async move |session: Session| run(session).await;
            Router::new().route("/", post(handler))
        });
        Browser::new(&app)
    }

    /// How many calls were made since this was asked last.
    pub(crate) fn meter(&self) -> impl FnMut() -> u64 {
        let backend = self.backend.clone();
        let mut before = backend.total_calls();
        move || {
            let made = backend.total_calls() - before;
            before += made;
            made
        }
    }
}

/// A place in a handler where requests wait until the test lets them go on.
#[derive(Clone)]
pub(crate) struct Gate {
    arrivals: Arc<Semaphore>,
    passes: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            arrivals: Arc::new(Semaphore::new(0)),
            passes: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Gate {
    /// Waits for one [`open`](Self::open).
    pub(crate) async fn pass(&self) {
        self.arrivals.add_permits(1);
        self.passes.acquire().await.unwrap().forget();
    }

    /// Waits until so many more requests are here.
    pub(crate) async fn reached(&self, requests: u32) {
        let arrived = self.arrivals.acquire_many(requests);
        arrived.await.unwrap().forget();
    }

    /// Lets so many requests go on.
    pub(crate) fn open(&self, requests: usize) {
        self.passes.add_permits(requests);
    }
}

/// What the handlers of the [`shop`] have.
#[derive(Clone)]
struct Shop {
    sessions: Sessions,
    gate: Gate,
}

impl FromRef<Shop> for Sessions {
    fn from_ref(shop: &Shop) -> Self {
        shop.sessions.clone()
    }
}

impl FromRef<Shop> for Gate {
    fn from_ref(shop: &Shop) -> Self {
        shop.gate.clone()
    }
}

type Answered<T = ()> = Result<T, SessionError>;

async fn login(
    State(sessions): State<Sessions>,
    session: Session,
    Path(user): Path<String>,
) -> Answered {
    let ticket = sessions.begin_login(user).await?;
    session.login(ticket).await
}

async fn slow_login(
    State(Shop { sessions, gate }): State<Shop>,
    session: Session,
    Path(user): Path<String>,
) -> Answered {
    session.state().await?;
    let ticket = sessions.begin_login(user).await?;
    gate.pass().await;
    session.login(ticket).await
}

async fn failing_login(
    State(sessions): State<Sessions>,
    session: Session,
    Path(user): Path<String>,
) -> Answered<StatusCode> {
    let ticket = sessions.begin_login(user).await?;
    session.login(ticket).await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn who(session: Session) -> Answered<String> {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".into()))
}

async fn set(session: Session, Path((name, value)): Path<(String, String)>) -> Answered {
    session.insert(&name, value).await
}

async fn slow_set(
    State(gate): State<Gate>,
    session: Session,
    Path((name, value)): Path<(String, String)>,
) -> Answered {
    session.state().await?;
    gate.pass().await;
    session.insert(&name, value).await
}

async fn failing_set(
    session: Session,
    Path((name, value)): Path<(String, String)>,
) -> Answered<StatusCode> {
    session.insert(&name, value).await?;
    Ok(StatusCode::BAD_GATEWAY)
}

async fn get_one(session: Session, Path(name): Path<String>) -> Answered<String> {
    let value: Option<serde_json::Value> = session.get(&name).await?;
    Ok(match value {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => "none".into(),
    })
}

async fn incr(session: Session, Path(name): Path<String>) -> Answered<String> {
    Ok(session.incr(&name, 1).await?.to_string())
}

async fn everywhere(
    State(sessions): State<Sessions>,
    Path(user): Path<String>,
) -> Answered<String> {
    Ok(sessions.destroy_all(user).await?.to_string())
}

/// A program with a route for each thing that can be done with a session. In those that begin with
/// `slow` a request waits at the gate between loading the session and changing it.
pub(crate) fn shop(sessions: Sessions, gate: Gate) -> Router {
    Router::new()
        .route("/login/{user}", post(login))
        .route("/slow-login/{user}", post(slow_login))
        .route("/failing-login/{user}", post(failing_login))
        .route("/who", get(who))
        .route("/set/{name}/{value}", post(set))
        .route("/slow-set/{name}/{value}", post(slow_set))
        .route("/failing-set/{name}/{value}", post(failing_set))
        .route("/get/{name}", get(get_one))
        .route("/incr/{name}", post(incr))
        .route(
            "/remove/{name}",
            post(async |session: Session, Path(name): Path<String>| {
                session
                    .remove(&name)
                    .await
                    .map(|was_there| was_there.to_string())
            }),
        )
        .route(
            "/clear",
            post(async |session: Session| session.clear().await),
        )
        .route(
            "/renew",
            post(async |session: Session| session.renew().await),
        )
        .route(
            "/start",
            post(async |session: Session| session.start().await),
        )
        .route(
            "/logout",
            post(async |session: Session| session.destroy().await),
        )
        .route("/everywhere/{user}", post(everywhere))
        .route(
            "/state",
            get(async |session: Session| session.state().await.map(|state| format!("{state:?}"))),
        )
        .route("/static", get(async || "nothing asked"))
        .with_state(Shop { sessions, gate })
}

/// A browser with one cookie jar, as far as one host and one path need it.
#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    jar: Arc<Mutex<Vec<(String, String)>>>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: http::Extensions,
    pub(crate) text: String,
}

impl Answer {
    /// The `Set-Cookie` lines.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.all("set-cookie")
    }

    /// All lines of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    pub(crate) fn problem(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self {
            app: app.clone(),
            jar: Arc::default(),
        }
    }

    /// Another browser that has the same cookies, for now.
    pub(crate) fn fork(&self) -> Self {
        let jar = self.jar().clone();
        Self {
            app: self.app.clone(),
            jar: Arc::new(Mutex::new(jar)),
        }
    }

    /// A browser of the same application that was never there.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.app)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Request::post(path)).await
    }

    /// Sends it and goes on; the jar is the same.
    pub(crate) fn posting(&self, path: &str) -> JoinHandle<Answer> {
        let (browser, path) = (self.clone(), path.to_owned());
        tokio::spawn(async move { browser.post(&path).await })
    }

    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        let response = self.app.clone().oneshot(self.request(request));
        let response = response.await.unwrap();
        self.keep_cookies(&response);
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            extensions: head.extensions,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// A request with the jar's cookies.
    pub(crate) fn request(&self, request: http::request::Builder) -> Request<Body> {
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(cookies) = self.cookie_header() {
            request.headers_mut().insert(header::COOKIE, cookies);
        }
        request
    }

    pub(crate) fn app(&self) -> Router {
        self.app.clone()
    }

    /// The value of a cookie in the jar.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let jar = self.jar();
        let found = jar.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// The token in the default cookie.
    pub(crate) fn token(&self) -> String {
        self.cookie("__Host-id").unwrap()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        let mut jar = self.jar();
        jar.retain(|(known, _)| known != name);
        jar.push((name.to_owned(), value.to_owned()));
    }

    fn cookie_header(&self) -> Option<HeaderValue> {
        let jar = self.jar();
        let pairs: Vec<_> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
        (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).unwrap())
    }

    fn keep_cookies(&self, response: &Response<Body>) {
        for line in response.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar().retain(|(known, _)| known != name);
            } else {
                self.set_cookie(name, value);
            }
        }
    }

    fn jar(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the cookie of a `Set-Cookie` line is kept.
pub(crate) fn max_age(line: &str) -> u64 {
    let (_, rest) = line.split_once("Max-Age=").unwrap();
    let seconds = rest.split(';').next().unwrap();
    seconds.parse().unwrap()
}
