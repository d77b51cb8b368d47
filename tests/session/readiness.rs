//! The service that was polled ready is the one called, and no permit is lost.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tower::{
    Layer as _, Service, ServiceExt as _, buffer::Buffer, limit::GlobalConcurrencyLimitLayer,
};
use tower_stash::{
    policy::Routes,
    session::{Session, SessionLayer, SessionRule, SessionService, Sessions},
    testing::Fault,
};

use crate::{
    fixture::{Bed, web},
    strict::Strict,
};

type Inner = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Future = <SessionService<Inner> as Service<Request<Body>>>::Future;

#[test]
fn layer_service_and_future_are_as_free_as_axum_and_tonic_need() {
    fn free<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + 'static>() {}
    fn same<E, S: Service<Request<Body>, Error = E>>() {}
    free::<SessionLayer>();
    free::<SessionService<Inner>>();
    free::<SessionRule>();
    free::<Session>();
    free::<Sessions>();
    sendable::<Future>();
    same::<Infallible, SessionService<Inner>>();
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn guarded() -> Routes<SessionRule> {
    Routes::new()
        .get("/free", web())
        .get("/guarded", web().with_required_user())
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_called() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = bed.layer(guarded()).layer(inner);
    // Passing, serving, let through, turned away, and passing again.
    for (request, status) in [
        (get("/none"), StatusCode::OK),
        (get("/free"), StatusCode::OK),
        (browser.request(Request::get("/guarded")), StatusCode::OK),
        (get("/guarded"), StatusCode::UNAUTHORIZED),
        (get("/none"), StatusCode::OK),
    ] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn who_is_turned_away_or_dropped_gives_the_permit_back() {
    let bed = Bed::new();
    let layer = bed.layer(guarded());
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = Buffer::new(layer.layer(one_permit.layer(Strict::default())), 8);
    let mut other = Buffer::new(layer.layer(one_permit.layer(Strict::default())), 8);
    for _ in 0..5 {
        for service in [&mut service, &mut other] {
            let response = tokio::time::timeout(Duration::from_secs(5), async {
                let request = get("/guarded");
                service.ready().await.unwrap().call(request).await.unwrap()
            });
            let response = response.await.expect("the permit is free");
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
    }
    for path in ["/guarded", "/free", "/none"] {
        drop(service.ready().await.unwrap().call(get(path)));
    }
    let free = tokio::time::timeout(Duration::from_secs(5), other.ready()).await;
    assert!(free.expect("the permit is free").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_while_the_backend_hangs_gives_its_permit_back() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let one_permit = GlobalConcurrencyLimitLayer::new(1);
    let mut service = bed
        .layer(guarded())
        .layer(one_permit.layer(Strict::default()));
    for _ in 0..3 {
        bed.backend.script([Fault::Hang]);
        let ready = tokio::time::timeout(Duration::from_secs(5), service.ready());
        let request = browser.request(Request::get("/guarded"));
        let call = ready
            .await
            .expect("the permit is free")
            .unwrap()
            .call(request);
        let answer = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(answer.is_err(), "it hangs");
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_passed_on_and_nothing_is_written() {
    let bed = Bed::new();
    let inner = tower::service_fn(async |request: Request<Body>| {
        let session = request.extensions().get::<Session>().unwrap();
        session.insert("a", 1).await.unwrap();
        Err::<Response<Body>, _>("broken")
    });
    let service = bed.layer(web()).layer(inner);
    assert_eq!(service.oneshot(get("/")).await.unwrap_err(), "broken");
    assert_eq!(bed.backend.total_calls(), 0);
}
