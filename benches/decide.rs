//! Instructions of a decision in memory, counted by callgrind: the same on a busy machine as on an
//! idle one.
//!
//! `./scripts/bench` runs it, as `cargo bench --bench decide --all-features` does where valgrind
//! and `gungraun-runner` are installed.

#![allow(
    missing_docs,
    unnameable_types,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "macros write what is public here, and a benchmark fails by panicking"
)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use gungraun::prelude::*;
use http::{Request, Response};
use tower::{Layer as _, Service as _, service_fn};
use tower_stash::{
    backend::{Acquire, Decision, Limit, MemoryBackend, Quota, Quotas as _},
    key::{Key, KeyParts},
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{RateLimit, RateLimitLayer, RateLimitRule},
};

/// A backend that has admitted some requests, and the next one.
struct Stage {
    backend: MemoryBackend,
    request: Acquire,
}

fn stage(quotas: &[Quota], hits: u64) -> Stage {
    let limits: Vec<Limit> = quotas
        .iter()
        .enumerate()
        .map(|(number, quota)| Limit::new(number.to_string(), *quota).expect("it can work"))
        .collect();
    let subject = Key::custom("bench", &KeyParts::new().with("203.0.113.7"));
    let request = Acquire::new(subject, limits);
    let backend = MemoryBackend::new();
    for _ in 0..hits {
        at_once(backend.acquire(&request)).expect("memory is there");
    }
    Stage { backend, request }
}

fn fixed() -> Stage {
    stage(&[Quota::fixed(PLENTY, HOUR)], 10)
}

fn counter() -> Stage {
    stage(&[Quota::counter(PLENTY, HOUR)], 10)
}

fn log(hits: u64) -> Stage {
    stage(&[Quota::log(10_000, HOUR)], hits)
}

fn three_limits() -> Stage {
    let quotas = [
        Quota::fixed(PLENTY, HOUR),
        Quota::counter(PLENTY, HOUR),
        Quota::log(10_000, HOUR),
    ];
    stage(&quotas, 10)
}

fn denied() -> Stage {
    stage(&[Quota::sliding(10, HOUR)], 10)
}

#[library_benchmark]
#[bench::fixed(fixed())]
#[bench::counter(counter())]
#[bench::log_of_10(log(10))]
#[bench::log_of_1000(log(1_000))]
#[bench::three_limits(three_limits())]
#[bench::denied(denied())]
fn acquire(stage: Stage) -> (Decision, Stage) {
    let decision = at_once(black_box(&stage.backend).acquire(black_box(&stage.request)));
    // What is returned is dropped after the count.
    (decision.expect("memory is there"), stage)
}

type Inner = fn(Request<Body>) -> Ready<Result<Response<Body>, Infallible>>;
type Service<S> = tower::util::ServiceFn<S>;

fn inner(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

fn request() -> Request<Body> {
    let request = Request::get("/users/7").header("x-client", "203.0.113.7");
    request.body(Body::empty()).expect("a request")
}

fn bare() -> (Service<Inner>, Request<Body>) {
    (service_fn(inner as Inner), request())
}

fn behind_layer(pattern: &str) -> (RateLimit<Service<Inner>>, Request<Body>) {
    let quota = Quota::fixed(PLENTY, HOUR);
    let rule = RateLimitRule::new("rule", header("x-client").or_reject(), [("hour", quota)])
        .expect("a rule");
    let routes = Routes::new()
        .post("/login", rule.clone())
        .any(pattern, rule);
    let layer = RateLimitLayer::new(MemoryBackend::new(), routes).expect("a layer");
    let mut service = layer.layer(service_fn(inner as Inner));
    at_once(service.call(request())).expect("infallible");
    (service, request())
}

#[library_benchmark]
#[bench::no_layer(bare())]
fn service((mut service, request): (Service<Inner>, Request<Body>)) -> Response<Body> {
    at_once(black_box(&mut service).call(black_box(request))).expect("infallible")
}

#[library_benchmark]
#[bench::no_rule_matches(behind_layer("/api/{*rest}"))]
#[bench::fixed(behind_layer("/users/{id}"))]
fn layer(
    (mut service, request): (RateLimit<Service<Inner>>, Request<Body>),
) -> (Response<Body>, RateLimit<Service<Inner>>) {
    let response = at_once(black_box(&mut service).call(black_box(request)));
    (response.expect("infallible"), service)
}

/// The result of a future that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory never waits"),
    }
}

const PLENTY: u64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

library_benchmark_group!(name = decide, benchmarks = [acquire, service, layer]);
main!(library_benchmark_groups = decide);
