//! Rules that ask another one too.

use http::{Method, StatusCode};
use tower_stash::{
    backend::{BackendErrorKind, Op},
    policy::{KeyExtractor as _, header},
    rate_limit::{HeaderStyle, Outage, Quota, RateLimitRule},
    testing::Fault,
};

use crate::{
    fixture::{App, Store, keyed, rule, rule_by, settle, with},
    http_client::request,
};

/// Two a minute by `x-key`, and of those one a minute by `x-user`.
fn by_key_and_user() -> RateLimitRule {
    rule("key", Quota::per_minute(2)).with_and(rule_by("x-user", "user", Quota::per_minute(1)))
}

fn from(key: &str, user: &str) -> http::Request<axum::body::Body> {
    with(keyed(key), "x-user", user)
}

async fn status(app: &App, key: &str, user: &str) -> StatusCode {
    app.send(from(key, user)).await.status()
}

#[tokio::test]
async fn both_rules_are_asked_in_one_round_trip_each_and_both_are_told() {
    let store = Store::local();
    let app = App::behind(&store.layer(by_key_and_user()));
    let response = app.send(from("k", "u")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(store.backend.total_calls(), 2);
    let told = response.headers().get_all("ratelimit").iter();
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["\"key.minute\";r=1;t=60", "\"user.minute\";r=0;t=60"]
    );
}

#[tokio::test]
async fn a_style_with_room_for_one_tells_the_tighter_rule() {
    let store = Store::local();
    let layer = store
        .layer(by_key_and_user())
        .with_headers(HeaderStyle::Draft7);
    let response = App::behind(&layer).send(from("k", "u")).await;
    assert_eq!(
        response.headers()["ratelimit"],
        "limit=1, remaining=0, reset=60"
    );
}

#[tokio::test]
async fn the_first_rule_that_denies_is_the_last_one_asked() {
    let store = Store::local();
    let app = App::behind(&store.layer(by_key_and_user()));
    assert_eq!(status(&app, "k", "u1").await, 200);
    assert_eq!(status(&app, "k", "u2").await, 200);
    let asked = store.asked();
    let denied = app.send(from("k", "u3")).await;
    assert_eq!(denied.status(), 429);
    assert_eq!(store.asked(), asked + 1);
    assert_eq!(denied.headers()["ratelimit"], "\"key.minute\";r=0;t=60");
    assert_eq!(app.ran(), 2);
    // Nobody took from the third user.
    assert_eq!(status(&app, "other", "u3").await, 200);
}

#[tokio::test]
async fn a_denial_gives_back_what_the_rules_before_it_took() {
    let store = Store::local();
    let app = App::behind(&store.layer(by_key_and_user()));
    assert_eq!(status(&app, "k", "u").await, 200);
    for denials in 1..=5 {
        let denied = app.send(from("k", "u")).await;
        assert_eq!(denied.status(), 429);
        assert_eq!(denied.headers()["ratelimit"], "\"user.minute\";r=0;t=60");
        assert_eq!(store.refunds().await, denials);
    }
    assert_eq!(status(&app, "k", "other").await, 200);
    assert_eq!(app.ran(), 2);
}

#[tokio::test]
async fn what_a_lost_refund_would_give_back_stays_counted() {
    let store = Store::local();
    let app = App::behind(&store.layer(by_key_and_user()));
    assert_eq!(status(&app, "k", "u").await, 200);
    let refund_fails = [
        Fault::None,
        Fault::None,
        Fault::Fail(BackendErrorKind::Unavailable),
    ];
    store.backend.script(refund_fails);
    assert_eq!(status(&app, "k", "u").await, 429);
    settle().await;
    assert_eq!(status(&app, "k", "other").await, 429);
}

#[tokio::test]
async fn who_does_not_name_himself_to_the_second_rule_takes_nothing_from_the_first() {
    let store = Store::local();
    let app = App::behind(&store.layer(by_key_and_user()));
    for _ in 0..5 {
        assert_eq!(app.get("k").await.status(), 400);
    }
    assert_eq!(store.backend.total_calls(), 0);
    assert_eq!(app.send(request(Method::GET, "/")).await.status(), 400);
}

#[tokio::test]
async fn a_rule_that_does_not_apply_is_left_out_of_the_chain() {
    let store = Store::local();
    let quotas = [("minute", Quota::per_minute(1))];
    let by_user = RateLimitRule::new("user", header("x-user").or_skip(), quotas).unwrap();
    let chain = rule("key", Quota::per_minute(2)).with_and(by_user);
    let app = App::behind(&store.layer(chain));
    assert_eq!(app.statuses("k", 3).await, [200, 200, 429]);
    assert_eq!(store.asked(), 3);
}

#[tokio::test]
async fn a_chain_of_chains_is_one_chain_in_order() {
    let store = Store::local();
    let named = |name| rule(name, Quota::per_minute(9));
    let chain = named("a")
        .with_and(named("b").with_and(named("c")))
        .with_and(named("d"));
    let response = App::behind(&store.layer(chain)).get("k").await;
    let told = response.headers().get_all("ratelimit-policy").iter();
    let told: Vec<_> = told.map(|value| value.to_str().unwrap()).collect();
    let expected = ["a", "b", "c", "d"].map(|name| format!("\"{name}.minute\";q=9;w=60"));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn each_rule_of_a_chain_decides_for_itself_in_an_outage() {
    for (first, second, status) in [
        (Outage::Allow, Outage::Allow, 200),
        (Outage::Allow, Outage::Deny, 503),
        (Outage::Deny, Outage::Allow, 503),
    ] {
        let store = Store::local();
        let chain = rule("a", Quota::per_minute(1))
            .with_outage(first)
            .with_and(rule("b", Quota::per_minute(1)).with_outage(second));
        let app = App::behind(&store.layer(chain));
        store.backend.go_down();
        assert_eq!(app.status("k").await, status);
    }
}

#[tokio::test]
async fn what_was_taken_is_given_back_when_a_later_rule_denies_for_the_outage() {
    let store = Store::local();
    let chain = rule("a", Quota::per_minute(1))
        .with_and(rule("b", Quota::per_minute(1)).with_outage(Outage::Deny));
    let app = App::behind(&store.layer(chain));
    for _ in 0..3 {
        let second_fails = [Fault::None, Fault::Fail(BackendErrorKind::Unavailable)];
        store.backend.script(second_fails);
        assert_eq!(app.status("k").await, 503);
        settle().await;
    }
    assert_eq!(store.backend.calls(Op::Refund), 3);
    assert_eq!(app.status("k").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_between_two_rules_stays_counted_by_the_first() {
    let store = Store::local();
    let chain = rule("a", Quota::per_minute(1)).with_and(rule("b", Quota::per_minute(1)));
    let app = App::behind(&store.layer(chain));
    store.backend.script([Fault::None, Fault::Hang]);
    let dropped = tokio::time::timeout(std::time::Duration::from_secs(1), app.get("k")).await;
    assert!(dropped.is_err());
    assert_eq!((store.refunds().await, app.ran()), (0, 0));
    let denied = app.get("k").await;
    assert_eq!(denied.headers()["ratelimit"], "\"a.minute\";r=0;t=60");
}
