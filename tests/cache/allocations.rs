//! What requests cost in allocations.
//!
//! Nobody listens to metrics or events; the same was asked before, so what a metric is called has
//! been put together. The request has an extension, as nearly all have.

use std::convert::Infallible;

use axum::body::Body;
use http::{
    HeaderValue, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HOST},
};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::{Broadcast, KeyValue, MemoryBackend},
    cache::{CacheLayer, CacheRule, RequestBody},
    policy::{Policy, Routes},
    testing::FaultBackend,
};

use crate::fixture::rule;

async fn inner(_: Request<RequestBody<Body>>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("{\"id\":1}"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    let fresh = HeaderValue::from_static("max-age=3600");
    response.headers_mut().insert(CACHE_CONTROL, fresh);
    Ok(response)
}

/// An extension as axum makes them.
#[derive(Clone)]
struct Routed;

fn request() -> Request<Body> {
    Request::get("/a")
        .header(HOST, "example.com")
        .extension(Routed)
        .body(Body::empty())
        .unwrap()
}

/// Allocations of the last of five requests for the same.
fn allocations(backend: impl KeyValue + Broadcast + Clone, policy: impl Policy<CacheRule>) -> u64 {
    let layer = CacheLayer::new(backend, policy).unwrap();
    let mut service = layer.layer(service_fn(inner));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut counted = 0;
    for _ in 0..5 {
        let request = request();
        let measured = allocation_counter::measure(|| {
            runtime.block_on(async {
                let response = service.call(request).await.unwrap();
                let body = Body::new(response.into_body());
                drop(axum::body::to_bytes(body, 1_000).await);
            });
        });
        counted = measured.count_total;
        // What goes on in the background is not the request's.
        runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
    }
    counted
}

/// What reading a body in this way allocates, and [`inner`] itself.
fn of_inner() -> u64 {
    let mut service = service_fn(inner);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (parts, _) = request().into_parts();
    let request = Request::from_parts(parts, RequestBody::from(bytes::Bytes::new()));
    let measured = allocation_counter::measure(|| {
        runtime.block_on(async {
            let response: Response<Body> = service.call(request).await.unwrap();
            let body = Body::new(response.into_body());
            drop(axum::body::to_bytes(body, 1_000).await);
        });
    });
    measured.count_total
}

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let routes = Routes::new().get("/b", rule());
    let passing = allocations(MemoryBackend::new(), routes);
    // The body goes through one box more, which is the test's.
    assert!(passing <= of_inner() + 1, "{passing} of {}", of_inner());
}

#[test]
fn a_hit_allocates_little() {
    let remote = FaultBackend::new(MemoryBackend::new()).seen_as_remote();
    let hit = allocations(remote, rule());
    println!("a hit on a remote backend allocates {hit} times, that backend's own included");
    assert!(hit <= MOST_OF_A_HIT, "{hit}");
    let hit = allocations(MemoryBackend::new(), rule());
    println!("a hit in memory allocates {hit} times, that backend's own included");
    assert!(hit <= MOST_OF_A_HIT, "{hit}");
}

const MOST_OF_A_HIT: u64 = 22;
