//! Counting by the response, and permits.

use std::time::Duration;

use axum::{Extension, Router, body::Body, routing::get};
use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_stash::{
    backend::{BackendErrorKind, Op},
    rate_limit::{Permit, Quota, RateLimitRule},
    testing::Fault,
};

use crate::{
    fixture::{App, Store, keyed, rule, settle, with},
    observed::logged,
};

/// So many failed logins a minute.
fn failures(limit: u64) -> RateLimitRule {
    rule("login", Quota::per_minute(limit))
        .with_count_if(|response| response.status == StatusCode::UNAUTHORIZED)
}

async fn login(app: &App, status: &str) -> Response<Body> {
    let response = app.send(with(keyed("ada"), "x-status", status)).await;
    settle().await;
    response
}

#[tokio::test]
async fn good_logins_do_not_count_and_bad_ones_do() {
    let store = Store::local();
    let app = App::behind(&store.layer(failures(2)));
    for _ in 0..5 {
        assert_eq!(login(&app, "200").await.status(), 200);
    }
    assert_eq!(login(&app, "401").await.status(), 401);
    assert_eq!(login(&app, "200").await.status(), 200);
    assert_eq!(login(&app, "401").await.status(), 401);
    assert_eq!(login(&app, "200").await.status(), 429);
    assert_eq!(app.ran(), 8);
    assert_eq!((store.asked(), store.refunds().await), (9, 6));
}

#[tokio::test]
async fn a_response_does_not_wait_for_its_refund() {
    let store = Store::local();
    let app = App::behind(&store.layer(failures(1)));
    store.backend.script([Fault::None, Fault::Hang]);
    assert_eq!(login(&app, "200").await.status(), 200);
    assert_eq!(store.backend.calls(Op::Refund), 1);
    assert_eq!(login(&app, "200").await.status(), 429, "it hangs");
}

#[tokio::test]
async fn no_more_than_the_limit_are_under_way_at_once() {
    let gate: &Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let store = Store::local();
    let app = App::running(&store.layer(failures(3)), async |_: Request<Body>| {
        gate.acquire().await.unwrap().forget();
        Response::new(Body::empty())
    });
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.status("ada").await })
        })
        .collect();
    settle().await;
    assert_eq!(app.ran(), 3);

    gate.add_permits(20);
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(request.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3);
    // None of them counts, so there is room for as many again.
    settle().await;
    assert_eq!(app.statuses("ada", 1).await, [200]);
}

#[tokio::test]
async fn what_a_failed_refund_would_give_back_stays_counted() {
    for fault in [
        Fault::Fail(BackendErrorKind::Unavailable),
        Fault::Fail(BackendErrorKind::TimedOut),
    ] {
        let store = Store::local();
        let app = App::behind(&store.layer(failures(2)));
        store.backend.script([Fault::None, fault]);
        assert_eq!(login(&app, "200").await.status(), 200);
        assert_eq!(login(&app, "401").await.status(), 401);
        assert_eq!(login(&app, "200").await.status(), 429);
        assert_eq!(store.backend.calls(Op::Refund), 1, "it is not repeated");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_runs_stays_counted() {
    let store = Store::local();
    let app = App::running(&store.layer(failures(1)), async |_: Request<Body>| {
        std::future::pending().await
    });
    let dropped = tokio::time::timeout(Duration::from_secs(1), app.get("ada")).await;
    assert!(dropped.is_err());
    assert_eq!((app.ran(), store.refunds().await), (1, 0));
    assert_eq!(app.status("ada").await, 429);
}

#[tokio::test]
async fn a_request_that_was_not_counted_is_not_given_back() {
    let store = Store::local();
    let app = App::behind(&store.layer(failures(1)));
    store.backend.go_down();
    assert_eq!(login(&app, "200").await.status(), 200);
    store.backend.come_up();
    assert_eq!(store.refunds().await, 0);
}

#[tokio::test]
async fn a_free_request_has_nothing_to_give_back() {
    let store = Store::local();
    let app = App::behind(&store.layer(failures(1).with_fixed_cost(0)));
    assert_eq!(login(&app, "200").await.status(), 200);
    assert_eq!(store.refunds().await, 0);
}

#[tokio::test]
async fn the_whole_cost_is_given_back() {
    let store = Store::local();
    let app = App::behind(&store.layer(failures(5).with_fixed_cost(3)));
    for _ in 0..4 {
        assert_eq!(login(&app, "200").await.status(), 200);
    }
    assert_eq!(login(&app, "401").await.status(), 401);
    assert_eq!(login(&app, "401").await.status(), 429);
}

#[tokio::test]
async fn a_refund_of_the_last_window_adds_nothing_to_this_one() {
    let store = Store::local();
    let limits = Quota::fixed(2, Duration::from_secs(60));
    let rule = rule("login", limits).with_permit();
    let app = App::running(&store.layer(rule), async |request: Request<Body>| {
        let mut response = Response::new(Body::empty());
        let permit = request.extensions().get::<Permit>().unwrap().clone();
        response.extensions_mut().insert(permit);
        response
    });
    let late = app.get("ada").await;
    store.clock.advance(Duration::from_secs(60));
    app.get("ada").await;
    late.extensions().get::<Permit>().unwrap().clone().refund();
    assert_eq!(store.refunds().await, 1);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
}

#[tokio::test]
async fn a_handler_gives_back_by_its_permit() {
    async fn search(Extension(permit): Extension<Permit>) -> StatusCode {
        permit.refund();
        StatusCode::OK
    }
    let store = Store::local();
    let rule = rule("search", Quota::per_minute(1)).with_permit();
    let app = Router::new()
        .route("/", get(search))
        .layer(store.layer(rule));
    for _ in 0..5 {
        let response = app.clone().oneshot(keyed("ada")).await.unwrap();
        assert_eq!(response.status(), 200);
        settle().await;
    }
}

#[tokio::test]
async fn a_permit_gives_back_once_however_often_it_is_cloned() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(3)).with_permit();
    let app = App::running(&store.layer(rule), async |request: Request<Body>| {
        if request.headers().contains_key("x-refund") {
            let permit = request.extensions().get::<Permit>().unwrap();
            for _ in 0..5 {
                permit.clone().refund();
            }
        }
        Response::new(Body::empty())
    });
    assert_eq!(app.statuses("ada", 2).await, [200, 200]);
    app.send(with(keyed("ada"), "x-refund", "yes")).await;
    assert_eq!(store.refunds().await, 1);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
}

