//! What a limited or denied client reads.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    clock::{Clock as _, Timestamp},
    policy::{KeyExtractor as _, header},
    rate_limit::{HeaderStyle, Quota, RateLimitLayer, RateLimitRule},
    respond::{GrpcCode, GrpcStatus, PlainText, ProblemDetails, Rejection, Respond},
    testing::ManualClock,
};

use crate::http_client::{request, text};

const MINUTE: Duration = Duration::from_secs(60);

type Limits<'a> = &'a [(&'a str, Quota)];

fn layer(limits: Limits<'_>) -> (RateLimitLayer, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let rule =
        RateLimitRule::new("api", header("x-key").or_shared(), limits.iter().copied()).unwrap();
    (RateLimitLayer::new(backend, rule).unwrap(), clock)
}

fn limited<R: Respond<Body>>(
    layer: &RateLimitLayer<R>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<R> {
    layer.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::from("hello"))))
    }))
}

async fn get<S>(service: &S) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request(Method::GET, "/")).await;
    response
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn several_limits_are_told_together_and_only_the_violated_ones_are_named() {
    let (layer, clock) = layer(&[
        ("burst", Quota::sliding(2, Duration::from_secs(1))),
        ("hour", Quota::per_hour(50)),
    ]);
    let service = limited(&layer);
    get(&service).await;
    clock.advance(Duration::from_millis(500));
    get(&service).await;
    let denied = get(&service).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers = denied.headers();
    assert_eq!(
        header_of(headers, "ratelimit-policy"),
        Some("\"api.burst\";q=2;w=1, \"api.hour\";q=50;w=3600")
    );
    assert_eq!(
        header_of(headers, "ratelimit"),
        Some("\"api.burst\";r=0;t=1, \"api.hour\";r=48;t=3600")
    );
    assert_eq!(header_of(headers, "retry-after"), Some("1"));
    let rejection = denied.extensions().get::<Rejection>().unwrap();
    assert_eq!((rejection.layer(), rejection.rule()), ("rate_limit", "api"));
    assert_eq!(rejection.retry_after(), Some(Duration::from_millis(500)));
    let problem: serde_json::Value = serde_json::from_str(&text(denied).await).unwrap();
    assert_eq!(
        problem["violated-policies"],
        serde_json::json!(["api.burst"])
    );
}

