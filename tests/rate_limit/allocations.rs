//! What a request costs that no rule names.

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response};
use tower::{Layer as _, Service as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Policy, Routes, from_extension, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

use crate::http_client::request;

fn inner(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

/// Allocations of one call through the layer, without those of making the request.
fn allocations(policy: impl Policy<RateLimitRule>, request: Request<Body>) -> u64 {
    let layer = RateLimitLayer::new(MemoryBackend::new(), policy).unwrap();
    let mut service = layer.layer(service_fn(inner));
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
