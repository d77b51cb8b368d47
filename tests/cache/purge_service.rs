//! Purging over HTTP.

use std::time::Duration;

use axum::{Router, body::Body};
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_stash::{
    backend::MemoryBackend,
    cache::{BearerToken, CacheLayer, CacheRule, PurgeService},
    policy::Routes,
    testing::FaultBackend,
};

use crate::fixture::{Bed, always, data, faulty, fed, get};

const SECRET: &str = "0123456789abcdef0123456789ABCDEF";

struct Admin {
    bed: Bed,
    backend: FaultBackend<MemoryBackend>,
    service: PurgeService,
}

impl Admin {
    fn new() -> Self {
        let backend = faulty();
        let rule = CacheRule::new("pages").unwrap();
        let policy = Routes::new().get("/a", rule.clone()).get("/b", rule);
        let layer = CacheLayer::new(backend.clone(), policy).unwrap();
        let token = BearerToken::new(SECRET).unwrap();
        let service = PurgeService::new(layer.purge(), token);
        let headers = &[("cache-control", "max-age=60"), ("cache-tag", "tag")];
        Self {
            bed: Bed::behind(layer, always(200, headers, "page")),
            backend,
            service,
        }
    }

    async fn send(&self, request: Request<Body>) -> (Response<()>, Value) {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap();
        assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
        (Response::from_parts(parts, ()), body)
    }

    async fn post(&self, body: impl Into<Body>) -> (Response<()>, Value) {
        self.send(order().body(body.into()).unwrap()).await
    }

    async fn is_stored(&self, path: &str) -> bool {
        let before = self.bed.calls();
        self.bed.send(get(path, &[])).await;
        self.bed.calls() == before
    }

    /// Stores both pages.
    async fn fill(&self) {
        for path in ["/a", "/b"] {
            self.is_stored(path).await;
            assert!(self.is_stored(path).await);
        }
    }
}

