//! What clients read in a denial.

use axum::body::Body;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use tower::{Layer as _, ServiceExt as _};
use tower_stash::{
    backend::MemoryBackend,
    concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule},
    policy::{KeyExtractor as _, header, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    respond::{PlainText, Rejection},
};

use crate::{
    endless::{Answer, endless, get, layer, rule},
    http_client::{self, request},
};

async fn denied(method: Method, content_type: Option<&'static str>) -> Answer {
    let layer = layer(MemoryBackend::new(), rule(1));
    let _running = get(&endless(&layer)).await;
    let mut request = request(method, "/");
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_static(content_type);
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    let Ok(answer) = endless(&layer).oneshot(request).await;
    answer
}

async fn text(answer: Answer) -> String {
    http_client::text(answer.map(Body::new)).await
}

#[tokio::test]
async fn a_denial_is_a_problem_to_try_again_after_a_second() {
    let answer = denied(Method::GET, None).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers = answer.headers();
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers.len(), 3, "a quota without a window has no headers");
    let rejection = answer.extensions().get::<Rejection>().unwrap();
    assert_eq!(
        (rejection.layer(), rejection.rule()),
        ("concurrency_limit", "api")
    );
    let problem: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
    let expected = json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "violated-policies": ["api"],
    });
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn a_denied_head_has_no_body() {
    let answer = denied(Method::HEAD, None).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn a_denied_grpc_call_is_resource_exhausted_with_a_push_back() {
    let answer = denied(Method::POST, Some("application/grpc")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["grpc-status"], "8");
    assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "1000");
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn a_request_without_its_key_is_a_bad_one_if_the_rule_insists() {
    let rule = ConcurrencyLimitRule::new("api", header("x-key").or_reject(), 1).unwrap();
    let answer = get(&endless(&layer(MemoryBackend::new(), rule))).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn requests_without_a_rule_or_a_subject_pass_however_many() {
    let skipping = ConcurrencyLimitRule::new("api", header("x-key").or_skip(), 1).unwrap();
    let no_rule = |_: &http::request::Parts| None;
    let backend = MemoryBackend::new;
    for layer in [
        ConcurrencyLimitLayer::new(backend(), skipping).unwrap(),
        ConcurrencyLimitLayer::new(backend(), no_rule).unwrap(),
    ] {
        let service = endless(&layer);
        let running = [get(&service).await, get(&service).await];
        assert_eq!(running.map(|answer| answer.status()), [StatusCode::OK; 2]);
    }
}

#[tokio::test]
async fn the_answer_may_be_any_other() {
    let plain = layer(MemoryBackend::new(), rule(1)).with_respond(PlainText);
    let inner = tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from("hello")))
    });
    let service = plain.layer(inner);
    let running = get(&service).await;
    let answer = get(&service).await;
    assert_eq!(
        text(answer).await,
        "Request cannot be satisfied as assigned quota has been exceeded\n"
    );
    assert_eq!(text(running).await, "hello");
}

#[tokio::test]
async fn layers_stack_in_either_order() {
    let running = layer(MemoryBackend::new(), rule(1));
    let quotas = [("minute", Quota::per_minute(1))];
    let often = RateLimitRule::new("often", peer_ip().or_shared(), quotas).unwrap();
    let often = RateLimitLayer::new(MemoryBackend::new(), often).unwrap();

    let service = often.layer(endless(&running));
    let answers = [get(&service).await, get(&service).await];
    assert_eq!(answers.map(|answer| answer.status().as_u16()), [200, 429]);

    let service = running.layer(often.layer(endless(&running)));
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
}
