//! The handler: what it answers says which version it is of, and for whom.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::time::sleep;
use tower_stash::cache::{CacheTags, RequestBody};

use super::{
    schedule::{Behaviour, Ends, Page, Schedule, Who},
    stage::{Moment, Order},
};

/// What handlers of all instances share.
#[derive(Debug)]
pub(super) struct Origin {
    pages: [Page; 2],
    calls: Vec<Behaviour>,
    order: Arc<Order>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    versions: [u64; 2],
    made: Vec<Made>,
    writes: Vec<Write>,
    is_calm: bool,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) request: usize,
    pub(super) page: usize,
    /// If the page is one of several.
    pub(super) language: Option<String>,
    pub(super) began: Moment,
    pub(super) version: u64,
    pub(super) who: Who,
    pub(super) is_public: bool,
    pub(super) behaviour: Behaviour,
    pub(super) body: String,
}

/// A write by a request.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) request: usize,
    pub(super) version: u64,
}

/// The handler's error, and a broken body's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

impl Origin {
    pub(super) fn new(schedule: &Schedule, order: &Arc<Order>) -> Arc<Self> {
        Arc::new(Self {
            pages: schedule.pages,
            calls: schedule.calls.clone(),
            order: Arc::clone(order),
            state: Mutex::default(),
        })
    }

    /// From now on it does what it should, at once.
    pub(super) fn calm_down(&self) {
        self.state.lock().unwrap().is_calm = true;
    }

    /// A page has a new version; which one each page has now.
    pub(super) fn write(&self, page: usize) -> [u64; 2] {
        let mut state = self.state.lock().unwrap();
        state.versions[page] += 1;
        state.versions
    }

    pub(super) fn made(&self) -> Vec<Made> {
        self.state.lock().unwrap().made.clone()
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        self.state.lock().unwrap().writes.clone()
    }

    pub(super) async fn answer<Q>(
        self: Arc<Self>,
        request: Request<RequestBody<Q>>,
    ) -> Result<Response, Failed> {
        let (parts, _) = request.into_parts();
        let number = text(&parts.headers, "x-request").parse().unwrap();
        let page = usize::from(parts.uri.path() == "/b");
        let (call, made, shape) = self.begin(number, page, &parts.headers);
        sleep(made.behaviour.takes).await;
        if made.behaviour.ends == Ends::Error {
            return Err(Failed);
        }
        let response = Response::builder();
        if made.behaviour.ends == Ends::Unavailable {
            let response = response.status(503).header("x-call", call);
            return Ok(response.body("unavailable".into()).unwrap());
        }
        if parts.method == Method::POST {
            let version = self.write(page)[page];
            let write = Write {
                request: number,
                version,
            };
            self.state.lock().unwrap().writes.push(write);
            let response = response.status(StatusCode::NO_CONTENT);
            return Ok(response.body(Body::empty()).unwrap());
        }
        let etag = format!("\"{}-{:?}\"", made.version, made.language);
        let mut response = response.header("cache-control", cache_control(&made, shape));
        if shape.varies {
            response = response.header("vary", "accept-language");
        }
        let is_valid = shape.has_etag && made.behaviour.ends == Ends::Whole;
        if shape.has_etag {
            response = response.header("etag", &etag);
        }
        if is_valid && text(&parts.headers, "if-none-match") == etag {
            let response = response.status(StatusCode::NOT_MODIFIED);
            return Ok(response.body(Body::empty()).unwrap());
        }
        let tags = CacheTags::new([format!("page:{page}"), "pages".into()]);
        let response = response.header("x-call", call).extension(tags);
        Ok(response.body(body(&made)).unwrap())
    }

    fn begin(&self, request: usize, page: usize, headers: &HeaderMap) -> (usize, Made, Page) {
        let mut state = self.state.lock().unwrap();
        let call = state.made.len();
        let mut shape = self.pages[page];
        let mut behaviour = self.calls.get(call).copied().unwrap_or(Behaviour::QUICK);
        if state.is_calm {
            behaviour = Behaviour::QUICK;
            shape = Page {
                varies: shape.varies,
                ..Page::PLAIN
            };
        }
        let version = state.versions[page];
        let language = shape.varies.then(|| text(headers, "accept-language"));
        let who = if headers.contains_key("authorization") {
            Who::Authorized
        } else if headers.contains_key("cookie") {
            Who::Cookie
        } else {
            Who::Anybody
        };
        let body = format!("call {call}: page {page} in {language:?}, version {version}");
        let made = Made {
            request,
            page,
            language,
            began: self.order.moment(),
            version,
            who,
            is_public: shape.is_public,
            behaviour,
            body,
        };
        state.made.push(made.clone());
        (call, made, shape)
    }
}

impl Made {
    /// Whether only the one who asked may have it.
    pub(super) fn is_for_one(&self) -> bool {
        let is_somebodys = self.who != Who::Anybody && !self.is_public;
        self.behaviour.ends == Ends::Private || is_somebodys
    }
}

fn cache_control(made: &Made, shape: Page) -> String {
    let mut directives = vec![format!("max-age={}", shape.max_age)];
    if shape.while_revalidate > 0 {
        directives.push(format!("stale-while-revalidate={}", shape.while_revalidate));
    }
    if shape.if_error > 0 {
        directives.push(format!("stale-if-error={}", shape.if_error));
    }
    if made.behaviour.ends == Ends::Private {
        directives.push("private".into());
    } else if shape.is_public {
        directives.push("public".into());
    }
    directives.join(", ")
}

/// In three frames.
fn body(made: &Made) -> Body {
    let text = Bytes::from(made.body.clone());
    let third = text.len() / 3;
    let mut frames = vec![
        Ok(text.slice(..third)),
        Ok(text.slice(third..third * 2)),
        Ok(text.slice(third * 2..)),
    ];
    if made.behaviour.ends == Ends::BrokenBody {
        frames.truncate(2);
        frames.push(Err(Failed));
    }
    let pause = made.behaviour.pause;
    let stream = stream::unfold(frames.into_iter(), move |mut frames| async move {
        let frame = frames.next()?;
        if pause > Duration::ZERO {
            sleep(pause).await;
        }
        Some((frame, frames))
    });
    Body::from_stream(stream)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().into()
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}
