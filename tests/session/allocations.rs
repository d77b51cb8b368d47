//! What requests cost in allocations.
//!
//! Nobody listens to metrics or events, and the clock stands still; the same was asked before, so
//! what a metric is called has been put together. The request has an extension
//! and the response a header, as nearly all have; the first extension of a request costs two
//! allocations more, for their table.

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::body::Body;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{Policy, Routes},
    session::{Session, SessionLayer, SessionRule},
    testing::ManualClock,
};

/// What a request does with its session, by its path.
async fn inner(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let session = request.extensions().get::<Session>().cloned();
    if let Some(session) = session {
        match request.uri().path() {
            "/begin" => {
                for name in ["a", "b", "c"] {
                    session.insert(name, 1).await.unwrap();
                }
            }
            "/read" => assert_eq!(session.get::<u64>("a").await.unwrap(), Some(1)),
            "/write" => {
                let number: u64 = session.get("a").await.unwrap().unwrap();
                session.insert("a", number + 1).await.unwrap();
            }
            _ => {}
        }
    }
    let mut response = Response::new(Body::empty());
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

/// What [`inner`] allocates for its one header.
const OF_INNER: u64 = 2;

/// An extension as axum makes them.
#[derive(Clone)]
struct Routed;

fn request(path: &str, cookie: Option<&HeaderValue>) -> Request<Body> {
    let request = Request::get(path).extension(Routed);
    let mut request = request.body(Body::empty()).unwrap();
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.clone());
    }
    request
}

/// Allocations of one call, without those of making the request, and the response.
fn counted<S>(service: &mut S, request: Request<Body>) -> (u64, Response<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut response = None;
    let counted = allocation_counter::measure(|| {
        response = Some(at_once(service.call(request)));
    });
    let Ok(response) = response.unwrap();
    (counted.count_total - OF_INNER, response)
}

/// Allocations of a request of a client that has a session with three attributes.
fn allocations(path: &str) -> u64 {
    let backend = MemoryBackend::new().with_clock(ManualClock::new());
    let layer = SessionLayer::new(backend, rule()).unwrap();
    let mut service = layer.layer(service_fn(inner));
    let (_, begun) = counted(&mut service, request("/begin", None));
    let cookie = begun.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = HeaderValue::from_str(cookie.split_once(';').unwrap().0).unwrap();
    counted(&mut service, request(path, Some(&cookie)));
    counted(&mut service, request(path, Some(&cookie))).0
}

/// Allocations of a request that comes without a cookie and asks nothing of its session.
fn allocations_untouched(policy: impl Policy<SessionRule>) -> u64 {
    let layer = SessionLayer::new(MemoryBackend::new(), policy).unwrap();
    let mut service = layer.layer(service_fn(inner));
    counted(&mut service, request("/", None));
    counted(&mut service, request("/", None)).0
}

fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

fn rule() -> SessionRule {
    SessionRule::new("web").unwrap()
}

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let routes = Routes::new()
        .post("/login", rule())
        .any("/api/{*rest}", rule());
    assert_eq!(allocations_untouched(routes), 0);
}

#[test]
fn a_request_that_asks_nothing_of_its_session_allocates_three_times() {
    assert_eq!(allocations_untouched(rule()), 3);
    assert_eq!(allocations("/"), 3);
}

#[test]
fn a_request_that_reads_its_session_allocates_ten_times() {
    assert_eq!(allocations("/read"), 10);
}

#[test]
fn a_request_that_reads_and_writes_its_session_allocates_45_times() {
    assert_eq!(allocations("/write"), 45);
}
