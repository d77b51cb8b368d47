//! What a request costs in allocations.

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Policy, Routes, from_extension, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

use crate::{fixture::keyed, http_client::request};

fn inner(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

/// Allocations of one call through the layer, without those of making the request.
fn allocations(policy: impl Policy<RateLimitRule>, request: Request<Body>) -> u64 {
    let layer = RateLimitLayer::new(MemoryBackend::new(), policy).unwrap();
    allocations_of(&mut layer.layer(service_fn(inner)), request)
}

fn allocations_of(
    service: &mut impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    request: Request<Body>,
) -> u64 {
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

/// Of these seven, two are the response's header map, which most services have made already; the
/// others are the subject, the call, the limits' standing in a decision and in a header, and the
/// labels of a metric.
#[test]
fn a_request_that_is_counted_in_memory_allocates_seven_times() {
    let layer = RateLimitLayer::new(MemoryBackend::new(), rule()).unwrap();
    let mut service = layer.layer(service_fn(inner));
    // The first requests of a rule are looked at more closely.
    for client in 0..100 {
        allocations_of(&mut service, keyed(&client.to_string()));
    }
    allocations_of(&mut service, keyed("ada"));
    assert_eq!(allocations_of(&mut service, keyed("ada")), 7);
}
