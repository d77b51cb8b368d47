//! The styles of headers, as the clients read them that were written for each.

use std::{collections::HashMap, convert::Infallible, future::ready, time::Duration};

use axum::body::Body;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_http::cors::{Any, CorsLayer};
use tower_stash::{
    backend::MemoryBackend,
    clock::Timestamp,
    policy::{KeyExtractor as _, header},
    rate_limit::{HeaderStyle, Outage, Quota, RateLimitLayer, RateLimitRule},
    testing::{FaultBackend, ManualClock},
};

use crate::http_client::request;

const MINUTE: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_001);

const STYLES: [HeaderStyle; 6] = [
    HeaderStyle::Draft11,
    HeaderStyle::Draft7,
    HeaderStyle::Draft6,
    HeaderStyle::Legacy,
    HeaderStyle::LegacyDelta,
    HeaderStyle::Off,
];

fn rule(name: &str, quotas: &[(&str, Quota)]) -> RateLimitRule {
    RateLimitRule::new(name, header("x-key").or_shared(), quotas.iter().copied()).unwrap()
}

fn layer(style: HeaderStyle, rule: RateLimitRule) -> RateLimitLayer {
    let clock = ManualClock::new();
    clock.set(NOW);
    let backend = MemoryBackend::new().with_clock(clock);
    RateLimitLayer::new(backend, rule)
        .unwrap()
        .with_headers(style)
}

fn handler()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone
{
    service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::from("hello")))))
}

