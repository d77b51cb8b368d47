//! The service that was polled ready is the one called, and no permit is lost.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer as _, Service, ServiceExt as _, limit::GlobalConcurrencyLimitLayer};
use tower_stash::{
    backend::{Broadcast, KeyValue},
    cache::{
        Cache, CacheLayer, CacheOutcome, CacheRule, CacheTags, OutcomeKind, RequestBody,
        ResponseBody,
    },
};

use crate::fixture::{faulty, get, memory, request, response, rule, settled, sleep};

type Inner =
    tower::util::BoxCloneSyncService<Request<RequestBody<Body>>, Response<Body>, Infallible>;
type Future = <Cache<Inner> as Service<Request<Body>>>::Future;

#[test]
fn layer_service_and_future_are_as_free_as_axum_and_tonic_need() {
    fn free<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + 'static>() {}
    fn same<E, S: Service<Request<Body>, Error = E>>() {}
    free::<CacheLayer>();
    free::<Cache<Inner>>();
    free::<CacheRule>();
    free::<CacheTags>();
    free::<CacheOutcome>();
    sendable::<Future>();
    sendable::<RequestBody<Body>>();
    sendable::<ResponseBody<Body>>();
    same::<Infallible, Cache<Inner>>();
}

/// Panics when it is called without having been polled ready; its clones are not ready. What it
/// answers can be stored.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<RequestBody<Body>>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        assert!(self.is_ready, "called without having been polled ready");
        self.is_ready = false;
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            let said = [
                ("cache-control", "max-age=5, stale-while-revalidate=60"),
                ("etag", "\"1\""),
            ];
            Ok(response(200, &said, format!("call {call}")))
        })
    }
}

fn layer(backend: impl KeyValue + Broadcast + Clone) -> CacheLayer {
    CacheLayer::new(backend, rule()).unwrap()
}

async fn send<S>(service: &mut S, request: Request<Body>) -> Option<OutcomeKind>
where
    S: Service<Request<Body>, Response = Response<ResponseBody<Body>>, Error = Infallible>,
{
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    let kind = response
        .extensions()
        .get()
        .map(|outcome: &CacheOutcome| outcome.kind);
    let body = Body::new(response.into_body());
    axum::body::to_bytes(body, usize::MAX).await.unwrap();
    settled().await;
    kind
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_polled_ready_is_the_one_called() {
    let inner = Strict::default();
    let calls = Arc::clone(&inner.calls);
    let mut service = layer(memory()).layer(inner);
    for (asked, kind) in [
        (request("OPTIONS", "/a", &[]), None),
        (
            get("/a", &[("upgrade", "websocket")]),
            Some(OutcomeKind::Bypass),
        ),
        (get("/a", &[]), Some(OutcomeKind::Miss)),
        (get("/a", &[]), Some(OutcomeKind::Hit)),
        (request("HEAD", "/b", &[]), Some(OutcomeKind::Miss)),
        (request("PUT", "/a", &[]), Some(OutcomeKind::Invalidated)),
        (get("/a", &[]), Some(OutcomeKind::Miss)),
    ] {
        assert_eq!(send(&mut service, asked).await, kind);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_in_the_background_polls_a_clone_of_its_own_ready() {
    let inner = Strict::default();
    let calls = Arc::clone(&inner.calls);
    let mut service = layer(faulty()).layer(inner);
    send(&mut service, get("/a", &[])).await;
    sleep(6).await;
    let kind = send(&mut service, get("/a", &[])).await;
    assert_eq!(kind, Some(OutcomeKind::Stale));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(
        send(&mut service, get("/a", &[])).await,
        Some(OutcomeKind::Hit)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hit_gives_its_permit_back() {
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let cache = layer(faulty());
    let limited = || cache.layer(one_permit.layer(Strict::default()));
    let (mut service, mut other) = (limited(), limited());
    for _ in 0..5 {
        for service in [&mut service, &mut other] {
            let answer =
                tokio::time::timeout(Duration::from_secs(5), send(service, get("/a", &[])));
            answer.await.expect("the permit is free");
        }
    }
    // Also one that is dropped before it is answered.
    drop(service.ready().await.unwrap().call(get("/b", &[])));
    let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_service_are_the_layer_s() {
    let failing =
        tower::service_fn(async |_: Request<RequestBody<Body>>| Err::<Response<Body>, _>("broken"));
    let service = layer(memory()).layer(failing);
    for _ in 0..3 {
        let error = service.clone().oneshot(get("/a", &[])).await.unwrap_err();
        assert_eq!(error, "broken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_stands_in_for_an_error_of_the_service() {
    let calls = Arc::new(AtomicUsize::new(0));
    let failing = tower::service_fn(move |_: Request<RequestBody<Body>>| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            if call > 0 {
                return Err("broken");
            }
            Ok(response(
                200,
                &[("cache-control", "max-age=5, stale-if-error=60")],
                "good",
            ))
        }
    });
    let service = layer(memory()).layer(failing);
    let first = service.clone().oneshot(get("/a", &[])).await.unwrap();
    axum::body::to_bytes(Body::new(first.into_body()), 100)
        .await
        .unwrap();
    settled().await;
    sleep(10).await;
    let second = service.clone().oneshot(get("/a", &[])).await.unwrap();
    let outcome = second.extensions().get::<CacheOutcome>().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::StaleIfError);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_it_waits_for_another_leaves_its_service() {
    let permits = Arc::new(Semaphore::new(2));
    let inner = Counted {
        permits: Arc::clone(&permits),
        held: None,
    };
    let service = layer(faulty()).layer(inner);
    let mut first = service.clone();
    let leader = tokio::spawn(async move { send(&mut first, get("/a", &[])).await });
    settled().await;
    let mut second = service.clone();
    let waiter = tokio::spawn(async move { send(&mut second, get("/a", &[])).await });
    settled().await;
    waiter.abort();
    leader.abort();
    settled().await;
    sleep(40).await;
    assert_eq!(permits.available_permits(), 2);
}

/// Takes a permit when it is ready, and never answers.
struct Counted {
    permits: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self {
            permits: Arc::clone(&self.permits),
            held: None,
        }
    }
}

impl Service<Request<RequestBody<Body>>> for Counted {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.held.is_none() {
            self.held = Arc::clone(&self.permits).try_acquire_owned().ok();
        }
        match self.held {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        let permit = self.held.take().unwrap();
        Box::pin(async move {
            let _permit = permit;
            std::future::pending().await
        })
    }
}
