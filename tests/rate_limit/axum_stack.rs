//! In axum routers, over real sockets.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    routing::{any, get},
};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Routes, matched_path, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    testing::ManualClock,
};

use crate::http_client::{get as fetch, send};

fn two_a_minute(name: &str) -> RateLimitRule {
    let quota = Quota::sliding(2, Duration::from_secs(60));
    RateLimitRule::new(name, peer_ip().or_reject(), [("minute", quota)]).expect("a valid rule")
}

fn layer(policy: impl tower_stash::policy::Policy<RateLimitRule>) -> RateLimitLayer {
    RateLimitLayer::new(MemoryBackend::new(), policy).expect("a valid layer")
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

async fn statuses(server: SocketAddr, paths: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(fetch(server, path).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn the_sixth_of_five_requests_is_told_when_to_come_back() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let quota = Quota::sliding(5, Duration::from_secs(10));
    let rule = RateLimitRule::new("limited", peer_ip().or_reject(), [("burst", quota)]).unwrap();
    let layer = RateLimitLayer::new(backend, rule).unwrap();
    let server = serve(Router::new().route("/", get(async || "hello")).layer(layer)).await;

    for left in (0..5).rev() {
        let answer = fetch(server, "/").await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "hello"));
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"limited.burst\";q=5;w=10")
        );
        assert_eq!(
            answer.header("ratelimit"),
            Some(&*format!("\"limited.burst\";r={left};t=10"))
        );
        assert_eq!(answer.header("retry-after"), None);
    }
    clock.advance(Duration::from_millis(2_001));
    let denied = fetch(server, "/").await;
    assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(denied.header("retry-after"), Some("8"));
    assert_eq!(
        denied.header("ratelimit"),
        Some("\"limited.burst\";r=0;t=8")
    );
    assert_eq!(denied.header("cache-control"), Some("no-store"));
    assert_eq!(
        denied.header("content-type"),
        Some("application/problem+json")
    );
    let problem: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "violated-policies": ["limited.burst"],
        })
    );

    clock.advance(Duration::from_millis(7_998));
    assert_eq!(
        fetch(server, "/").await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(fetch(server, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn router_layer_covers_routes_and_fallback_with_one_state() {
    let app = Router::new()
        .route("/a", get(async || "a"))
        .route("/b", get(async || "b"))
        .fallback(async || "nothing here")
        .layer(layer(two_a_minute("all")));
    let server = serve(app).await;
    assert_eq!(
        statuses(server, &["/a", "/b", "/a", "/missing"]).await,
        [200, 200, 429, 429]
    );
}

#[tokio::test]
async fn route_layer_leaves_the_fallback_alone() {
    let app = Router::new()
        .route("/a", get(async || "a"))
        .route_layer(layer(two_a_minute("routes")))
        .fallback(async || "nothing here");
    let server = serve(app).await;
    assert_eq!(
        statuses(server, &["/a", "/a", "/a", "/missing"]).await,
        [200, 200, 429, 200]
    );
}

#[tokio::test]
async fn routes_name_the_whole_path_of_a_nested_router() {
    let nested = Router::new().route("/users/{id}", get(async || "user"));
    let policy = Routes::new().get("/api/users/{id}", two_a_minute("users"));
    let app = Router::new()
        .nest("/api", nested)
        .route("/free", get(async || "free"))
        .layer(layer(policy));
    let server = serve(app).await;
    let paths = [
        "/api/users/1",
        "/free",
        "/api/users/2",
        "/api/users/3",
        "/free",
    ];
    assert_eq!(statuses(server, &paths).await, [200, 200, 200, 429, 200]);
}

#[tokio::test]
async fn a_layer_inside_a_nested_router_sees_the_whole_path_too() {
    let policy = Routes::new().get("/api/users/{id}", two_a_minute("users"));
    let nested = Router::new()
        .route("/users/{id}", get(async || "user"))
        .layer(layer(policy));
    let server = serve(Router::new().nest("/api", nested)).await;
    assert_eq!(
        statuses(server, &["/api/users/1", "/api/users/1", "/api/users/2"]).await,
        [200, 200, 429]
    );
}

#[tokio::test]
async fn a_path_key_counts_each_route_by_its_pattern() {
    let quota = Quota::sliding(1, Duration::from_secs(60));
    let rule = RateLimitRule::new("paths", matched_path().or_shared(), [("one", quota)]).unwrap();
    let app = Router::new()
        .route("/users/{id}", get(async || "user"))
        .route("/orders/{id}", get(async || "order"))
        .layer(layer(rule));
    let server = serve(app).await;
    assert_eq!(
        statuses(server, &["/users/1", "/orders/1", "/users/2"]).await,
        [200, 200, 429]
    );
}

async fn preflights(server: SocketAddr) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let preflight = Request::options(format!("http://{server}/"))
            .header("origin", "https://example.com")
            .header("access-control-request-method", "GET");
        statuses.push(send(preflight).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn what_looks_like_a_preflight_is_counted() {
    let app = Router::new()
        .route("/", any(async || "ran"))
        .layer(layer(two_a_minute("all")));
    assert_eq!(preflights(serve(app).await).await, [200, 200, 429]);
}

#[tokio::test]
async fn preflights_pass_uncounted_where_that_is_asked_for() {
    let app = Router::new()
        .route("/", any(async || "ran"))
        .layer(layer(two_a_minute("all")).with_uncounted_preflights());
    let server = serve(app).await;
    assert_eq!(preflights(server).await, [200, 200, 200]);
    let other_options = || Request::options(format!("http://{server}/"));
    for status in [200, 200, 429] {
        assert_eq!(send(other_options()).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn without_connect_info_the_missing_peer_is_the_chosen_400() {
    let app = Router::new()
        .route("/", get(async || "hello"))
        .layer(layer(two_a_minute("all")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let answer = fetch(server, "/").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}
