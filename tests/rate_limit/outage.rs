//! What becomes of requests while the backend does not answer.

use std::{
    convert::Infallible,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend, Op, Timeout},
    policy::{KeyExtractor as _, header},
    rate_limit::{Outage, Quota, RateLimitLayer, RateLimitRule},
    respond::Rejection,
    testing::{Fault, FaultBackend},
};

use crate::{
    fixture::{App, Store, rule},
    http_client::{request, text},
};

type Faulty = FaultBackend<MemoryBackend>;

fn faulty() -> Faulty {
    FaultBackend::new(MemoryBackend::new())
}

/// Two a minute, three limits; and how often the inner service was called.
fn limited(
    backend: &Faulty,
    outage: Outage,
) -> (
    impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<>,
    Arc<AtomicUsize>,
) {
    let quotas = [
        ("minute", Quota::per_minute(2)),
        ("hour", Quota::counter(10, Duration::from_secs(3_600))),
        ("day", Quota::fixed(20, Duration::from_secs(86_400))),
    ];
    let rule = RateLimitRule::new("api", header("x-key").or_shared(), quotas)
        .unwrap()
        .with_outage(outage);
    let layer = RateLimitLayer::new(backend.clone(), rule).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = {
        let calls = Arc::clone(&calls);
        service_fn(move |_: Request<Body>| {
            calls.fetch_add(1, Ordering::Relaxed);
            ready(Ok::<_, Infallible>(Response::new(Body::from("hello"))))
        })
    };
    (layer.layer(inner), calls)
}

async fn get<S>(service: &S) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request(Method::GET, "/")).await;
    response
}

#[tokio::test]
async fn one_decision_is_one_call_whatever_the_number_of_limits() {
    let backend = faulty();
    let (service, _) = limited(&backend, Outage::Allow);
    for calls in 1..=5 {
        get(&service).await;
        assert_eq!(backend.calls(Op::Acquire), calls);
        assert_eq!(backend.total_calls(), calls);
    }
}

#[tokio::test]
async fn requests_pass_without_headers_while_the_backend_is_down() {
    let backend = faulty();
    let (service, calls) = limited(&backend, Outage::Allow);
    backend.go_down();
    for _ in 0..10 {
        let response = get(&service).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers().is_empty(), "no numbers are known");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn requests_get_503_while_the_backend_is_down_if_the_rule_says_so() {
    let backend = faulty();
    let (service, calls) = limited(&backend, Outage::Deny);
    backend.go_down();
    let response = get(&service).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("ratelimit"));
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.retry_after(), Some(Duration::from_secs(1)));
    let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_grpc_call_gets_unavailable_while_the_backend_is_down_if_the_rule_says_so() {
    let backend = faulty();
    let (service, _) = limited(&backend, Outage::Deny);
    backend.go_down();
    let mut call = request(Method::POST, "/pkg.Service/Method");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let Ok(response) = service.oneshot(call).await;
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1000");
}

#[tokio::test(start_paused = true)]
async fn after_five_failures_the_breaker_spares_the_backend_and_recovers_by_itself() {
    let backend = faulty();
    let (service, _) = limited(&backend, Outage::Deny);
    backend.go_down();
    for _ in 0..20 {
        assert_eq!(
            get(&service).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    assert_eq!(backend.calls(Op::Acquire), 5);

    backend.come_up();
    assert_eq!(
        get(&service).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&service).await.status(), StatusCode::OK);
    assert_eq!(get(&service).await.status(), StatusCode::OK);
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_lost_reply_is_not_asked_for_again_and_counts_at_most_once() {
    let backend = faulty();
    let (service, calls) = limited(&backend, Outage::Allow);
    backend.script([Fault::LostReply]);
    assert_eq!(get(&service).await.status(), StatusCode::OK);
    assert_eq!(backend.calls(Op::Acquire), 1);
    // It was applied, once: one of two is left for the next.
    let next = get(&service).await;
    let left = next.headers()["ratelimit"].to_str().unwrap();
    assert!(
        left.starts_with("\"api.minute\";r=0;t=60, \"api.hour\";r=8;"),
        "{left}"
    );
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_request_dropped_while_the_backend_hangs_does_not_run() {
    let backend = faulty();
    let (service, calls) = limited(&backend, Outage::Allow);
    backend.script([Fault::Hang]);
    let waiting = tokio::time::timeout(Duration::from_millis(20), get(&service)).await;
    assert!(waiting.is_err(), "the backend hangs");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(get(&service).await.status(), StatusCode::OK);
}

/// P19: whatever the backend does, a request is answered in time and in the rule's mode, and runs
/// once if it is admitted.
#[tokio::test(start_paused = true)]
async fn every_failure_is_answered_in_time_and_in_mode() {
    const TIMEOUT: Duration = Duration::from_millis(100);
    let failures = [
        Fault::Hang,
        Fault::HangAfter,
        Fault::Delay(2 * TIMEOUT),
        Fault::LateReply(2 * TIMEOUT),
        Fault::LostReply,
        Fault::Fail(BackendErrorKind::Rejected),
        Fault::Fail(BackendErrorKind::Misconfigured),
        Fault::Fail(BackendErrorKind::Corrupt),
    ];
    let modes = [
        (Outage::Allow, 200),
        (Outage::Deny, 503),
        (Outage::Local { instances: 2 }, 200),
    ];
    for failure in failures {
        for (outage, status) in modes {
            let store = Store::local();
            let rule = rule("api", Quota::per_minute(2)).with_outage(outage);
            let hasty = Timeout::new(store.backend.clone(), TIMEOUT);
            let app = App::behind(&RateLimitLayer::new(hasty, rule).unwrap());
            store.backend.script([failure]);
            let in_time = TIMEOUT + Duration::from_millis(1);
            let answer = tokio::time::timeout(in_time, app.status("ada")).await;
            assert_eq!(answer.expect("in time"), status, "{failure:?} {outage:?}");
            assert_eq!(app.ran(), usize::from(status == 200));
            assert_eq!(store.asked(), 1, "it is not asked again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_slow_but_in_time_decides() {
    let timeout = Duration::from_millis(100);
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(1)).with_outage(Outage::Deny);
    let hasty = Timeout::new(store.backend.clone(), timeout);
    let app = App::behind(&RateLimitLayer::new(hasty, rule).unwrap());
    let slow = Duration::from_millis(99);
    store
        .backend
        .script([Fault::Delay(slow), Fault::LateReply(slow)]);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    assert_eq!(app.ran(), 1);
}
