//! The service that was polled ready is the one called, and no permit is lost.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use tower::{
    Layer as _, Service, ServiceExt as _, buffer::Buffer, limit::GlobalConcurrencyLimitLayer,
};
use tower_stash::{
    backend::{MemoryBackend, Timeout},
    idempotency::{
        Execution, Idempotency, IdempotencyHandle, IdempotencyLayer, IdempotencyRule, RequestBody,
        ResponseBody,
    },
    policy::{KeyExtractor as _, Routes, header},
    testing::Fault,
};

use crate::{
    fixture::{faulty, post, rule, settled, sleep},
    strict::Strict,
};

type Inner =
    tower::util::BoxCloneSyncService<Request<RequestBody<Body>>, Response<Body>, Infallible>;
type Future = <Idempotency<Inner> as Service<Request<Body>>>::Future;

#[test]
fn layer_service_and_future_are_as_free_as_axum_and_tonic_need() {
    fn free<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + 'static>() {}
    fn same<E, S: Service<Request<Body>, Error = E>>() {}
    free::<IdempotencyLayer>();
    free::<Idempotency<Inner>>();
    free::<IdempotencyRule>();
    free::<IdempotencyHandle>();
    free::<Execution>();
    sendable::<Future>();
    sendable::<RequestBody<Body>>();
    sendable::<ResponseBody<Body>>();
    same::<Infallible, Idempotency<Inner>>();
}

fn layer(backend: impl tower_stash::backend::KeyValue) -> IdempotencyLayer {
    let routes = Routes::new().post("/orders", rule());
    IdempotencyLayer::new(backend, header("x-user").or_shared(), routes).unwrap()
}

/// Takes the body that the layer hands in.
fn strict(inner: Strict) -> Adapted {
    Adapted(inner)
}

/// [`Strict`] behind the layer.
#[derive(Clone)]
struct Adapted(Strict);

impl Service<Request<RequestBody<Body>>> for Adapted {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Strict as Service<Request<Body>>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        self.0.call(request.map(Body::new))
    }
}

fn other_path() -> Request<Body> {
    Request::post("/free").body(Body::empty()).unwrap()
}

fn without_key() -> Request<Body> {
    Request::post("/orders").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_called() {
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = layer(MemoryBackend::new()).layer(strict(inner));
    // Passing, running, replayed, another one, turned away, and passing again.
    for (request, status) in [
        (other_path(), 200),
        (post("a", ""), 200),
        (post("a", ""), 200),
        (post("b", ""), 200),
        (without_key(), 400),
        (other_path(), 200),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn who_is_turned_away_replayed_or_dropped_gives_the_permit_back() {
    let layer = layer(MemoryBackend::new());
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let limited = || layer.layer(one_permit.layer(strict(Strict::default())));
    let (mut service, mut other) = (Buffer::new(limited(), 8), Buffer::new(limited(), 8));
    for request in [|| without_key(), || post("a", ""), || post("a", "other")] {
        for _ in 0..3 {
            for service in [&mut service, &mut other] {
                let response = tokio::time::timeout(Duration::from_secs(5), async {
                    service
                        .ready()
                        .await
                        .unwrap()
                        .call(request())
                        .await
                        .unwrap()
                });
                response.await.expect("the permit is free");
            }
        }
    }
    for request in [without_key(), other_path(), post("a", ""), post("c", "")] {
        drop(service.ready().await.unwrap().call(request));
    }
    let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_while_the_backend_hangs_gives_its_permit_back() {
    let backend = faulty();
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = layer(backend.clone()).layer(one_permit.layer(strict(Strict::default())));
    for _ in 0..3 {
        backend.script([Fault::Hang]);
        let ready = tokio::time::timeout(Duration::from_secs(5), service.ready());
        let ready = ready.await.expect("the permit is free").unwrap();
        let call = ready.call(post("a", ""));
        let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(answer.is_err(), "it hangs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_waits_for_is_taken_back() {
    let backend = faulty();
    for fault in [Fault::HangAfter, Fault::LateReply(Duration::from_secs(5))] {
        let in_time = Timeout::new(backend.clone(), Duration::from_secs(20));
        let service = layer(in_time).layer(strict(Strict::default()));
        backend.script([fault]);
        let call = service.oneshot(post("a", ""));
        let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(answer.is_err());
        settled().await;
        sleep(1).await;
        // Not after a lease: another request may have the key at once.
        let service = layer(backend.clone()).layer(strict(Strict::default()));
        let answer = service.oneshot(post("a", "other")).await.unwrap();
        assert_eq!(answer.status(), 200, "{fault:?}");
        sleep(24 * 3_600 + 60).await;
    }
}