#[tokio::test]
async fn a_denial_takes_nothing_from_the_other_limits() {
    let (layer, clock) = layer(&[
        ("burst", Quota::sliding(1, Duration::from_secs(1))),
        ("hour", Quota::per_hour(3)),
    ]);
    let service = limited(&layer);
    get(&service).await;
    for _ in 0..20 {
        assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    for _ in 0..2 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(get(&service).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn legacy_headers_tell_the_tightest_limit_and_the_epoch_of_its_reset() {
    let (layer, clock) = layer(&[
        ("minute", Quota::per_minute(2)),
        ("hour", Quota::per_hour(50)),
    ]);
    clock.set(Timestamp::from_micros(1_700_000_000_000_001));
    let service = limited(&layer.with_headers(HeaderStyle::Legacy));
    let response = get(&service).await;
    assert_eq!(
        header_of(response.headers(), "x-ratelimit-limit"),
        Some("2")
    );
    assert_eq!(
        header_of(response.headers(), "x-ratelimit-remaining"),
        Some("1")
    );
    assert_eq!(
        header_of(response.headers(), "x-ratelimit-reset"),
        Some("1700000061")
    );
    assert_eq!(header_of(response.headers(), "ratelimit"), None);
    assert_eq!(clock.now(), Timestamp::from_micros(1_700_000_000_000_001));
}

#[tokio::test]
async fn legacy_headers_of_a_denial_tell_the_limit_that_denied() {
    let (layer, _) = layer(&[
        ("bytes", Quota::sliding(9, MINUTE).with_weight(5)),
        ("hits", Quota::sliding(4, MINUTE)),
    ]);
    let service = limited(&layer.with_headers(HeaderStyle::Legacy));
    get(&service).await;
    let denied = get(&service).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    // Nine units are one call of weight five.
    assert_eq!(header_of(denied.headers(), "x-ratelimit-limit"), Some("1"));
    assert_eq!(
        header_of(denied.headers(), "x-ratelimit-remaining"),
        Some("0")
    );
}

#[tokio::test]
async fn of_two_equally_tight_limits_legacy_headers_tell_the_longer_one() {
    let (layer, _) = layer(&[
        ("minute", Quota::per_minute(2)),
        ("hour", Quota::per_hour(2)),
    ]);
    let service = limited(&layer.with_headers(HeaderStyle::Legacy));
    let response = get(&service).await;
    let reset: u64 = header_of(response.headers(), "x-ratelimit-reset")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        reset,
        ManualClock::new().now().as_millis().div_ceil(1_000) + 3_600
    );
}

#[tokio::test]
async fn stacked_layers_leave_legacy_headers_to_the_tightest_limit() {
    for (outer_limit, inner_limit) in [(7, 3), (3, 7)] {
        let minute = |limit| [("minute", Quota::per_minute(limit))];
        let rule = |name, limit| {
            let rule =
                RateLimitRule::new(name, header("x-key").or_shared(), minute(limit)).unwrap();
            RateLimitLayer::new(MemoryBackend::new(), rule)
                .unwrap()
                .with_headers(HeaderStyle::Legacy)
        };
        let service = rule("outer", outer_limit).layer(limited(&rule("inner", inner_limit)));
        let response = get(&service).await;
        assert_eq!(
            header_of(response.headers(), "x-ratelimit-limit"),
            Some("3")
        );
        assert_eq!(
            header_of(response.headers(), "x-ratelimit-remaining"),
            Some("2")
        );
    }
}

#[tokio::test]
async fn headers_can_be_switched_off_but_for_retry_after() {
    let (layer, _) = layer(&[("minute", Quota::per_minute(1))]);
    let service = limited(&layer.with_headers(HeaderStyle::Off));
    assert!(get(&service).await.headers().is_empty());
    let denied = get(&service).await;
    assert_eq!(header_of(denied.headers(), "retry-after"), Some("60"));
    assert_eq!(header_of(denied.headers(), "ratelimit"), None);
}

#[tokio::test]
async fn stacked_layers_append_their_items_to_the_lists() {
    let (outer, _) = layer(&[("outer", Quota::per_minute(7))]);
    let (inner, _) = layer(&[("inner", Quota::per_minute(3))]);
    let service = outer.layer(limited(&inner));
    let response = get(&service).await;
    let items: Vec<_> = response.headers().get_all("ratelimit").iter().collect();
    assert_eq!(items, ["\"api.inner\";r=2;t=60", "\"api.outer\";r=6;t=60"]);
}

#[tokio::test]
async fn the_header_fields_are_structured_fields() {
    let (layer, _) = layer(&[
        ("a.b-c_D", Quota::per_minute(2)),
        ("odd", Quota::sliding(3, Duration::from_millis(1_500))),
    ]);
    let service = limited(&layer);
    for _ in 0..3 {
        let response = get(&service).await;
        for name in ["ratelimit", "ratelimit-policy"] {
            let list = sfv::Parser::new(response.headers()[name].as_bytes())
                .parse::<sfv::List>()
                .unwrap();
            assert_eq!(list.len(), 2, "{name}");
        }
        assert_eq!(
            header_of(response.headers(), "ratelimit-policy"),
            Some("\"api.a.b-c_D\";q=2;w=60, \"api.odd\";q=3")
        );
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let (layer, _) = layer(&[("minute", Quota::per_minute(1))]);
    let service = limited(&layer);
    get(&service).await;
    let head = service.clone().oneshot(request(Method::HEAD, "/"));
    let Ok(denied) = head.await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    let length = denied.headers()["content-length"].clone();
    assert_eq!(text(denied).await, "");
    let body = text(get(&service).await).await;
    assert_eq!(length, body.len().to_string(), "RFC 9110 §8.6");
}

#[tokio::test]
async fn plain_text_and_closures_answer_in_their_own_way() {
    let (layer, _) = layer(&[("minute", Quota::per_minute(1))]);
    let plain = limited(&layer.clone().with_respond(PlainText));
    get(&plain).await;
    let denied = get(&plain).await;
    assert_eq!(
        header_of(denied.headers(), "content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(
        text(denied).await,
        "Request cannot be satisfied as assigned quota has been exceeded\n"
    );

    let own = limited(
        &layer.with_respond(|rejection: &Rejection, request: &Parts| {
            let mut response = Response::new(Body::from(format!(
                "{} {}",
                request.method,
                rejection.rule()
            )));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        }),
    );
    let denied = get(&own).await;
    assert_eq!(denied.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(header_of(denied.headers(), "retry-after"), Some("60"));
    assert_eq!(text(denied).await, "GET api");
}

#[tokio::test]
async fn a_grpc_call_gets_a_status_and_no_body_from_the_default_answer() {
    let (layer, _) = layer(&[("minute", Quota::per_minute(1))]);
    let service = limited(&layer);
    get(&service).await;
    let mut call = request(Method::POST, "/pkg.Service/Method");
    call.headers_mut()
        .insert("content-type", "application/grpc+proto".parse().unwrap());
    let Ok(denied) = service.oneshot(call).await;
    assert_eq!(denied.status(), StatusCode::OK);
    assert_eq!(header_of(denied.headers(), "grpc-status"), Some("8"));
    assert_eq!(
        header_of(denied.headers(), "content-type"),
        Some("application/grpc+proto")
    );
    assert_eq!(
        header_of(denied.headers(), "cache-control"),
        Some("no-store")
    );
    assert_eq!(
        header_of(denied.headers(), "grpc-retry-pushback-ms"),
        Some("60000")
    );
    assert_eq!(text(denied).await, "");
}

#[tokio::test]
async fn only_denied_grpc_calls_that_may_come_back_get_another_code() {
    let quotas = [("minute", Quota::per_minute(1))];
    let rule = RateLimitRule::new("api", header("x-key").or_shared(), quotas)
        .unwrap()
        .with_cost(|request| if request.method == Method::PUT { 2 } else { 1 });
    let backend = MemoryBackend::new().with_clock(ManualClock::new());
    let layer = RateLimitLayer::new(backend, rule).unwrap();
    let code = GrpcCode::UNAVAILABLE;
    let service = limited(&layer.with_respond(ProblemDetails.with_denial_code(code)));
    get(&service).await;
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    for (method, code, push_back) in [(Method::POST, "14", "60000"), (Method::PUT, "8", "-1")] {
        let mut call = request(method, "/pkg.Service/Method");
        call.headers_mut()
            .insert("content-type", "application/grpc".parse().unwrap());
        let Ok(denied) = service.clone().oneshot(call).await;
        assert_eq!(header_of(denied.headers(), "grpc-status"), Some(code));
        assert_eq!(
            header_of(denied.headers(), "grpc-retry-pushback-ms"),
            Some(push_back)
        );
        assert_eq!(
            denied.headers().contains_key("retry-after"),
            push_back != "-1"
        );
    }
}

#[tokio::test]
async fn a_grpc_answer_to_what_is_no_grpc_call_is_still_grpc() {
    let (layer, _) = layer(&[("minute", Quota::per_minute(1))]);
    let service = limited(&layer.with_respond(GrpcStatus));
    get(&service).await;
    let mut page = request(Method::POST, "/");
    page.headers_mut()
        .insert("content-type", "text/html".parse().unwrap());
    let Ok(denied) = service.oneshot(page).await;
    assert_eq!(
        header_of(denied.headers(), "content-type"),
        Some("application/grpc")
    );
    assert_eq!(
        header_of(denied.headers(), "grpc-retry-pushback-ms"),
        Some("60000")
    );
}

#[tokio::test]
async fn layers_with_different_secrets_do_not_share_counters() {
    let backend = MemoryBackend::new();
    let rule = RateLimitRule::new(
        "api",
        header("x-key").or_shared(),
        [("minute", Quota::per_minute(1))],
    )
    .unwrap();
    let layer = || RateLimitLayer::new(backend.clone(), rule.clone()).unwrap();
    for (layer, status) in [
        (layer(), StatusCode::OK),
        (layer(), StatusCode::TOO_MANY_REQUESTS),
        (layer().with_key_secret("a"), StatusCode::OK),
        (layer().with_key_secret("b"), StatusCode::OK),
        (layer().with_key_secret("a"), StatusCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(get(&limited(&layer)).await.status(), status);
    }
}
