//! The service that was polled ready is the one called, and no permit is lost.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use tower::{
    Layer as _, Service, ServiceExt as _,
    buffer::Buffer,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

use crate::http_client::request;

/// Panics when it is called without having been polled ready; its clones are not ready.
#[derive(Debug, Default)]
struct Strict {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(self.is_ready, "called without having been polled ready");
        self.is_ready = false;
        self.calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

fn one_a_minute() -> RateLimitLayer {
    let quota = Quota::sliding(1, Duration::from_secs(60));
    let rule = RateLimitRule::new("one", header("x-key").or_skip(), [("minute", quota)]).unwrap();
    RateLimitLayer::new(MemoryBackend::new(), rule).unwrap()
}

fn keyed() -> Request<Body> {
    let mut keyed = request(Method::GET, "/");
    keyed.headers_mut().insert("x-key", "k".parse().unwrap());
    keyed
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_called() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut service = one_a_minute().layer(Strict {
        is_ready: false,
        calls: Arc::clone(&calls),
    });
    // Passing, admitted, denied, and passing again.
    for (request, status) in [
        (request(Method::GET, "/"), StatusCode::OK),
        (keyed(), StatusCode::OK),
        (keyed(), StatusCode::TOO_MANY_REQUESTS),
        (request(Method::GET, "/"), StatusCode::OK),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(
        calls.load(Ordering::Relaxed),
        3,
        "a denied request does not reach the service"
    );
}

#[tokio::test]
async fn a_denied_or_dropped_request_gives_its_permit_back() {
    let inner = ConcurrencyLimit::new(Strict::default(), 1);
    let mut service = Buffer::new(one_a_minute().layer(inner), 8);
    for _ in 0..10 {
        let response = tokio::time::timeout(Duration::from_secs(5), async {
            service.ready().await.unwrap().call(keyed()).await.unwrap()
        });
        response.await.expect("the permit is free");
    }
    for _ in 0..10 {
        drop(service.ready().await.unwrap().call(keyed()));
    }
    let free = tokio::time::timeout(Duration::from_secs(5), service.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test]
async fn a_request_without_its_key_gives_its_permit_back() {
    let quota = Quota::sliding(1, Duration::from_secs(60));
    let rule = RateLimitRule::new("one", header("x-key").or_reject(), [("minute", quota)]).unwrap();
    let layer = RateLimitLayer::new(MemoryBackend::new(), rule).unwrap();
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut idle = layer.layer(one_permit.layer(Strict::default()));
    let mut other = layer.layer(one_permit.layer(Strict::default()));
    let response = idle
        .ready()
        .await
        .unwrap()
        .call(request(Method::GET, "/"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}
