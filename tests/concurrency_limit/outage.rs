//! What becomes of requests while the backend does not answer.

use std::time::Duration;

use http::{Method, StatusCode};
use tower::ServiceExt as _;
use tower_stash::{
    backend::{BackendErrorKind, Op},
    concurrency_limit::Outage,
    respond::Rejection,
    testing::Fault,
};

use crate::{
    endless::{LEASE, endless, faulty, get, is_free, layer, pass, rule},
    http_client::request,
};

#[tokio::test]
async fn requests_run_while_the_backend_is_down() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    backend.go_down();
    let mut running = Vec::new();
    for _ in 0..10 {
        running.push(get(&endless(&layer)).await);
    }
    assert!(
        running
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
}

#[tokio::test]
async fn requests_get_503_while_the_backend_is_down_if_the_rule_says_so() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1).with_outage(Outage::Deny));
    backend.go_down();
    let answer = get(&endless(&layer)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let rejection = answer.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.layer(), "concurrency_limit");
    assert!(
        rejection
            .problem_type()
            .ends_with("#temporary-reduced-capacity")
    );
    assert_eq!(
        backend.calls(Op::SlotsRelease),
        0,
        "there is nothing to release"
    );
}

#[tokio::test]
async fn a_grpc_call_gets_unavailable_while_the_backend_is_down_if_the_rule_says_so() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1).with_outage(Outage::Deny));
    backend.go_down();
    let mut call = request(Method::POST, "/pkg.Service/Method");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let Ok(answer) = endless(&layer).oneshot(call).await;
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "1000");
}

#[tokio::test(start_paused = true)]
async fn after_five_failures_the_breaker_spares_the_backend_and_recovers_by_itself() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1).with_outage(Outage::Deny));
    backend.go_down();
    for _ in 0..20 {
        let answer = get(&endless(&layer)).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(backend.total_calls(), 5);
    backend.come_up();
    assert!(!is_free(&layer).await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_slot_whose_reply_was_lost_is_released_with_the_request_that_ran() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1));
    backend.script([Fault::LostReply]);
    let running = get(&endless(&layer)).await;
    assert_eq!(running.status(), StatusCode::OK);
    assert!(!is_free(&layer).await);
    assert_eq!(backend.calls(Op::SlotsHold), 2, "it is not asked for again");
    drop(running);
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_slot_whose_reply_was_lost_is_released_when_its_request_is_denied() {
    let (backend, _) = faulty();
    let layer = layer(backend.clone(), rule(1).with_outage(Outage::Deny));
    backend.script([Fault::LostReply]);
    let answer = get(&endless(&layer)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn requests_that_ran_through_an_outage_are_counted_after_it() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(2));
    backend.script([Fault::Fail(BackendErrorKind::Unavailable); 3]);
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(get(&endless(&layer)).await);
    }
    assert!(is_free(&layer).await, "none of the three has a slot");
    pass(&clock, LEASE).await;
    assert!(!is_free(&layer).await);
    drop(running);
    assert!(is_free(&layer).await);
}

#[tokio::test]
async fn a_lost_release_is_made_good_by_the_lease() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let running = get(&endless(&layer)).await;
    backend.script([Fault::Fail(BackendErrorKind::Unavailable)]);
    drop(running);
    assert!(!is_free(&layer).await);
    clock.advance(LEASE);
    assert!(is_free(&layer).await);
}
