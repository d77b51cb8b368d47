//! When a slot is free again.

use std::{convert::Infallible, io};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::backend::{MemoryBackend, Op};

use crate::{
    endless::{LEASE, answer_with, endless, faulty, fed, frame, get, is_free, layer, pass, rule},
    http_client::request,
};

#[tokio::test]
async fn as_many_requests_run_at_once_as_the_limit_and_no_more() {
    let layer = layer(MemoryBackend::new(), rule(3));
    let service = endless(&layer);
    let mut running = Vec::new();
    for _ in 0..3 {
        let answer = get(&service).await;
        assert_eq!(answer.status(), StatusCode::OK);
        running.push(answer);
    }
    for _ in 0..2 {
        assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    running.pop();
    running.push(get(&service).await);
    assert_eq!(running[2].status(), StatusCode::OK);
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn each_subject_has_slots_of_its_own() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let service = endless(&layer);
    let mut running = Vec::new();
    for key in ["a", "b"] {
        let mut keyed = request(Method::GET, "/");
        keyed.headers_mut().insert("x-key", key.parse().unwrap());
        let Ok(answer) = service.clone().oneshot(keyed).await;
        assert_eq!(answer.status(), StatusCode::OK, "{key}");
        running.push(answer);
    }
}

#[tokio::test]
async fn a_request_is_two_calls_and_one_that_is_denied_is_one() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let service = endless(&layer);
    let running = get(&service).await;
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(running);
    assert_eq!(backend.calls(Op::SlotsHold), 2);
    assert_eq!(backend.calls(Op::SlotsRelease), 1);
    assert_eq!(backend.total_calls(), 3);
}

#[tokio::test]
async fn the_end_of_the_body_frees_the_slot() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let (feed, body) = fed();
    let mut answer = answer_with(&layer, body).await;
    assert!(!is_free(&layer).await, "it has not begun");
    feed.send(Ok("event".into())).unwrap();
    assert_eq!(frame(&mut answer).await.unwrap().unwrap(), "event");
    assert!(!is_free(&layer).await, "there may be more");
    drop(feed);
    assert!(frame(&mut answer).await.is_none());
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn an_error_in_the_body_frees_the_slot_and_is_told() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let (feed, body) = fed();
    let mut answer = answer_with(&layer, body).await;
    feed.send(Err(io::Error::other("broken"))).unwrap();
    let error = frame(&mut answer).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn the_last_frame_frees_the_slot_where_the_body_knows_that_it_is_the_last() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let service = layer.layer(service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("whole")))
    }));
    let Ok(mut answer) = service.oneshot(request(Method::GET, "/")).await;
    assert!(!is_free(&layer).await);
    assert_eq!(answer.body().size_hint().exact(), Some(5));
    let frame = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "whole");
    assert!(answer.body().is_end_stream());
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_response_without_a_body_frees_the_slot_at_once() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let answer = answer_with(&layer, Body::empty()).await;
    assert!(answer.body().is_end_stream());
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn trailers_come_through_and_the_slot_is_held_until_then() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from("data"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut answer = answer_with(&layer, Body::new(body)).await;
    assert!(answer.body_mut().frame().await.unwrap().unwrap().is_data());
    assert!(!is_free(&layer).await);
    let trailers = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(trailers.trailers_ref().unwrap()["grpc-status"], "0");
    assert!(answer.body_mut().frame().await.is_none());
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_dropped_body_frees_the_slot() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let answer = get(&endless(&layer)).await;
    assert!(!is_free(&layer).await);
    drop(answer);
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_body_that_is_dropped_outside_the_runtime_frees_the_slot() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let answer = get(&endless(&layer)).await;
    tokio::task::spawn_blocking(move || std::thread::spawn(move || drop(answer)).join())
        .await
        .unwrap()
        .expect("it does not panic");
    while !is_free(&layer).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_error_of_the_service_frees_the_slot_and_is_told() {
    let layer = layer(MemoryBackend::new(), rule(1));
    let service = layer.layer(service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, _>(io::Error::other("broken"))
    }));
    let error = service.oneshot(request(Method::GET, "/")).await;
    assert_eq!(error.unwrap_err().to_string(), "broken");
    assert!(is_free(&layer).await);
}

/// As `kill -9` leaves it: no guard is dropped, no task goes on.
#[test]
fn what_a_crashed_process_held_is_free_after_the_lease() {
    let (backend, clock) = faulty();
    let crashing = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let held = layer(backend.clone(), rule(1));
    std::mem::forget(crashing.block_on(get(&endless(&held))));
    crashing.shutdown_background();

    let survivor = layer(backend, rule(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        pass(&clock, LEASE * 9 / 10).await;
        assert!(!is_free(&survivor).await, "the lease is not over");
        pass(&clock, LEASE / 10).await;
        assert!(is_free(&survivor).await);
    });
}