async fn send<S>(service: &S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

fn page() -> Request<Body> {
    request(Method::GET, "/")
}

fn page_from(origin: &str) -> Request<Body> {
    let mut page = page();
    page.headers_mut()
        .insert("origin", origin.parse().expect("a header value"));
    page
}

/// All headers by name, but for those that no style has.
fn told(response: &Response<Body>) -> HashMap<&str, &str> {
    let headers = response.headers().iter();
    headers
        .filter(|(name, _)| name.as_str().contains("ratelimit"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect()
}

/// What a response tells in a style where the tightest of two limits is one in five a minute.
async fn second_of_five(style: HeaderStyle) -> Response<Body> {
    let quotas = [
        ("hour", Quota::per_hour(50)),
        ("minute", Quota::per_minute(5)),
    ];
    let service = layer(style, rule("api", &quotas)).layer(handler());
    send(&service, page()).await;
    send(&service, page()).await
}

#[tokio::test]
async fn draft_7_tells_the_tightest_limit_in_one_dictionary() {
    let response = second_of_five(HeaderStyle::Draft7).await;
    let expected = [
        ("ratelimit-policy", "5;w=60"),
        ("ratelimit", "limit=5, remaining=3, reset=60"),
    ];
    assert_eq!(told(&response), expected.into());
}

#[tokio::test]
async fn draft_6_tells_the_tightest_limit_in_a_header_for_each_number() {
    let response = second_of_five(HeaderStyle::Draft6).await;
    let expected = [
        ("ratelimit-policy", "5;w=60"),
        ("ratelimit-limit", "5"),
        ("ratelimit-remaining", "3"),
        ("ratelimit-reset", "60"),
    ];
    assert_eq!(told(&response), expected.into());
}

#[tokio::test]
async fn legacy_resets_count_from_the_epoch_or_from_now() {
    for (style, reset) in [
        (HeaderStyle::Legacy, "1700000061"),
        (HeaderStyle::LegacyDelta, "60"),
    ] {
        let response = second_of_five(style).await;
        let expected = [
            ("x-ratelimit-limit", "5"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", reset),
        ];
        assert_eq!(told(&response), expected.into());
    }
}

#[tokio::test]
async fn a_window_of_broken_seconds_is_not_told() {
    let quotas = [("odd", Quota::fixed(5, Duration::from_millis(1_500)))];
    for (style, policy) in [
        (HeaderStyle::Draft7, "5"),
        (HeaderStyle::Draft6, "5"),
        (HeaderStyle::Draft11, "\"api.odd\";q=5"),
    ] {
        let service = layer(style, rule("api", &quotas)).layer(handler());
        let response = send(&service, page()).await;
        assert_eq!(told(&response)["ratelimit-policy"], policy);
    }
}

#[tokio::test]
async fn a_token_bucket_tells_its_burst_and_how_long_that_takes_to_come_back() {
    // A token every 334 ms and a bit: ten of them take 3.34 s.
    let bucket = Quota::token_bucket(3, Duration::from_secs(1)).with_burst(10);
    let weighed = Quota::token_bucket(60, MINUTE).with_burst(9).with_weight(4);
    for (quota, policy) in [(bucket, "10;w=4"), (weighed, "2;w=9")] {
        for style in [HeaderStyle::Draft7, HeaderStyle::Draft6] {
            let service = layer(style, rule("api", &[("rate", quota)])).layer(handler());
            let response = send(&service, page()).await;
            assert_eq!(told(&response)["ratelimit-policy"], policy);
        }
        let style = HeaderStyle::Draft11;
        let service = layer(style, rule("api", &[("rate", quota)])).layer(handler());
        let response = send(&service, page()).await;
        let policy = format!("\"api.rate\";q={policy}");
        assert_eq!(told(&response)["ratelimit-policy"], policy);
    }
}

#[tokio::test]
async fn stacked_layers_tell_the_tightest_limit_in_every_style_with_room_for_one() {
    for style in STYLES {
        if style == HeaderStyle::Draft11 {
            continue;
        }
        let limited = |name, limit| layer(style, rule(name, &[("m", Quota::per_minute(limit))]));
        let tight = send(&limited("tight", 3).layer(handler()), page()).await;
        for (outer, inner) in [(7, 3), (3, 7)] {
            let service = limited("outer", outer).layer(limited("inner", inner).layer(handler()));
            let response = send(&service, page()).await;
            assert_eq!(told(&response), told(&tight), "{style:?}");
        }
    }
}

#[tokio::test]
async fn the_layer_that_denied_is_told_whatever_is_left_of_those_around_it() {
    for style in STYLES {
        if style == HeaderStyle::Draft11 {
            continue;
        }
        let dear = rule("dear", &[("m", Quota::per_minute(8))]).with_fixed_cost(5);
        let around = |around: u64| {
            let cheap = rule("cheap", &[("m", Quota::per_minute(around))]);
            layer(style, cheap).layer(layer(style, dear.clone()).layer(handler()))
        };
        let [tight, loose] = [around(3), around(100)];
        send(&tight, page()).await;
        send(&loose, page()).await;
        let [tight, loose] = [send(&tight, page()).await, send(&loose, page()).await];
        assert_eq!(tight.status(), 429);
        assert_eq!(told(&tight), told(&loose), "{style:?}");
    }
}

#[tokio::test]
async fn of_equally_tight_layers_the_longer_wait_is_told() {
    for (outer, inner) in [(MINUTE, MINUTE * 60), (MINUTE * 60, MINUTE)] {
        let limited = |name, window| {
            let quotas = [("window", Quota::sliding(3, window))];
            layer(HeaderStyle::LegacyDelta, rule(name, &quotas))
        };
        let service = limited("outer", outer).layer(limited("inner", inner).layer(handler()));
        let response = send(&service, page()).await;
        assert_eq!(told(&response)["x-ratelimit-reset"], "3600");
    }
}

#[tokio::test]
async fn what_the_service_says_in_these_headers_breaks_nothing() {
    let lies = [
        "",
        "-1",
        "x",
        "1e9",
        "99999999999999999999999",
        "limit=, remaining=, reset=",
        "remaining",
        "limit=\"1, remaining=2",
        "é",
        "\"a\";r=1",
    ];
    for style in STYLES {
        for lie in lies {
            let inner = service_fn(move |_: Request<Body>| {
                let mut response = Response::new(Body::empty());
                for name in style.exposed_headers() {
                    let lie = http::HeaderValue::from_bytes(lie.as_bytes()).unwrap();
                    response.headers_mut().insert(name, lie);
                }
                ready(Ok::<_, Infallible>(response))
            });
            let quotas = [("minute", Quota::per_minute(3))];
            let service = layer(style, rule("api", &quotas)).layer(inner);
            let response = send(&service, page()).await;
            assert_eq!(response.status(), StatusCode::OK);
            if let Some(remaining) = response.headers().get("x-ratelimit-remaining") {
                assert_eq!(remaining, "2", "{lie:?}");
            }
        }
    }
}

fn exposed(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all("access-control-expose-headers").iter();
    let mut names: Vec<HeaderName> = lines
        .flat_map(|line| line.to_str().unwrap().split(','))
        .map(|name| name.trim().parse().unwrap())
        .collect();
    names.sort_by_key(ToString::to_string);
    names
}

fn sorted(mut names: Vec<HeaderName>) -> Vec<HeaderName> {
    names.sort_by_key(ToString::to_string);
    names
}

#[tokio::test]
async fn a_script_of_another_origin_may_read_what_is_told_and_denied() {
    for style in STYLES {
        let quotas = [("minute", Quota::per_minute(1))];
        let service = layer(style, rule("api", &quotas)).layer(handler());
        let admitted = send(&service, page_from("https://app.example")).await;
        let denied = send(&service, page_from("https://app.example")).await;
        assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
        for response in [admitted, denied] {
            let headers = response.headers();
            let readable = exposed(headers);
            if !readable.is_empty() {
                assert_eq!(readable, sorted(style.exposed_headers()), "{style:?}");
            }
            for name in headers.keys() {
                let name = name.as_str();
                if name.contains("ratelimit") || name == "retry-after" {
                    assert!(
                        readable.iter().any(|known| known == name),
                        "{style:?}: {name}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn without_an_origin_nothing_is_exposed() {
    for style in STYLES {
        let quotas = [("minute", Quota::per_minute(1))];
        let service = layer(style, rule("api", &quotas)).layer(handler());
        for _ in 0..2 {
            let response = send(&service, page()).await;
            assert!(exposed(response.headers()).is_empty(), "{style:?}");
        }
    }
}

#[tokio::test]
async fn the_retry_after_of_an_outage_can_be_read() {
    let backend = FaultBackend::new(MemoryBackend::new());
    backend.go_down();
    let rule = rule("api", &[("minute", Quota::per_minute(1))]).with_outage(Outage::Deny);
    let service = RateLimitLayer::new(backend, rule).unwrap().layer(handler());
    let response = send(&service, page_from("https://app.example")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(exposed(response.headers()).contains(&"retry-after".parse().unwrap()));
}

#[tokio::test]
async fn where_nothing_is_told_nothing_is_exposed() {
    let backend = FaultBackend::new(MemoryBackend::new());
    backend.go_down();
    let rule = rule("api", &[("minute", Quota::per_minute(1))]);
    let service = RateLimitLayer::new(backend, rule).unwrap().layer(handler());
    let response = send(&service, page_from("https://app.example")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(exposed(response.headers()).is_empty());
}

#[tokio::test]
async fn stacked_layers_expose_their_headers_once() {
    let limited = |name| {
        layer(
            HeaderStyle::Draft11,
            rule(name, &[("m", Quota::per_minute(9))]),
        )
    };
    let service = limited("outer").layer(limited("inner").layer(handler()));
    let response = send(&service, page_from("https://app.example")).await;
    let lines = response.headers().get_all("access-control-expose-headers");
    assert_eq!(lines.iter().count(), 1);
}

#[tokio::test]
async fn a_cors_layer_outside_without_a_list_keeps_ours() {
    let limits = layer(
        HeaderStyle::Draft11,
        rule("api", &[("m", Quota::per_minute(9))]),
    );
    let service = CorsLayer::new()
        .allow_origin(Any)
        .layer(limits.layer(handler()));
    let response = send(&service, page_from("https://app.example")).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(
        exposed(response.headers()),
        sorted(HeaderStyle::Draft11.exposed_headers())
    );
}

#[tokio::test]
async fn a_cors_layer_outside_with_its_own_list_needs_our_names_in_it() {
    let x_other: HeaderName = "x-other".parse().unwrap();
    for (list, readable) in [
        (vec![x_other.clone()], vec![x_other]),
        (
            HeaderStyle::Draft6.exposed_headers(),
            HeaderStyle::Draft6.exposed_headers(),
        ),
    ] {
        let limits = layer(
            HeaderStyle::Draft6,
            rule("api", &[("m", Quota::per_minute(1))]),
        );
        let service = CorsLayer::new()
            .allow_origin(Any)
            .expose_headers(list)
            .layer(limits.layer(handler()));
        for _ in 0..2 {
            let response = send(&service, page_from("https://app.example")).await;
            assert_eq!(exposed(response.headers()), sorted(readable.clone()));
        }
    }
}
