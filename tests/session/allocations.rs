//! What requests cost in allocations.
//!
//! Nobody listens to metrics or events. The inner service's response has a header, as nearly all
//! have. Of the eleven of a request that reads, four are the request's session and its mark, one is
//! the call's, three are the record's, and three are the first extension of the response.

use std::{
    convert::Infallible,
    future::Future as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, Uri, header::CONTENT_TYPE};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::Routes,
    session::{Session, SessionLayer},
    testing::ManualClock,
};

use crate::fixture::web;

async fn inner(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let session = request.extensions().get::<Session>();
    match (session, request.uri().path()) {
        (Some(session), "/read") => {
            let cart: Option<u64> = session.get("cart").await.unwrap();
            assert_eq!(cart, Some(7));
        }
        (Some(session), "/write") => session.insert("cart", 7).await.unwrap(),
        _ => {}
    }
    let mut response = Response::new(Body::empty());
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}

/// What [`inner`] allocates for its one header.
const OF_INNER: u64 = 2;

fn layer() -> SessionLayer {
    let backend = MemoryBackend::new().with_clock(ManualClock::new());
    let routes = Routes::new()
        .any("/read", web())
        .any("/write", web())
        .any("/static", web());
    SessionLayer::new(backend, routes).unwrap()
}

/// Allocations of one call that need not wait, without those of making the request.
fn counted<S>(service: &mut S, request: Request<Body>) -> u64
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let counted = allocation_counter::measure(|| {
        let mut response = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = response
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("nothing to wait for")
        };
        std::mem::forget(response);
    });
    counted.count_total - OF_INNER
}

fn request(path: &str, cookie: &str) -> Request<Body> {
    // As a server's are, which has read them into a buffer: clones share what they stand in.
    let uri: Uri = path.parse().unwrap();
    let mut request = Request::get(uri.clone());
    // As a server's requests have: without it, the first extension is one allocation more.
    request.extensions_mut().unwrap().insert(());
    request
        .header("cookie", cookie)
        .body(Body::empty())
        .unwrap()
}

/// The cookie of a session, and the layer that knows it.
fn session() -> (SessionLayer, String) {
    let layer = layer();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let service = layer.layer(service_fn(inner));
    let begun = runtime
        .block_on(service.oneshot(request("/write", "a=b")))
        .unwrap();
    let line = begun.headers()["set-cookie"].to_str().unwrap();
    let (pair, _) = line.split_once(';').unwrap();
    (layer, pair.to_owned())
}

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let (layer, cookie) = session();
    let mut service = layer.layer(service_fn(inner));
    assert_eq!(counted(&mut service, request("/elsewhere", &cookie)), 0);
}

#[test]
fn a_request_that_asks_nothing_of_its_session_allocates_four_times() {
    let (layer, cookie) = session();
    let mut service = layer.layer(service_fn(inner));
    counted(&mut service, request("/static", &cookie));
    for cookie in ["a=b", &cookie] {
        let count = counted(&mut service, request("/static", cookie));
        assert!(count <= 4, "{count} of {cookie}");
    }
}

#[test]
fn a_request_that_reads_allocates_eleven_times() {
    let (layer, cookie) = session();
    let mut service = layer.layer(service_fn(inner));
    counted(&mut service, request("/read", &cookie));
    let count = counted(&mut service, request("/read", &cookie));
    assert!(count <= 11, "{count}");
}