#[tokio::test]
async fn a_permit_and_a_response_that_does_not_count_give_back_once() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(3))
        .with_permit()
        .with_count_if(|_| false);
    let app = App::running(&store.layer(rule), async |request: Request<Body>| {
        request
            .extensions()
            .get::<Permit>()
            .unwrap()
            .clone()
            .refund();
        Response::new(Body::empty())
    });
    app.get("ada").await;
    assert_eq!(store.refunds().await, 1);
}

#[tokio::test]
async fn one_permit_gives_back_what_all_layers_around_the_handler_took() {
    use tower::Layer as _;
    let store = Store::local();
    let layer = |name| store.layer(rule(name, Quota::per_minute(1)).with_permit());
    let handler = tower::service_fn(async |request: Request<Body>| {
        let permit = request.extensions().get::<Permit>().unwrap();
        permit.clone().refund();
        Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    });
    let app = layer("outer").layer(layer("inner").layer(handler));
    for _ in 0..3 {
        let response = app.clone().oneshot(keyed("ada")).await.unwrap();
        assert_eq!(response.status(), 200);
        settle().await;
    }
    assert_eq!(store.backend.calls(Op::Refund), 6);
}

#[tokio::test]
async fn a_request_has_a_permit_only_where_its_rule_says_so() {
    let store = Store::local();
    let app = App::running(
        &store.layer(rule("api", Quota::per_minute(3))),
        async |request: Request<Body>| {
            assert!(request.extensions().get::<Permit>().is_none());
            Response::new(Body::empty())
        },
    );
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test]
async fn a_request_that_took_nothing_has_a_permit_too() {
    let store = Store::local();
    let skipped = rule("skipped", Quota::per_minute(3))
        .with_skip(|_: &http::request::Parts| true)
        .with_permit();
    let uncounted = rule("api", Quota::per_minute(3)).with_permit();
    store.backend.go_down();
    for rule in [skipped, uncounted] {
        let app = App::running(&store.layer(rule), async |request: Request<Body>| {
            let permit = request.extensions().get::<Permit>().expect("a permit");
            permit.clone().refund();
            Response::new(Body::empty())
        });
        assert_eq!(app.status("ada").await, 200);
    }
    assert_eq!(store.refunds().await, 0);
}

#[test]
fn of_more_than_1024_refunds_under_way_the_rest_stays_counted_and_is_warned_of() {
    let log = logged(async {
        let store = Store::local();
        let app = App::behind(&store.layer(failures(2_000)));
        let hanging = [Fault::None, Fault::Hang];
        store
            .backend
            .script(hanging.into_iter().cycle().take(2 * 1_024));
        for _ in 0..1_030 {
            login(&app, "200").await;
        }
        assert_eq!(store.refunds().await, 1_024);
    });
    assert_eq!(log.matches("too many refunds are under way").count(), 1);
}

#[tokio::test]
async fn a_permit_given_back_outside_of_a_runtime_stays_counted() {
    let store = Store::local();
    let limiter = store.limiter(rule("api", Quota::per_minute(1)));
    let check = limiter.check("ada", 1).await;
    let thread = std::thread::spawn(move || check.refund());
    thread.join().expect("it does not panic");
    assert_eq!(store.refunds().await, 0);
    assert!(!limiter.check("ada", 1).await.admitted);
}