fn order() -> http::request::Builder {
    Request::post("/purge")
        .header("authorization", format!("Bearer {SECRET}"))
        .header("content-type", "application/json; charset=utf-8")
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_purged_and_told() {
    let admin = Admin::new();
    for (asked, done, stored) in [
        (
            r#"{"tags":["tag"]}"#,
            json!({"tags": ["tag"]}),
            [false, false],
        ),
        (
            r#"{"urls":["http://example.com/a"]}"#,
            json!({"urls": ["http://example.com/a"]}),
            [false, true],
        ),
        (r#"{"all":true}"#, json!({"all": true}), [false, false]),
        (
            r#"{"all":false,"tags":["other"]}"#,
            json!({"tags": ["other"]}),
            [true, true],
        ),
    ] {
        admin.fill().await;
        let (response, told) = admin.post(asked).await;
        assert_eq!(response.status(), 200, "{told}");
        assert_eq!(told, json!({"purged": done, "soft": false}));
        assert_eq!(response.headers()["content-type"], "application/json");
        let found = [admin.is_stored("/a").await, admin.is_stored("/b").await];
        assert_eq!(found, stored, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_leaves_what_is_stale() {
    let admin = Admin::new();
    admin.fill().await;
    let (response, told) = admin.post(r#"{"tags":["tag"],"soft":true}"#).await;
    assert_eq!(response.status(), 200);
    assert_eq!(told, json!({"purged": {"tags": ["tag"]}, "soft": true}));
    let answer = admin.bed.send(get("/a", &[])).await;
    assert_eq!(answer.kind(), Some(tower_stash::cache::OutcomeKind::Stale));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_show_the_token_learns_and_does_nothing() {
    let admin = Admin::new();
    admin.fill().await;
    for (line, challenge) in [
        (None, "Bearer realm=\"purge\""),
        (
            Some("Bearer x"),
            "Bearer realm=\"purge\", error=\"invalid_token\"",
        ),
        (
            Some("Basic eDp4"),
            "Bearer realm=\"purge\", error=\"invalid_token\"",
        ),
    ] {
        for method in ["POST", "GET"] {
            let mut request = Request::builder().method(method);
            if let Some(line) = line {
                request = request.header("authorization", line);
            }
            let request = request.body(Body::from(r#"{"all":true}"#)).unwrap();
            let (response, problem) = admin.send(request).await;
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["www-authenticate"], challenge);
            assert_eq!(problem["status"], 401);
        }
    }
    assert!(admin.is_stored("/a").await);
}

#[tokio::test(start_paused = true)]
async fn other_requests_than_it_wants_are_told_what_is_wrong() {
    let admin = Admin::new();
    admin.fill().await;
    let all = r#"{"all":true}"#;
    let request = order().method("PUT").body(Body::from(all)).unwrap();
    let (response, _) = admin.send(request).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );

    let mut request = order().body(Body::from(all)).unwrap();
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", form);
    assert_eq!(admin.send(request).await.0.status(), 415);

    for body in ["", "null", "{}", r#"{"tag":["a"]}"#, r#"{"tags":"secret"}"#] {
        let (response, problem) = admin.post(body).await;
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert!(!problem["detail"].as_str().unwrap().contains("secret"));
    }
    assert!(admin.is_stored("/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_64_kib_is_read_and_no_longer_one() {
    let admin = Admin::new();
    let text = |len: usize| format!("{{\"tags\":[\"a\"]{}}}", " ".repeat(len - 14));
    assert_eq!(admin.post(text(64 * 1024)).await.0.status(), 200);
    assert_eq!(admin.post(text(64 * 1024 + 1)).await.0.status(), 413);
    let declared = order().header("content-length", "65537");
    let request = declared.body(Body::from("{}")).unwrap();
    assert_eq!(admin.send(request).await.0.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_does_not_end_purges_nothing() {
    let admin = Admin::new();
    admin.fill().await;
    let (feed, body) = fed();
    feed.send(data(r#"{"all":true}"#)).unwrap();
    feed.send(Err(crate::fixture::Broken)).unwrap();
    assert_eq!(admin.post(body).await.0.status(), 400);

    let (feed, body) = fed();
    feed.send(data(r#"{"all":true}"#)).unwrap();
    let late = tokio::time::timeout(Duration::from_secs(31), admin.post(body));
    assert_eq!(late.await.unwrap().0.status(), 408);
    drop(feed);
    admin.fill().await;
}

#[tokio::test(start_paused = true)]
async fn a_url_that_cannot_be_purged_keeps_the_others_from_it() {
    let admin = Admin::new();
    admin.fill().await;
    for url in ["/a", "http://example.com/c"] {
        let order = json!({"tags": ["tag"], "urls": ["http://example.com/a", url]});
        let (response, problem) = admin.post(order.to_string()).await;
        assert_eq!(response.status(), 422);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("\"urls\", number 2: "), "{detail}");
        assert!(admin.is_stored("/a").await);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_backend_is_away_it_says_when_to_come_back() {
    let admin = Admin::new();
    admin.backend.go_down();
    for order in [
        r#"{"tags":["tag"]}"#,
        r#"{"urls":["http://example.com/a"]}"#,
        r#"{"all":true}"#,
    ] {
        let (response, problem) = admin.post(order).await;
        assert_eq!(
            (response.status().as_u16(), &problem["status"]),
            (503, &json!(503))
        );
        assert_eq!(response.headers()["retry-after"], "1");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_a_route_of_axum() {
    let admin = Admin::new();
    admin.fill().await;
    let router: Router = Router::new().route_service("/purge", admin.service.clone());
    let request = order().body(Body::from(r#"{"all":true}"#)).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), 200);
    assert!(!admin.is_stored("/a").await);
    let text = format!("{:?} {:?}", admin.service, BearerToken::new(SECRET));
    assert!(!text.contains("0123456789"), "{text}");
}
