//! A limited service whose responses end when the test says.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{MemoryBackend, Slots},
    concurrency_limit::{
        ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimitRule, ResponseBody,
    },
    policy::{KeyExtractor as _, header},
    testing::{FaultBackend, ManualClock},
};

use crate::http_client::request;

pub(crate) type Faulty = FaultBackend<MemoryBackend>;
pub(crate) type Answer = Response<ResponseBody<Body>>;

/// A backend that fails on demand, and its clock.
pub(crate) fn faulty() -> (Faulty, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    (FaultBackend::new(backend), clock)
}

/// So many requests of each `x-key` at once, with the default lease.
pub(crate) fn rule(limit: u64) -> ConcurrencyLimitRule {
    ConcurrencyLimitRule::new("api", header("x-key").or_shared(), limit).unwrap()
}

pub(crate) fn layer(backend: impl Slots, rule: ConcurrencyLimitRule) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(backend, rule).unwrap()
}

/// Answers at once, with a body that never ends.
pub(crate) fn endless(
    layer: &ConcurrencyLimitLayer,
) -> ConcurrencyLimit<
    impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
    + use<>,
> {
    layer.layer(service_fn(|_: Request<Body>| async {
        Ok(Response::new(Body::from_stream(stream::pending::<
            Result<Bytes, Infallible>,
        >())))
    }))
}

/// The answer to one request to a service that answers with this body.
pub(crate) async fn answer_with(layer: &ConcurrencyLimitLayer, body: Body) -> Answer {
    let body = Arc::new(Mutex::new(Some(body)));
    let service = service_fn(move |_: Request<Body>| {
        let body = body.lock().unwrap().take().expect("one request");
        ready(Ok(Response::new(body)))
    });
    get(&layer.layer(service)).await
}

/// Sends a request into a service.
pub(crate) async fn get<S, B>(service: &S) -> Response<B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request(Method::GET, "/")).await;
    response
}

/// Whether a slot of a limit is free: tries, and gives it back.
pub(crate) async fn is_free(layer: &ConcurrencyLimitLayer) -> bool {
    let service = endless(layer);
    let response = timeout(Duration::from_secs(10), get(&service)).await;
    response.expect("the backend answers").status() == StatusCode::OK
}

/// A body that the test feeds.
pub(crate) fn fed() -> (mpsc::UnboundedSender<Result<Bytes, std::io::Error>>, Body) {
    let (feed, mut frames) = mpsc::unbounded_channel();
    let body = Body::from_stream(stream::poll_fn(move |cx| frames.poll_recv(cx)));
    (feed, body)
}

/// The next frame of a body, if it has one.
pub(crate) async fn frame(answer: &mut Answer) -> Option<Result<Bytes, axum::Error>> {
    let frame = answer.body_mut().frame().await?;
    Some(frame.map(|frame| frame.into_data().expect("data")))
}

/// Lets time pass, on the backend's clock and on tokio's.
pub(crate) async fn pass(clock: &ManualClock, time: Duration) {
    let step = Duration::from_millis(500);
    for _ in 0..time.as_millis() / step.as_millis() {
        clock.advance(step);
        tokio::time::sleep(step).await;
    }
    // What is due just now comes first.
    tokio::time::sleep(Duration::from_millis(5)).await;
}

pub(crate) const LEASE: Duration = ConcurrencyLimitRule::DEFAULT_LEASE;
