//! Instructions of a decision in memory, and of a request with a session or an idempotency key there,
//! counted by callgrind: the same on a busy machine as on an idle one.
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
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use gungraun::prelude::*;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, Service as _, service_fn, util::ServiceFn};
use tower_stash::{
    backend::{Acquire, Decision, Limit, MemoryBackend, Quota, Quotas as _},
    idempotency::{
        Idempotency, IdempotencyLayer, IdempotencyRule, KeyPresence, Recovery, RequestBody,
        ResponseBody,
    },
    key::{Key, KeyParts},
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{RateLimit, RateLimitLayer, RateLimitRule},
    session::{Session, SessionLayer, SessionRule, SessionService},
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
type Service<S> = ServiceFn<S>;

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

type Handler = fn(Request<Body>) -> Answering;
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Does with its session what the path says.
fn handler(request: Request<Body>) -> Answering {
    Box::pin(async move {
        let session = request.extensions().get::<Session>().cloned();
        match (request.uri().path(), session) {
            ("/begin", Some(session)) => {
                for number in 0..10 {
                    let name = format!("profile-{number}");
                    session
                        .insert(&name, "p".repeat(100))
                        .await
                        .expect("it fits");
                }
                session.insert("visits", 1).await.expect("it fits");
            }
            ("/read", Some(session)) => {
                let visits: Option<u64> = session.get("visits").await.expect("memory is there");
                black_box(visits);
            }
            ("/write", Some(session)) => {
                let visits: Option<u64> = session.get("visits").await.expect("memory is there");
                let visits = visits.map(|visits| visits + 1);
                session.insert("visits", visits).await.expect("it fits");
            }
            _ => {}
        }
        Ok(Response::new(Body::empty()))
    })
}

/// A request of a client whose session holds 1.2 KB.
fn with_session(path: &str) -> (SessionService<Service<Handler>>, Request<Body>) {
    let rule = SessionRule::new("web").expect("a rule");
    let layer = SessionLayer::new(MemoryBackend::new(), rule).expect("a layer");
    let mut service = layer.layer(service_fn(handler as Handler));
    let begun = at_once(service.call(get("/begin", None))).expect("infallible");
    let cookie = begun.headers().get(SET_COOKIE).expect("a cookie");
    let token = cookie.as_bytes().split(|byte| *byte == b';').next();
    let cookie = token.and_then(|token| HeaderValue::from_bytes(token).ok());
    at_once(service.call(get("/read", cookie.clone()))).expect("infallible");
    (service, get(path, cookie))
}

fn without_session() -> (Service<Handler>, Request<Body>) {
    (service_fn(handler as Handler), get("/read", None))
}

fn get(path: &str, cookie: Option<HeaderValue>) -> Request<Body> {
    let mut request = Request::get(path).body(Body::empty()).expect("a request");
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie);
    }
    request
}

#[library_benchmark]
#[bench::no_layer(without_session())]
fn handler_alone((mut service, request): (Service<Handler>, Request<Body>)) -> Response<Body> {
    at_once(black_box(&mut service).call(black_box(request))).expect("infallible")
}

#[library_benchmark]
#[bench::untouched(with_session("/"))]
#[bench::read(with_session("/read"))]
#[bench::read_and_write(with_session("/write"))]
fn session(
    (mut service, request): (SessionService<Service<Handler>>, Request<Body>),
) -> (Response<Body>, SessionService<Service<Handler>>) {
    let response = at_once(black_box(&mut service).call(black_box(request)));
    (response.expect("infallible"), service)
}

type Protected = Idempotency<Service<Once>>;
type Once = fn(Request<RequestBody<Body>>) -> Ready<Result<Response<Body>, Infallible>>;

/// Answers 1 KB.
fn once(_: Request<RequestBody<Body>>) -> Ready<Result<Response<Body>, Infallible>> {
    let mut response = Response::new(Body::from(vec![b'r'; 1_024]));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    ready(Ok(response))
}

/// A request with this key, after one with another key and one with `replayed`; and the runtime whose
/// timers and tasks they need.
fn keyed(path: &str, key: Option<&str>) -> (Runtime, Protected, Request<Body>) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let rule = IdempotencyRule::new("orders", Recovery::ReExecute).expect("a rule");
    let optional = rule.clone().with_key(KeyPresence::Optional);
    let routes = Routes::new()
        .post("/orders", rule)
        .post("/optional", optional);
    let scope = header("x-client").or_reject();
    let layer = IdempotencyLayer::new(MemoryBackend::new(), scope, routes).expect("a layer");
    let mut service = layer.layer(service_fn(once as Once));
    for key in ["8e03978e-40d5-43dd-bc93-6894a57f9324", REPLAYED] {
        answered(&runtime, &mut service, order("/orders", Some(key)));
    }
    (runtime, service, order(path, key))
}

fn order(path: &str, key: Option<&str>) -> Request<Body> {
    let mut request = Request::post(path)
        .header("x-client", "203.0.113.7")
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, ORDER.len());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Body::from(ORDER)).expect("a request")
}

#[library_benchmark]
#[bench::no_rule(keyed("/users/7", Some(REPLAYED)))]
#[bench::no_key(keyed("/optional", None))]
#[bench::replay(keyed("/orders", Some(REPLAYED)))]
#[bench::run(keyed("/orders", Some("0c6ae7f1-9a5d-4b5e-8f02-3d1f7a0e5b66")))]
fn idempotency(
    (runtime, mut service, request): (Runtime, Protected, Request<Body>),
) -> (Response<ResponseBody<Body>>, Protected, Runtime) {
    let response = answered(&runtime, black_box(&mut service), black_box(request));
    (response, service, runtime)
}

/// Not in the function above: to enter a future that is written there would end its count.
fn answered(
    runtime: &Runtime,
    service: &mut Protected,
    request: Request<Body>,
) -> Response<ResponseBody<Body>> {
    let answer = async { service.call(request).await };
    runtime.block_on(answer).expect("infallible")
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

/// A key whose answer is there.
const REPLAYED: &str = "3f0b6cc8-5f3e-4d2c-9a57-1e8c7d9c2b11";

const ORDER: &str = r#"{"customer":"c-00042","items":[{"sku":"apple","count":3}]}"#;

library_benchmark_group!(
    name = decide,
    benchmarks = [acquire, service, layer, handler_alone, session, idempotency]
);
main!(library_benchmark_groups = decide);
