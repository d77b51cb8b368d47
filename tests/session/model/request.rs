//! A request through the real layer, around a service that does what a script says.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Response, StatusCode, header};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::session::{
    LoginTicket, MaxSessions, OnGone, Session, SessionError, SessionErrorKind, SessionLayer,
    SessionRule, Sessions,
};

use super::{
    program::{FamilyShape, Op, Request, Route, User},
    stepped::Stepped,
};

/// What is known of a request from outside the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// What each operation gave, in order; of a script that goes on there is one less than began.
    pub(crate) results: Vec<OpResult>,
    /// The status that the handler answered with.
    pub(crate) head: Option<u16>,
    pub(crate) response: Option<Seen>,
}

/// What a client sees.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) cookies: Vec<String>,
}

pub(crate) type OpResult = Result<Answer, SessionErrorKind>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Value(Option<i64>),
    /// What was read and inserted again.
    Same(Option<i64>),
    Number(i64),
    User(Option<String>),
    /// The number of a ticket that was drawn.
    Drawn(usize),
    /// The number of the ticket that was used, and whose it is, if there was one.
    Used(Option<(usize, String)>),
    /// Whether a session was ended.
    Ended(bool),
}

/// Tickets that were drawn; each logs in once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets(Arc<Mutex<Drawn>>);

#[derive(Debug, Default)]
struct Drawn {
    ever: usize,
    left: Vec<(usize, LoginTicket)>,
}

/// All that one request shares with whoever watches it.
pub(crate) type SharedLog = Arc<Mutex<Log>>;

pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
pub(crate) const ABSOLUTE: Duration = Duration::from_secs(3 * 3_600);
pub(crate) const ANONYMOUS_IDLE: Duration = Duration::from_secs(10 * 60);
pub(crate) const ANONYMOUS_ABSOLUTE: Duration = Duration::from_secs(3_600);
pub(crate) const TOUCH_EVERY: Duration = Duration::from_secs(60);
pub(crate) const ROTATION_EVERY: Duration = Duration::from_secs(300);

/// Sends a request with this token; the layer is this request's own, as if each instance of a
/// service had one.
pub(crate) async fn send(
    backend: Stepped,
    family: FamilyShape,
    request: Request,
    token: Option<String>,
    first_value: i64,
    tickets: Tickets,
    log: SharedLog,
) {
    let layer = layer(backend, family, request.route);
    let script = Script {
        sessions: layer.handle(),
        request,
        first_value,
        tickets,
        log: Arc::clone(&log),
    };
    let service = layer.layer(service_fn(move |request: http::Request<Body>| {
        let script = script.clone();
        async move {
            let session = request.extensions().get::<Session>().cloned();
            let status = script.run(session.expect("the layer adds one")).await;
            Ok::<_, Infallible>(response(status))
        }
    }));
    let mut sent = http::Request::get("/");
    if let Some(token) = token {
        sent = sent.header(header::COOKIE, format!("theme=dark; __Host-id={token}"));
    }
    let Ok(response) = service.oneshot(sent.body(Body::empty()).unwrap()).await;
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    log.lock().unwrap().response = Some(Seen {
        status: response.status().as_u16(),
        cookies: cookies
            .map(|cookie| cookie.to_str().unwrap().to_owned())
            .collect(),
    });
}

/// Ends all sessions of a user.
pub(crate) async fn destroy_all(backend: Stepped, family: FamilyShape, user: User, log: SharedLog) {
    let ended = layer(backend, family, Route::default())
        .handle()
        .destroy_all(user)
        .await;
    let result = ended.map(|_| Answer::Done).map_err(|error| error.kind());
    log.lock().unwrap().results.push(result);
}

