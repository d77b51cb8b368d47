//! The service that was polled ready is the one called, and no permit is lost.

use std::{sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use tower::{
    Layer as _, Service, ServiceExt as _, buffer::Buffer, limit::GlobalConcurrencyLimitLayer,
};
use tower_stash::{
    backend::MemoryBackend,
    concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule},
    policy::{KeyExtractor as _, header},
};

use crate::{http_client::request, strict::Strict};

fn one_at_once() -> ConcurrencyLimitLayer {
    let rule = ConcurrencyLimitRule::new("one", header("x-key").or_skip(), 1).unwrap();
    ConcurrencyLimitLayer::new(MemoryBackend::new(), rule).unwrap()
}

fn keyed() -> Request<Body> {
    let mut keyed = request(Method::GET, "/");
    keyed.headers_mut().insert("x-key", "k".parse().unwrap());
    keyed
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_called_and_none_on_a_denial() {
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = one_at_once().layer(inner);
    let mut running = Vec::new();
    // Passing, admitted, denied, and passing again.
    for (request, status) in [
        (request(Method::GET, "/"), StatusCode::OK),
        (keyed(), StatusCode::OK),
        (keyed(), StatusCode::TOO_MANY_REQUESTS),
        (request(Method::GET, "/"), StatusCode::OK),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
        running.push(response);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_denied_or_dropped_request_gives_its_permit_back() {
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = Buffer::new(one_at_once().layer(one_permit.layer(Strict::default())), 8);
    let running = service.ready().await.unwrap().call(keyed()).await.unwrap();
    for _ in 0..10 {
        let response = tokio::time::timeout(Duration::from_secs(5), async {
            service.ready().await.unwrap().call(keyed()).await.unwrap()
        });
        let response = response.await.expect("the permit is free");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    drop(running);
    for _ in 0..10 {
        drop(service.ready().await.unwrap().call(keyed()));
    }
    let free = tokio::time::timeout(Duration::from_secs(5), service.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}
