//! What a request costs, and limits whose size a request says.

use http::request::Parts;
use tower_stash::{
    policy::{KeyExtractor as _, header},
    rate_limit::{Quota, RateLimitRule},
    respond::Rejection,
};

use crate::fixture::{App, Store, keyed, left, number, rule, with};

/// Three a minute; a request costs what its `x-cost` says.
fn priced() -> (App, Store) {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(3))
        .with_cost(|request| number(&request.headers, "x-cost").unwrap_or(1));
    (App::behind(&store.layer(rule)), store)
}

/// The status of the response to a GET of this cost.
async fn costing(app: &App, cost: u64) -> u16 {
    let request = with(keyed("ada"), "x-cost", &cost.to_string());
    app.send(request).await.status().as_u16()
}

/// Ten a minute at most; how many it really is stands in `x-plan`, and
/// without one there is no limit.
fn planned() -> (App, Store) {
    let store = Store::local();
    let quotas = [("minute", Quota::per_minute(10))];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas)
        .unwrap()
        .with_dynamic_limit("minute", |request| number(&request.headers, "x-plan"));
    (App::behind(&store.layer(rule)), store)
}

/// The statuses of so many GETs under this plan.
async fn on_plan(app: &App, plan: u64, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let request = with(keyed("ada"), "x-plan", &plan.to_string());
        statuses.push(app.send(request).await.status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn a_fixed_cost_is_taken_by_every_request() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(7)).with_fixed_cost(3);
    let app = App::behind(&store.layer(rule));
    assert_eq!(left(&app.get("ada").await), 4);
    assert_eq!(left(&app.get("ada").await), 1);
    assert_eq!(app.status("ada").await, 429);
    assert_eq!(app.status("bob").await, 200);
}

#[tokio::test]
async fn a_request_costs_what_the_rule_says_of_it() {
    let (app, _) = priced();
    assert_eq!(costing(&app, 2).await, 200);
    assert_eq!(costing(&app, 2).await, 429);
    assert_eq!(costing(&app, 1).await, 200);
    assert_eq!(costing(&app, 1).await, 429);
}

#[tokio::test]
async fn a_request_that_costs_nothing_is_never_denied() {
    let (app, _) = priced();
    assert_eq!(costing(&app, 3).await, 200);
    for _ in 0..5 {
        let free = app.send(with(keyed("ada"), "x-cost", "0")).await;
        assert_eq!(free.status(), 200);
        assert_eq!(left(&free), 0);
    }
}

#[tokio::test]
async fn a_request_that_costs_the_whole_limit_is_admitted_alone() {
    let (app, _) = priced();
    assert_eq!(costing(&app, 3).await, 200);
    assert_eq!(costing(&app, 3).await, 429);
}

#[tokio::test]
async fn a_request_that_costs_more_than_the_limit_is_told_that_it_never_fits() {
    for cost in [4, u64::MAX] {
        let (app, _) = priced();
        let request = with(keyed("ada"), "x-cost", &cost.to_string());
        let never = app.send(request).await;
        assert_eq!(never.status(), 429);
        assert!(!never.headers().contains_key("retry-after"));
        let rejection = never.extensions().get::<Rejection>().unwrap();
        assert!(rejection.is_permanent());
        assert_eq!(rejection.to_json()["permanent"], true);
        assert_eq!(costing(&app, 3).await, 200, "it took nothing");
    }
}

#[tokio::test]
async fn a_raised_limit_acts_at_once() {
    let (app, _) = planned();
    assert_eq!(on_plan(&app, 2, 3).await, [200, 200, 429]);
    assert_eq!(on_plan(&app, 4, 3).await, [200, 200, 429]);
}

#[tokio::test]
async fn a_lowered_limit_acts_at_once_and_has_nothing_left() {
    let (app, _) = planned();
    assert_eq!(on_plan(&app, 5, 4).await, [200; 4]);
    let denied = app.send(with(keyed("ada"), "x-plan", "2")).await;
    assert_eq!(denied.status(), 429);
    assert_eq!(left(&denied), 0);
    assert_eq!(on_plan(&app, 5, 2).await, [200, 429]);
}

#[tokio::test]
async fn a_request_without_a_limit_makes_no_call() {
    let (app, store) = planned();
    for _ in 0..20 {
        let response = app.get("ada").await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().is_empty());
    }
    assert_eq!(store.backend.total_calls(), 0);
}

#[tokio::test]
async fn of_two_limits_the_one_that_does_not_apply_is_not_told() {
    let store = Store::local();
    let quotas = [
        ("minute", Quota::per_minute(10)),
        ("day", Quota::per_day(20)),
    ];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas)
        .unwrap()
        .with_dynamic_limit("minute", |_: &Parts| None);
    let app = App::behind(&store.layer(rule));
    let response = app.get("ada").await;
    assert_eq!(response.headers()["ratelimit"], "\"api.day\";r=19;t=86400");
    assert_eq!(
        response.headers()["ratelimit-policy"],
        "\"api.day\";q=20;w=86400"
    );
}

#[tokio::test]
async fn a_limit_of_zero_admits_nothing_and_says_never() {
    let (app, _) = planned();
    let denied = app.send(with(keyed("ada"), "x-plan", "0")).await;
    assert_eq!(denied.status(), 429);
    assert!(!denied.headers().contains_key("retry-after"));
    assert_eq!(
        denied.headers()["ratelimit-policy"],
        "\"api.minute\";q=0;w=60"
    );
}

#[tokio::test]
async fn a_size_above_the_quota_is_the_quota() {
    for plan in [11, u64::MAX] {
        let (app, _) = planned();
        let first = app
            .send(with(keyed("ada"), "x-plan", &plan.to_string()))
            .await;
        assert_eq!(left(&first), 9);
        assert_eq!(on_plan(&app, plan, 10).await[8..], [200, 429]);
    }
}

#[tokio::test]
async fn a_size_that_changes_tells_its_policy_each_time() {
    let (app, _) = planned();
    for plan in [7, 3, 10] {
        let request = with(keyed("ada"), "x-plan", &plan.to_string());
        let response = app.send(request).await;
        let policy = format!("\"api.minute\";q={plan};w=60");
        assert_eq!(response.headers()["ratelimit-policy"], policy);
    }
}
