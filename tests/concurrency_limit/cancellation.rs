//! A request that is dropped, wherever it is, holds nothing.

use std::{
    convert::Infallible,
    future::pending,
    iter::repeat_n,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_stash::{backend::Op, testing::Fault};

use crate::{
    endless::{LEASE, endless, faulty, get, is_free, layer, pass, rule},
    http_client::request,
};

#[tokio::test]
async fn dropped_before_it_is_polled_it_makes_no_call() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let mut service = endless(&layer);
    let response = service
        .ready()
        .await
        .unwrap()
        .call(request(Method::GET, "/"));
    drop(response);
    assert_eq!(backend.total_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_the_backend_is_asked_it_does_not_run_and_its_slot_is_released_when_it_comes()
{
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let service = layer.layer({
        let calls = Arc::clone(&calls);
        service_fn(move |_: Request<Body>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        })
    });
    let delay = Duration::from_secs(2);
    backend.script([Fault::Delay(delay)]);
    let waiting = tokio::time::timeout(delay / 2, get(&service)).await;
    assert!(waiting.is_err());
    assert_eq!(backend.calls(Op::SlotsRelease), 0, "nothing to release yet");
    tokio::time::sleep(delay).await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(backend.calls(Op::SlotsRelease), 1);
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_a_denial_is_on_its_way_it_releases_nothing() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let running = get(&endless(&layer)).await;
    let delay = Duration::from_secs(2);
    backend.script([Fault::Delay(delay)]);
    let waiting = tokio::time::timeout(delay / 2, get(&endless(&layer))).await;
    assert!(waiting.is_err());
    tokio::time::sleep(delay).await;
    assert_eq!(backend.calls(Op::SlotsRelease), 0);
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_the_backend_hangs_it_leaves_no_task_behind_after_a_lease() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    backend.script([Fault::HangAfter]);
    let waiting = tokio::time::timeout(Duration::from_secs(1), get(&endless(&layer))).await;
    assert!(waiting.is_err());
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1);
    pass(&clock, LEASE + Duration::from_secs(1)).await;
    assert_eq!(metrics.num_alive_tasks(), 0);
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn dropped_while_the_service_works_it_frees_its_slot() {
    let (backend, _) = faulty();
    let layer = layer(backend, rule(1));
    let service = layer.layer(service_fn(|_: Request<Body>| {
        pending::<Result<Response<Body>, Infallible>>()
    }));
    let short = Duration::from_millis(10);
    let working = tokio::time::timeout(short, get(&service)).await;
    assert!(working.is_err());
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_must_wait_does_so_in_the_background() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let running = get(&endless(&layer)).await;
    let delay = Duration::from_secs(2);
    backend.script([Fault::Delay(delay)]);
    drop(running);
    assert!(!is_free(&layer).await, "it is on its way");
    tokio::time::sleep(delay + Duration::from_millis(1)).await;
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn no_more_releases_wait_than_1024() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(2_000));
    let service = endless(&layer);
    let mut running = Vec::new();
    for _ in 0..1_500 {
        running.push(get(&service).await);
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    backend.script(repeat_n(Fault::Hang, 1_500));
    drop(running);
    let renewals = 1;
    assert_eq!(metrics.num_alive_tasks(), 1_024 + renewals);
    pass(&clock, 2 * LEASE).await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
