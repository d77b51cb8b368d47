//! What requests cost in allocations.
//!
//! Nobody listens to metrics or events, and the clock stands still; the same was asked before, so
//! what a metric is called has been put together. The request has an extension, as nearly all have.

use std::convert::Infallible;

use axum::body::Body;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, LOCATION},
};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    idempotency::{IdempotencyLayer, IdempotencyRule, KeyPresence, RequestBody, Unrecorded},
    policy::{KeyExtractor as _, Policy, Routes, header},
    testing::ManualClock,
};

use crate::fixture::{never, rule};

async fn inner(_: Request<RequestBody<Body>>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("{\"id\":1}"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    let place = HeaderValue::from_static("/orders/1");
    response.headers_mut().insert(LOCATION, place);
    Ok(response)
}

/// What [`inner`] allocates for its headers and its body.
const OF_INNER: u64 = 3;

/// An extension as axum makes them.
#[derive(Clone)]
struct Routed;

fn request(key: Option<&'static str>) -> Request<Body> {
    let mut request = Request::post("/orders").extension(Routed);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request
        .header("x-user", "ada")
        .header("content-type", "application/json")
        .body(Body::from("{\"sku\":\"apple\"}"))
        .unwrap()
}

/// Allocations of the last of requests with these keys.
fn allocations(policy: impl Policy<IdempotencyRule>, keys: &[Option<&'static str>]) -> u64 {
    let backend = MemoryBackend::new().with_clock(ManualClock::new());
    let layer = IdempotencyLayer::new(backend, header("x-user").or_reject(), policy).unwrap();
    let mut service = layer.layer(service_fn(inner));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut counted = 0;
    for key in keys {
        let request = request(*key);
        let measured = allocation_counter::measure(|| {
            runtime.block_on(async {
                drop(service.call(request).await);
            });
        });
        counted = measured.count_total;
    }
    counted
}

/// So often that what is made once has been made, also for replays.
const WARM: [Option<&str>; 4] = [Some("a"), Some("b"), Some("b"), Some("b")];

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let routes = Routes::new()
        .post("/payments", rule())
        .patch("/orders", rule());
    assert_eq!(allocations(routes, &[None, Some("a")]) - OF_INNER, 0);
}

#[test]
fn a_request_without_a_key_where_none_is_needed_allocates_nothing() {
    let optional = rule().with_key(KeyPresence::Optional);
    assert_eq!(allocations(optional, &[None, None]) - OF_INNER, 0);
}

#[test]
fn a_replay_allocates_11_times_at_most() {
    let replay = allocations(rule(), &WARM);
    assert!(replay <= 11, "{replay}");
}

#[test]
fn a_run_allocates_30_times_at_most() {
    let run = allocations(rule(), &[Some("a"), Some("b"), Some("c")]) - OF_INNER;
    assert!(run <= 30, "{run}");
}

#[test]
fn a_run_that_is_not_repeated_allocates_36_times_at_most() {
    let rule = never(Unrecorded::Withhold);
    let run = allocations(rule, &[Some("a"), Some("b"), Some("c")]) - OF_INNER;
    assert!(run <= 36, "{run}");
}
