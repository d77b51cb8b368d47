//! The application: a login, and what one does with a session.

use std::sync::Arc;

use axum::{
    Form, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    response::{Html, Redirect},
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use http::{Response, StatusCode, header};
use serde::Deserialize;
use tower_stash::{
    backend::MemoryBackend,
    policy::Policy,
    session::{Session, SessionError, SessionLayer, SessionRule, Sessions},
    testing::ManualClock,
};

use super::{APP, EVIL, Gate, OTHER, Port, Site, checkout, html, live::live, puppet};
use crate::trial::{Bed, Result};

/// The application and its neighbours, and what a test needs to see and steer.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) site: Site,
    /// The backend's clock.
    pub(crate) clock: ManualClock,
    /// Where its slow routes wait.
    pub(crate) gate: Gate,
}

impl Shop {
    /// The application under this policy, beside two puppets.
    pub(crate) async fn open(bed: &Bed, policy: impl Policy<SessionRule>) -> Result<Self> {
        Self::open_at(bed, Port::bind().await?, policy)
    }

    /// The same for a policy that has to name the port.
    pub(crate) fn open_at(bed: &Bed, port: Port, policy: impl Policy<SessionRule>) -> Result<Self> {
        let clock = ManualClock::new();
        let backend = MemoryBackend::new().with_clock(clock.clone());
        let layer = SessionLayer::new(backend.clone(), policy)?.with_users(backend)?;
        let gate = Gate::default();
        let app = application(layer.handle(), gate.clone()).layer(layer);
        let site = bed.site_at(port, [(APP, app), (EVIL, puppet()), (OTHER, puppet())]);
        Ok(Self { site, clock, gate })
    }

    /// The application with nothing but defaults.
    pub(crate) async fn open_plain(bed: &Bed) -> Result<Self> {
        Self::open(bed, SessionRule::new("web")?).await
    }

    /// An address of the application.
    pub(crate) fn url(&self, path: &str) -> String {
        self.site.url(APP, path)
    }
}

pub(super) type Answer<T> = std::result::Result<T, SessionError>;

#[derive(Clone)]
struct App {
    sessions: Sessions,
    gate: Gate,
}

fn application(sessions: Sessions, gate: Gate) -> Router {
    Router::new()
        .route("/", get(async || html("home")))
        .route(
            "/echo",
            get(async || html("echo")).post(async || html("echo")),
        )
        .route("/me", get(me))
        .route("/poll", get(me))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/logout/late-begin", post(logout_late_begin))
        .route("/logout/late-act", post(logout_late_act))
        .route("/logout/late-answer", post(logout_late_answer))
        .route("/logout/everywhere", post(logout_everywhere))
        .route("/put", post(put))
        .route("/put/late-begin", post(put_late_begin))
        .route("/put/late-act", post(put_late_act))
        .route("/put/late-body", post(put_late_body))
        .route("/get", get(get_value))
        .route("/callback", get(get_value).post(get_value_after))
        .route("/flash", post(flash))
        .route("/flashes", get(flashes))
        .route("/start", get(async || Html(SPECULATING)))
        .route("/live", get(live))
        .merge(checkout::routes())
        .with_state(Arc::new(App { sessions, gate }))
}

async fn me(session: Session) -> Answer<Html<String>> {
    let user = session.user().await?;
    Ok(html(user.as_deref().unwrap_or("nobody")))
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(
    State(app): State<Arc<App>>,
    session: Session,
    Form(form): Form<Login>,
) -> Answer<Redirect> {
    let ticket = app.sessions.begin_login(&form.user).await?;
    session.login(ticket).await?;
    Ok(Redirect::to("/me"))
}

async fn logout(session: Session) -> Answer<Redirect> {
    session.destroy().await?;
    Ok(Redirect::to("/me"))
}

/// Waits before it looks at the session.
async fn logout_late_begin(State(app): State<Arc<App>>, session: Session) -> Answer<()> {
    app.gate.pass().await;
    session.destroy().await
}

/// Waits after it looked at the session.
async fn logout_late_act(State(app): State<Arc<App>>, session: Session) -> Answer<()> {
    session.user().await?;
    app.gate.pass().await;
    session.destroy().await
}

/// Waits after it ended the session.
async fn logout_late_answer(State(app): State<Arc<App>>, session: Session) -> Answer<()> {
    session.destroy().await?;
    app.gate.pass().await;
    Ok(())
}

async fn logout_everywhere(State(app): State<Arc<App>>, session: Session) -> Answer<Redirect> {
    if let Some(user) = session.user().await? {
        app.sessions.destroy_all(user).await?;
    }
    Ok(Redirect::to("/me"))
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    #[serde(default)]
    value: String,
}

async fn put(session: Session, Query(query): Query<Attribute>) -> Answer<()> {
    session.insert(&query.name, &query.value).await
}

/// Waits before it looks at the session.
async fn put_late_begin(
    State(app): State<Arc<App>>,
    session: Session,
    Query(query): Query<Attribute>,
) -> Answer<()> {
    app.gate.pass().await;
    session.insert(&query.name, &query.value).await
}

/// Waits after it looked at the session.
async fn put_late_act(
    State(app): State<Arc<App>>,
    session: Session,
    Query(query): Query<Attribute>,
) -> Answer<()> {
    session.insert(&query.name, &query.value).await?;
    app.gate.pass().await;
    Ok(())
}

/// Redirects to the value that it stores, with a body that does not end before the gate is opened.
async fn put_late_body(
    State(app): State<Arc<App>>,
    session: Session,
    Query(query): Query<Attribute>,
) -> Answer<Response<Body>> {
    session.insert(&query.name, &query.value).await?;
    let rest = stream::once(async move {
        app.gate.pass().await;
        Ok(Bytes::from_static(b"end"))
    });
    let begin = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"begin"))]);
    let target = format!("/get?name={}", query.name);
    let mut response = Response::new(Body::from_stream(begin.chain(rest)));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let target = target.try_into().expect("a name that fits into a path");
    response.headers_mut().insert(header::LOCATION, target);
    Ok(response)
}

async fn get_value(session: Session, Query(query): Query<Attribute>) -> Answer<Html<String>> {
    let value: Option<String> = session.get(&query.name).await?;
    Ok(html(value.as_deref().unwrap_or("nothing")))
}

/// Looks, and sends the browser to look again.
async fn get_value_after(session: Session, Query(query): Query<Attribute>) -> Answer<Redirect> {
    let value: Option<String> = session.get(&query.name).await?;
    let seen = value.as_deref().unwrap_or("nothing");
    Ok(Redirect::to(&format!(
        "/get?name={}&value={seen}",
        query.name
    )))
}

async fn flash(session: Session) -> Answer<Redirect> {
    session.flash("info", "saved").await?;
    Ok(Redirect::to("/start"))
}

async fn flashes(session: Session) -> Answer<Html<String>> {
    let flashes = session.flashes().await?;
    let messages: Vec<_> = flashes.into_iter().map(|flash| flash.message).collect();
    Ok(html(&messages.join(", ")))
}

/// A page that has the browser fetch the messages before anybody asks for them.
const SPECULATING: &str = r#"<!doctype html><head><script type="speculationrules">
    {"prefetch": [{"urls": ["/flashes"], "eagerness": "immediate"}]}
</script></head><body>start</body>"#;
