//! Counting in this process while the backend is away.

use std::time::Duration;

use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{Outage, Quota, RateLimitLayer, RateLimitRule, Retry},
};

use crate::{
    fixture::{App, Store, keyed, number, rule, with},
    observed::{counts, outcomes},
};

const LOCAL: Outage = Outage::Local { instances: 4 };

/// An application whose backend is away.
fn app_of(rule: RateLimitRule) -> (App, Store) {
    let store = Store::local();
    let app = App::behind(&store.layer(rule));
    store.backend.go_down();
    (app, store)
}

#[tokio::test]
async fn an_instance_admits_its_share_of_each_limit() {
    for (limit, share) in [(8, 2), (11, 2), (4, 1), (3, 1), (1, 1)] {
        let (app, _) = app_of(rule("api", Quota::per_minute(limit)).with_outage(LOCAL));
        let statuses = app.statuses("ada", 5).await;
        let admitted = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(admitted, share, "of {limit}: {statuses:?}");
        assert_eq!(app.status("bob").await, 200);
    }
}

#[tokio::test]
async fn who_is_denied_is_told_when_to_come_back_and_no_numbers() {
    let (app, _) = app_of(rule("api", Quota::per_minute(4)).with_outage(LOCAL));
    let admitted = app.get("ada").await;
    assert!(admitted.headers().is_empty());
    let denied = app.get("ada").await;
    assert_eq!(denied.status(), 429);
    let wait = number(denied.headers(), "retry-after").unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(!denied.headers().contains_key("ratelimit"));
    assert!(!denied.headers().contains_key("ratelimit-policy"));
    assert_eq!(app.ran(), 1);
}

#[tokio::test]
async fn a_share_is_at_least_one_call_of_a_weighed_limit() {
    let quota = Quota::per_minute(6).with_weight(5);
    let (app, _) = app_of(rule("api", quota).with_outage(LOCAL));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
}

#[tokio::test]
async fn a_limit_of_zero_has_no_share() {
    let quotas = [("minute", Quota::per_minute(8))];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas)
        .unwrap()
        .with_dynamic_limit("minute", |request| number(&request.headers, "x-plan"))
        .with_outage(LOCAL);
    let (app, _) = app_of(rule);
    let on_plan = async |plan| app.send(with(keyed("ada"), "x-plan", plan)).await.status();
    assert_eq!(on_plan("0").await, 503);
    assert_eq!(on_plan("8").await, 200);
    assert_eq!(app.ran(), 1);
}

#[tokio::test]
async fn what_does_not_fit_a_share_is_not_said_to_be_permanent() {
    let rule = rule("api", Quota::per_minute(8))
        .with_fixed_cost(5)
        .with_outage(LOCAL);
    let (app, store) = app_of(rule.clone());
    let denied = app.get("ada").await;
    assert_eq!(denied.status(), 503);
    assert_eq!(denied.headers()["retry-after"], "1");
    let limiter = store.limiter(rule);
    let check = limiter.check("ada", 5).await;
    assert!(!check.admitted && !check.counted);
    assert_eq!(check.retry, Retry::After(Duration::from_secs(1)));
}

#[tokio::test]
async fn what_was_taken_here_is_given_back_here() {
    let rule = rule("login", Quota::per_minute(4))
        .with_count_if(|response| response.status == 401)
        .with_outage(LOCAL);
    let (app, store) = app_of(rule);
    for _ in 0..3 {
        assert_eq!(app.status("ada").await, 200);
        assert_eq!(
            store.refunds().await,
            0,
            "the backend has nothing to do with it"
        );
    }
    let failure = app.send(with(keyed("ada"), "x-status", "401")).await;
    assert_eq!(failure.status(), 401);
    assert_eq!(app.status("ada").await, 429);
}

#[tokio::test]
async fn what_was_counted_here_is_not_counted_there() {
    let (app, store) = app_of(rule("api", Quota::per_minute(4)).with_outage(LOCAL));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    store.backend.come_up();
    assert_eq!(app.statuses("ada", 5).await, [200, 200, 200, 200, 429]);
}

#[tokio::test]
async fn a_check_counted_here_says_so() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(8)).with_outage(LOCAL));
    store.backend.go_down();
    let check = limiter.check("ada", 1).await;
    assert_eq!(
        (check.admitted, check.counted, check.taken),
        (true, false, 1)
    );
    assert_eq!(check.limits[0].limit, 2);
}

#[test]
fn no_instances_are_a_mistake() {
    let none = Outage::Local { instances: 0 };
    let rule = rule("api", Quota::per_minute(8)).with_outage(none);
    let error = RateLimitLayer::new(MemoryBackend::new(), rule).unwrap_err();
    assert!(error.to_string().contains("write 1 or more"), "{error}");
}

#[test]
fn what_is_decided_here_has_the_outcome_of_an_outage() {
    let counted = outcomes(async {
        let (app, _) = app_of(rule("api", Quota::per_minute(4)).with_outage(LOCAL));
        app.statuses("ada", 3).await;
    });
    assert_eq!(counted, counts([("api outage", 3)]));
}
