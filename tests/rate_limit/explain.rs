//! Why a request is admitted or denied.

use std::time::Duration;

use http::{Method, request::Parts};
use tower_stash::{
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{Ban, Finding, MINUTE, Quota, RateLimitLayer, RateLimitRule},
};

use crate::{
    fixture::{App, Store, keyed, rule, rule_by, with},
    http_client::request,
};

/// What is said of a request, with its key as `KEY`.
async fn said(layer: &RateLimitLayer, request: http::Request<axum::body::Body>) -> String {
    let (request, _) = request.into_parts();
    let explanation = layer.explain(&request).await;
    let mut text = explanation.to_string();
    for rule in &explanation.rules {
        if let Finding::Limited { key, .. } = &rule.finding {
            text = text.replace(key, "KEY");
        }
    }
    text
}

#[tokio::test]
async fn it_says_where_each_limit_stands_and_takes_nothing() {
    let store = Store::local();
    let quotas = [("burst", Quota::per_second(2)), ("day", Quota::per_day(9))];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas).unwrap();
    let layer = store.layer(rule);
    let app = App::behind(&layer);
    for _ in 0..2 {
        assert_eq!(
            said(&layer, keyed("ada")).await,
            "rule api: admits it, for 1 under KEY\n  \
               api.burst: 2 of 2 left\n  \
               api.day: 9 of 9 left\n"
        );
    }
    app.statuses("ada", 2).await;
    assert_eq!(
        said(&layer, keyed("ada")).await,
        "rule api: denies it, for 1 under KEY\n  \
           api.burst: 0 of 2 left, one more in 1s\n  \
           api.day: 7 of 9 left, one more in 86400s\n"
    );
}

#[tokio::test]
async fn it_weighs_the_cost_of_the_request() {
    let store = Store::local();
    let layer = store.layer(rule("api", Quota::per_minute(5)).with_cost(|_| 3));
    App::behind(&layer).get("ada").await;
    assert_eq!(
        said(&layer, keyed("ada")).await,
        "rule api: denies it, for 3 under KEY\n  \
           api.minute: 2 of 5 left, one more in 60s\n"
    );
}

#[tokio::test]
async fn it_says_which_rules_do_not_limit_and_which_do_not_let_through() {
    let store = Store::local();
    let listed = |name: &'static str| move |request: &Parts| request.headers.contains_key(name);
    let layer = store.layer(
        rule("api", Quota::per_minute(5))
            .with_skip(listed("x-skip"))
            .with_deny_list(listed("x-deny")),
    );
    let skipped = said(&layer, with(keyed("ada"), "x-skip", "1")).await;
    assert_eq!(skipped, "rule api: does not limit it\n");
    let denied = said(&layer, with(keyed("ada"), "x-deny", "1")).await;
    assert_eq!(denied, "rule api: denies it: it is on the deny list\n");
    let nameless = said(&layer, request(Method::GET, "/")).await;
    assert_eq!(
        nameless,
        "rule api: denies it: it does not say whose it is\n"
    );
    assert_eq!(store.backend.total_calls(), 0);
}

#[tokio::test]
async fn it_says_of_every_rule_of_a_chain() {
    let store = Store::local();
    let chain = rule("key", Quota::per_minute(2))
        .with_and(rule_by("x-user", "user", Quota::per_minute(1)).with_shadow());
    let text = said(&store.layer(chain), with(keyed("ada"), "x-user", "u")).await;
    assert_eq!(
        text,
        "rule key: admits it, for 1 under KEY\n  \
           key.minute: 2 of 2 left\n\
         rule user (on trial): admits it, for 1 under KEY\n  \
           user.minute: 1 of 1 left\n"
    );
}

#[tokio::test]
async fn it_says_that_no_rule_applies() {
    let store = Store::local();
    let routes = Routes::new().post("/login", rule("login", Quota::per_minute(5)));
    let layer = store.layer(routes);
    assert_eq!(
        said(&layer, keyed("ada")).await,
        "no rule applies: it passes\n"
    );
    let preflights = store
        .layer(rule("api", Quota::per_minute(5)))
        .with_uncounted_preflights();
    let preflight = with(request(Method::OPTIONS, "/"), "origin", "https://a.example");
    let preflight = with(preflight, "access-control-request-method", "PUT");
    assert_eq!(
        said(&preflights, preflight).await,
        "no rule applies: it passes\n"
    );
}

#[tokio::test]
async fn it_says_that_the_backend_does_not_answer() {
    let store = Store::local();
    let layer = store.layer(rule("api", Quota::per_minute(5)));
    store.backend.go_down();
    assert_eq!(
        said(&layer, keyed("ada")).await,
        "rule api: not known: the backend does not answer\n"
    );
}

#[tokio::test(start_paused = true)]
async fn it_says_for_how_long_a_denial_is_repeated() {
    let store = Store::remote();
    let layer = store.layer(rule("api", Quota::per_minute(1)));
    App::behind(&layer).statuses("ada", 2).await;
    store.advance(Duration::from_secs(2)).await;
    assert_eq!(
        said(&layer, keyed("ada")).await,
        "rule api: denies it, for 1 under KEY\n  \
           denied without asking, for 3s more\n  \
           api.minute: 0 of 1 left, one more in 58s\n"
    );
}

#[tokio::test]
async fn it_names_nobody() {
    let store = Store::local();
    let layer = store.layer(rule("api", Quota::per_minute(1)));
    let (request, _) = keyed("s3cret").into_parts();
    let explanation = layer.explain(&request).await;
    let shown = format!("{explanation} {explanation:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn what_costs_nothing_is_admitted_even_from_who_is_banned() {
    let store = Store::local();
    let ban = Ban::after(1).within(MINUTE).lasting(MINUTE);
    let free = rule("api", Quota::per_minute(1))
        .with_ban(ban)
        .with_fixed_cost(0);
    let layer = store.layer(free.clone());
    layer.limiter(&free).ban("ada", MINUTE).await.unwrap();
    assert_eq!(App::behind(&layer).status("ada").await, 200);
    let text = said(&layer, keyed("ada")).await;
    assert!(text.starts_with("rule api: admits it, for 0"), "{text}");
}
