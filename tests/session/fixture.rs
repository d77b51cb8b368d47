//! An application with sessions, a backend that can be looked into, and browsers with cookie jars.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Body};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_stash::{
    backend::MemoryBackend,
    policy::Policy,
    session::{SessionLayer, SessionRule, Sessions},
    testing::{FaultBackend, ManualClock},
};

/// A backend in memory whose clock the test moves and which fails on demand.
pub(crate) struct Bed {
    pub(crate) clock: ManualClock,
    pub(crate) backend: FaultBackend<MemoryBackend>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryBackend::new().with_clock(clock.clone());
        Self {
            clock,
            backend: FaultBackend::new(memory),
        }
    }

    /// A layer with an index of users.
    pub(crate) fn layer(&self, policy: impl Policy<SessionRule>) -> SessionLayer {
        SessionLayer::new(self.backend.clone(), policy)
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
    pub(crate) text: String,
}

impl Answer {
    /// The `Set-Cookie` lines.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
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

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Request::post(path)).await
    }

    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(cookies) = self.cookie_header() {
            request.headers_mut().insert(header::COOKIE, cookies);
        }
        let response = self.app.clone().oneshot(request).await.unwrap();
        self.keep_cookies(&response);
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// The value of a cookie in the jar.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let jar = self.jar();
        let found = jar.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
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

    fn jar(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
