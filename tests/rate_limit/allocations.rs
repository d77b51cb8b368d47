//! What requests cost in allocations, which are most of what a decision in memory takes.
//!
//! Nobody listens to metrics or events, and the clock stands still. The inner service's response
//! has a header, as nearly all have; the first header of a response costs two allocations more. Of
//! the five of an admitted request one is the subject's, one the call's, two are the limits'
//! standing in a decision and in a header, and one is the labels of a metric.

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::{MemoryBackend, Quotas},
    policy::{KeyExtractor as _, Policy, Routes, from_extension, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    testing::{FaultBackend, ManualClock},
};

use crate::{fixture::keyed, http_client::request};

fn inner(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    let mut response = Response::new(Body::empty());
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    ready(Ok(response))
}

/// What [`inner`] allocates for its one header.
const OF_INNER: u64 = 2;

/// Allocations of a request that passes.
fn allocations(policy: impl Policy<RateLimitRule>, request: Request<Body>) -> u64 {
    let layer = RateLimitLayer::new(MemoryBackend::new(), policy).unwrap();
    counted(&mut layer.layer(service_fn(inner)), request) - OF_INNER
}

/// Allocations of one call, without those of making the request.
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
    counted.count_total
}

/// Allocations of the fourth request of a client, once those before it have made room.
fn allocations_of_the_fourth(backend: impl Quotas, quotas: &[(&'static str, Quota)]) -> u64 {
    let rule = RateLimitRule::new("rule", header("x-key").or_skip(), quotas.to_vec()).unwrap();
    let layer = RateLimitLayer::new(backend, rule).unwrap();
    let mut service = layer.layer(service_fn(inner));
    // The first requests of a rule are looked at more closely.
    for client in 0..100 {
        counted(&mut service, keyed(&client.to_string()));
    }
    for _ in 0..3 {
        counted(&mut service, keyed("ada"));
    }
    counted(&mut service, keyed("ada"))
}

fn memory() -> MemoryBackend {
    MemoryBackend::new().with_clock(ManualClock::new())
}

fn rule() -> RateLimitRule {
    let quota = Quota::sliding(5, Duration::from_secs(60));
    RateLimitRule::new("rule", header("x-key").or_skip(), [("minute", quota)]).unwrap()
}

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let routes = Routes::new()
        .post("/login", rule())
        .any("/api/{*rest}", rule());
    assert_eq!(allocations(routes, request(Method::GET, "/users/7")), 0);
    let or = Routes::new()
        .post("/login", rule())
        .or(from_extension::<RateLimitRule>());
    assert_eq!(allocations(or, request(Method::GET, "/users/7")), 0);
    assert_eq!(
        allocations(
            |_: &http::request::Parts| None,
            request(Method::GET, "/users/7")
        ),
        0
    );
}

#[test]
fn an_admitted_request_allocates_three_times() {
    let log = [("a", Quota::sliding(5, HOUR))];
    assert_eq!(allocations_of_the_fourth(memory(), &log), OF_INNER + 3);
}

#[test]
fn more_limits_allocate_no_more() {
    let three = [
        ("a", Quota::sliding(5, HOUR)),
        ("b", Quota::fixed(5, HOUR)),
        ("c", Quota::token_bucket(5, HOUR)),
    ];
    assert_eq!(allocations_of_the_fourth(memory(), &three), OF_INNER + 3);
}

#[test]
fn a_denied_request_allocates_sixteen_times() {
    let log = [("a", Quota::sliding(2, HOUR))];
    assert_eq!(allocations_of_the_fourth(memory(), &log), 16);
}

#[test]
fn a_request_denied_from_the_deny_cache_allocates_fifteen_times() {
    let log = [("a", Quota::sliding(1, HOUR))];
    let backend = FaultBackend::new(memory()).seen_as_remote();
    assert_eq!(allocations_of_the_fourth(backend, &log), 15);
}

const HOUR: Duration = Duration::from_secs(3_600);