fn layer(backend: Stepped, family: FamilyShape, route: Route) -> SessionLayer {
    let mut rule = SessionRule::new("web")
        .and_then(|rule| rule.with_timeouts(IDLE, ABSOLUTE))
        .and_then(|rule| rule.with_anonymous_timeouts(ANONYMOUS_IDLE, ANONYMOUS_ABSOLUTE))
        .and_then(|rule| rule.with_touch_every(TOUCH_EVERY))
        .unwrap();
    if family.rotates {
        rule = rule.with_rotation_every(ROTATION_EVERY).unwrap();
    }
    if route.is_strict {
        rule = rule.with_strict_commits();
    }
    if route.does_not_slide {
        rule = rule.without_slide();
    }
    if route.rejects_when_gone {
        rule = rule.with_on_gone(OnGone::Reject);
    }
    if route.is_read_only {
        rule = rule.with_read_only();
    }
    let layer = SessionLayer::new(backend.clone(), rule).unwrap();
    let layer = layer.with_users(backend).unwrap();
    match family.most {
        Some(most) => layer
            .with_max_sessions(MaxSessions::EvictOldest(most))
            .unwrap(),
        None => layer,
    }
}

fn response(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[derive(Clone)]
struct Script {
    sessions: Sessions,
    request: Request,
    first_value: i64,
    tickets: Tickets,
    log: SharedLog,
}

impl Script {
    /// Does all of it, or up to what fails; the status of the answer.
    async fn run(&self, session: Session) -> u16 {
        let mut status = self.request.status;
        for (value, op) in (self.first_value..).zip(&self.request.ops) {
            let result = self.op(&session, *op, value).await;
            let failed = result.as_ref().err().map(SessionError::status);
            let noted = result.map_err(|error| error.kind());
            self.log.lock().unwrap().results.push(noted);
            if let Some(failed) = failed {
                status = failed.as_u16();
                break;
            }
        }
        self.log.lock().unwrap().head = Some(status);
        status
    }

    async fn op(&self, session: &Session, op: Op, value: i64) -> Result<Answer, SessionError> {
        let done = |()| Answer::Done;
        match op {
            Op::Get(name) => session.get(name).await.map(Answer::Value),
            Op::Insert(name) => session.insert(name, value).await.map(done),
            Op::InsertSame(name) => {
                let read = session.get::<i64>(name).await?;
                if let Some(value) = read {
                    session.insert(name, value).await?;
                }
                Ok(Answer::Same(read))
            }
            Op::Remove(name) => session.remove(name).await.map(|_| Answer::Done),
            Op::Clear => session.clear().await.map(done),
            Op::User => session.user().await.map(Answer::User),
            Op::Incr(name, by) => session.incr(name, by).await.map(Answer::Number),
            Op::Update(name, by) => {
                let add = move |n: Option<i64>| Some(n.unwrap_or_default() + by);
                session.update(name, add).await.map(Answer::Value)
            }
            Op::Take(name) => session.take(name).await.map(Answer::Value),
            Op::BeginLogin(user) => {
                let ticket = self.sessions.begin_login(user).await?;
                Ok(Answer::Drawn(self.tickets.add(ticket)))
            }
            Op::Login => match self.tickets.take() {
                None => Ok(Answer::Used(None)),
                Some((number, ticket)) => {
                    let user = ticket.user().to_owned();
                    session.login(ticket).await?;
                    Ok(Answer::Used(Some((number, user))))
                }
            },
            Op::Renew => session.renew().await.map(done),
            Op::Start => session.start().await.map(done),
            Op::Destroy => session.destroy().await.map(done),
            Op::DestroyOthers => {
                self.sessions.destroy_others(session).await?;
                Ok(Answer::Done)
            }
            Op::EndAs(user) => {
                let Some(id) = session.id().await? else {
                    return Ok(Answer::Ended(false));
                };
                let ended = self.sessions.destroy_device(user, &id).await?;
                Ok(Answer::Ended(ended))
            }
            Op::DestroyDevice(which) => {
                let Some(user) = session.user().await? else {
                    return Ok(Answer::Done);
                };
                let devices = self.sessions.devices(session).await?;
                if !devices.is_empty() {
                    let device = &devices[which % devices.len()];
                    self.sessions.destroy_device(&user, &device.id).await?;
                }
                Ok(Answer::Done)
            }
        }
    }
}

impl Tickets {
    fn add(&self, ticket: LoginTicket) -> usize {
        let mut drawn = self.0.lock().unwrap();
        let number = drawn.ever;
        drawn.ever += 1;
        drawn.left.push((number, ticket));
        number
    }

    fn take(&self) -> Option<(usize, LoginTicket)> {
        self.0.lock().unwrap().left.pop()
    }
}
