//! An application with sessions, and browsers that use it.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::RedisBackend,
    session::{Session, SessionError, SessionErrorKind, SessionLayer, SessionRule, Sessions},
};

use super::super::{connect, scripts_are_loaded};
use crate::servers::{Result, standalone::Server};

/// A server of its own, a client of it, and a browser that uses an application there.
pub(super) async fn own() -> Result<(Server, RedisBackend, Browser)> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    scripts_are_loaded(&server).await?;
    let browser = Browser::new(&layer(&backend)?);
    Ok((server, backend, browser))
}

/// A layer with nothing but its defaults, and an index of users.
pub(super) fn layer(backend: &RedisBackend) -> Result<SessionLayer> {
    layer_of(backend, SessionRule::new("web")?)
}

/// A layer with this rule, and an index of users.
pub(super) fn layer_of(backend: &RedisBackend, rule: SessionRule) -> Result<SessionLayer> {
    Ok(SessionLayer::new(backend.clone(), rule)?.with_users(backend.clone())?)
}

/// Someone who comes with the cookie that they were given last.
///
/// Each request brings its own handler; the text that this gives, or its error, is the answer.
#[derive(Debug)]
pub(super) struct Browser {
    layer: SessionLayer,
    cookie: Mutex<Option<String>>,
}

impl Browser {
    pub(super) fn new(layer: &SessionLayer) -> Self {
        Self {
            layer: layer.clone(),
            cookie: Mutex::default(),
        }
    }

    /// Another browser that has the same cookie for now.
    pub(super) fn fork(&self) -> Self {
        self.at(&self.layer)
    }

    /// The same at another instance of the application.
    pub(super) fn at(&self, layer: &SessionLayer) -> Self {
        Self {
            layer: layer.clone(),
            cookie: Mutex::new(self.cookie()),
        }
    }

    pub(super) fn with_cookie(self, value: &str) -> Self {
        *self.lock() = Some(value.to_owned());
        self
    }

    /// The value of the session's cookie.
    pub(super) fn cookie(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(super) fn layer(&self) -> SessionLayer {
        self.layer.clone()
    }

    pub(super) fn sessions(&self) -> Sessions {
        self.layer.handle()
    }

    /// Sends a request that is handled so.
    pub(super) async fn ask<F, R>(&self, handler: F) -> Answer
    where
        F: Fn(Session) -> R + Clone,
        R: Future<Output = Result<String, SessionError>>,
    {
        let service = self.layer.layer(service_fn(move |request: Request<Body>| {
            let session = request.extensions().get::<Session>().cloned();
            let working = handler(session.expect("the layer gives a session"));
            async {
                let text = working.await;
                Ok::<_, Infallible>(text.map_or_else(refused, |text| Response::new(text.into())))
            }
        }));
        let mut request = Request::new(Body::empty());
        if let Some(value) = self.cookie() {
            let cookie = format!("{COOKIE}={value}");
            let cookie = HeaderValue::from_str(&cookie).expect("a cookie is a header's value");
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        let Ok(response) = service.oneshot(request).await;
        let answer = Answer::read(response).await;
        for cookie in &answer.cookies {
            self.keep(cookie);
        }
        answer
    }

    /// A request whose handler asks nothing of its session.
    pub(super) async fn untouched(&self) -> Answer {
        self.ask(async |_| Ok("untouched".to_owned())).await
    }

    /// The number under this name, or "none".
    pub(super) async fn get(&self, name: &str) -> Answer {
        self.ask(async |session| {
            let value: Option<i64> = session.get(name).await?;
            Ok(value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
        })
        .await
    }

    pub(super) async fn insert(&self, name: &str, value: i64) -> Answer {
        self.ask(async |session| {
            session.insert(name, value).await?;
            Ok("inserted".to_owned())
        })
        .await
    }

    pub(super) async fn incr(&self, name: &str) -> Answer {
        self.ask(async |session| Ok(session.incr(name, 1).await?.to_string()))
            .await
    }

    /// Who is logged in, or "nobody".
    pub(super) async fn who(&self) -> Answer {
        self.ask(async |session| Ok(session.user().await?.unwrap_or_else(|| "nobody".to_owned())))
            .await
    }

    /// What the session is, as `Debug` writes it.
    pub(super) async fn state(&self) -> Answer {
        self.ask(async |session| Ok(format!("{:?}", session.state().await?)))
            .await
    }

    /// Logs this user in; the user is the session's label as well.
    pub(super) async fn login(&self, user: &str) -> Answer {
        let sessions = &self.sessions();
        self.ask(async |session| {
            let ticket = sessions.begin_login(user).await?.with_label(user);
            session.login(ticket).await?;
            Ok("logged in".to_owned())
        })
        .await
    }

    pub(super) async fn logout(&self) -> Answer {
        self.ask(async |session| {
            session.destroy().await?;
            Ok("logged out".to_owned())
        })
        .await
    }

    fn keep(&self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let value = pair
            .strip_prefix(COOKIE)
            .and_then(|pair| pair.strip_prefix('='));
        let value = value.filter(|_| !attributes.contains("Max-Age=0"));
        *self.lock() = value.map(str::to_owned);
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// The `Set-Cookie` lines.
    pub(super) cookies: Vec<String>,
    /// What the handler failed with.
    pub(super) error: Option<SessionErrorKind>,
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body is text");
        let cookies = head.headers.get_all(header::SET_COOKIE).iter();
        Self {
            status: head.status,
            text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            cookies: cookies
                .map(|line| line.to_str().expect("a cookie is text").to_owned())
                .collect(),
            error: head.extensions.get().map(SessionError::kind),
        }
    }

    /// The text of an answer with status 200.
    pub(super) fn text(self) -> Result<String> {
        match self.status {
            StatusCode::OK => Ok(self.text),
            status => Err(format!("{status}: {}", self.text).into()),
        }
    }

    /// Whether it is a 503 that leaves the client's cookie alone.
    pub(super) fn is_outage(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.cookies.is_empty()
    }
}

/// The answer to a request whose handler failed.
fn refused(error: SessionError) -> Response<Body> {
    let mut response = Response::new(Body::from(error.to_string()));
    *response.status_mut() = error.status();
    response.extensions_mut().insert(error);
    response
}

const COOKIE: &str = "__Host-id";
