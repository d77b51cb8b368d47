//! The service that was polled ready is the one called, and no permit is lost.

use std::{sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use tower::{
    Layer as _, Service, ServiceExt as _,
    buffer::Buffer,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{Outage, Quota, RateLimitLayer, RateLimitRule},
    testing::Fault,
};

use crate::{
    fixture::{Store, rule},
    http_client::request,
    strict::Strict,
};

fn one_a_minute() -> RateLimitLayer {
    let quota = Quota::sliding(1, Duration::from_secs(60));
    let rule = RateLimitRule::new("one", header("x-key").or_skip(), [("minute", quota)]).unwrap();
    RateLimitLayer::new(MemoryBackend::new(), rule).unwrap()
}

fn keyed() -> Request<Body> {
    let mut keyed = request(Method::GET, "/");
    keyed.headers_mut().insert("x-key", "k".parse().unwrap());
    keyed
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_called() {
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = one_a_minute().layer(inner);
    // Passing, admitted, denied, and passing again.
    for (request, status) in [
        (request(Method::GET, "/"), StatusCode::OK),
        (keyed(), StatusCode::OK),
        (keyed(), StatusCode::TOO_MANY_REQUESTS),
        (request(Method::GET, "/"), StatusCode::OK),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(
        calls.load(Ordering::Relaxed),
        3,
        "a denied request does not reach the service"
    );
}

#[tokio::test]
async fn a_denied_or_dropped_request_gives_its_permit_back() {
    let inner = ConcurrencyLimit::new(Strict::default(), 1);
    let mut service = Buffer::new(one_a_minute().layer(inner), 8);
    for _ in 0..10 {
        let response = tokio::time::timeout(Duration::from_secs(5), async {
            service.ready().await.unwrap().call(keyed()).await.unwrap()
        });
        response.await.expect("the permit is free");
    }
    for _ in 0..10 {
        drop(service.ready().await.unwrap().call(keyed()));
    }
    let free = tokio::time::timeout(Duration::from_secs(5), service.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test]
async fn a_request_without_its_key_gives_its_permit_back() {
    let quota = Quota::sliding(1, Duration::from_secs(60));
    let rule = RateLimitRule::new("one", header("x-key").or_reject(), [("minute", quota)]).unwrap();
    let layer = RateLimitLayer::new(MemoryBackend::new(), rule).unwrap();
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut idle = layer.layer(one_permit.layer(Strict::default()));
    let mut other = layer.layer(one_permit.layer(Strict::default()));
    let response = idle
        .ready()
        .await
        .unwrap()
        .call(request(Method::GET, "/"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test]
async fn a_denial_that_is_remembered_gives_its_permit_back() {
    let store = Store::remote();
    let layer = store.layer(rule("one", Quota::per_minute(1)));
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = Buffer::new(layer.layer(one_permit.layer(Strict::default())), 8);
    let mut other = Buffer::new(layer.layer(one_permit.layer(Strict::default())), 8);
    for _ in 0..5 {
        for service in [&mut service, &mut other] {
            let response = tokio::time::timeout(Duration::from_secs(5), async {
                service.ready().await.unwrap().call(keyed()).await.unwrap()
            });
            response.await.expect("the permit is free");
        }
    }
    assert_eq!(store.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_while_the_backend_hangs_gives_its_permit_back() {
    let store = Store::local();
    let layer = store.layer(rule("one", Quota::per_minute(9)));
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = layer.layer(one_permit.layer(Strict::default()));
    for _ in 0..3 {
        store.backend.script([Fault::Hang]);
        let ready = tokio::time::timeout(Duration::from_secs(5), service.ready());
        let call = ready
            .await
            .expect("the permit is free")
            .unwrap()
            .call(keyed());
        let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(answer.is_err(), "it hangs");
    }
}

#[tokio::test]
async fn who_is_denied_by_list_or_in_an_outage_gives_the_permit_back() {
    let store = Store::local();
    store.backend.go_down();
    for rule in [
        rule("one", Quota::per_minute(9)).with_outage(Outage::Deny),
        rule("one", Quota::per_minute(9)).with_deny_list(|_: &http::request::Parts| true),
    ] {
        let one_permit = GlobalConcurrencyLimitLayer::new(1);
        let layer = store.layer(rule);
        let mut idle = layer.layer(one_permit.layer(Strict::default()));
        let mut other = layer.layer(one_permit.layer(Strict::default()));
        let response = idle.ready().await.unwrap().call(keyed()).await.unwrap();
        assert!(response.status() == 503 || response.status() == 403);
        let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
        assert!(free.expect("the permit is free").is_ok());
    }
}
