//! Requests that are not limited, and those that are not wanted.

use http::{Method, Request, request::Parts};
use tower_stash::{
    policy::{KeyExtractor as _, header},
    rate_limit::{Quota, RateLimitLayer},
};

use crate::{
    fixture::{App, Store, keyed, rule, with},
    http_client::{request, text},
};

fn is_health_check(request: &Parts) -> bool {
    request.uri.path() == "/health"
}

fn preflight() -> Request<axum::body::Body> {
    let preflight = with(request(Method::OPTIONS, "/"), "origin", "https://a.example");
    with(preflight, "access-control-request-method", "PUT")
}

#[tokio::test]
async fn a_skipped_request_makes_no_call_and_is_told_nothing() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(1)).with_skip(is_health_check);
    let app = App::behind(&store.layer(rule));
    for _ in 0..5 {
        // Without a key, which the rule insists on elsewhere.
        let response = app.send(request(Method::GET, "/health")).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().is_empty());
    }
    assert_eq!(store.backend.total_calls(), 0);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
}

#[tokio::test]
async fn who_is_on_the_deny_list_gets_403_uncounted() {
    let store = Store::local();
    let listed = header("x-key").is_one_of(["eve", "mallory"]);
    let rule = rule("api", Quota::per_minute(1)).with_deny_list(listed);
    let app = App::behind(&store.layer(rule));
    let denied = app.get("eve").await;
    assert_eq!(denied.status(), 403);
    assert_eq!(denied.headers()["cache-control"], "no-store");
    assert!(!denied.headers().contains_key("retry-after"));
    assert!(!text(denied).await.contains("eve"));
    assert_eq!((store.backend.total_calls(), app.ran()), (0, 0));
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test]
async fn a_grpc_call_from_the_deny_list_gets_permission_denied() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(1)).with_deny_list(|_: &Parts| true);
    let app = App::behind(&store.layer(rule));
    let call = with(keyed("eve"), "content-type", "application/grpc");
    let denied = app.send(call).await;
    assert_eq!(denied.status(), 200);
    assert_eq!(denied.headers()["grpc-status"], "7");
}

#[tokio::test]
async fn who_is_skipped_is_not_denied_by_the_deny_list() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(1))
        .with_skip(is_health_check)
        .with_deny_list(|_: &Parts| true);
    let app = App::behind(&store.layer(rule));
    assert_eq!(
        app.send(request(Method::GET, "/health")).await.status(),
        200
    );
    assert_eq!(app.status("ada").await, 403);
}

#[test]
fn a_mistake_in_a_condition_comes_out_when_a_layer_or_a_limiter_is_made() {
    let store = Store::local();
    let unnameable = || header("x key").is_one_of(["ada"]);
    for rule in [
        rule("api", Quota::per_minute(1)).with_skip(unnameable()),
        rule("api", Quota::per_minute(1)).with_deny_list(unnameable()),
    ] {
        let layer = RateLimitLayer::new(store.backend.clone(), rule.clone());
        let error = layer.unwrap_err().to_string();
        assert!(error.contains("rule \"api\"") && error.contains("x key"));
        let limiter = tower_stash::rate_limit::RateLimiter::new(store.backend.clone(), rule);
        assert_eq!(limiter.unwrap_err().to_string(), error);
    }
}

#[tokio::test]
async fn preflights_count_like_any_request_unless_the_layer_says_otherwise() {
    let store = Store::local();
    let layer = store.layer(rule("api", Quota::per_minute(1)));
    let counted = App::behind(&layer);
    assert_eq!(counted.send(preflight()).await.status(), 400, "no key");

    let uncounted = App::behind(&layer.with_uncounted_preflights());
    for _ in 0..3 {
        let response = uncounted.send(preflight()).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().is_empty());
    }
    assert_eq!(store.backend.total_calls(), 0);
}

#[tokio::test]
async fn what_is_only_half_a_preflight_counts() {
    let store = Store::local();
    let layer = store.layer(rule("api", Quota::per_minute(1)));
    let app = App::behind(&layer.with_uncounted_preflights());
    let options = || request(Method::OPTIONS, "/");
    let asking = "access-control-request-method";
    for half in [
        options(),
        with(options(), "origin", "https://a.example"),
        with(options(), asking, "PUT"),
        with(
            with(request(Method::GET, "/"), "origin", "https://a.example"),
            asking,
            "PUT",
        ),
    ] {
        assert_eq!(app.send(half).await.status(), 400, "no key");
    }
}
