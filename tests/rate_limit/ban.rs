//! Bans of who is denied again and again.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use tower_stash::{
    backend::{BackendErrorKind, Op},
    rate_limit::{Ban, Quota, RateLimitRule},
    respond::Rejection,
};

use crate::{
    fixture::{App, Store, keyed, number, rule, with},
    observed::{counts, outcomes},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// One a second; the third denial in a minute bans for ten.
fn strict() -> RateLimitRule {
    let ban = Ban::after(3).within(MINUTE).lasting(10 * MINUTE);
    rule("api", Quota::per_second(1)).with_ban(ban)
}

fn is_ban(response: &Response<Body>) -> bool {
    let rejection = response.extensions().get::<Rejection>();
    rejection.is_some_and(|rejection| {
        rejection
            .problem_type()
            .ends_with("#abnormal-usage-detected")
    })
}

#[tokio::test(start_paused = true)]
async fn who_is_denied_too_often_is_banned_for_a_time() {
    for store in [Store::local(), Store::remote()] {
        let app = App::behind(&store.layer(strict()));
        assert_eq!(app.status("ada").await, 200);
        for _ in 0..2 {
            let denied = app.get("ada").await;
            assert_eq!(number(denied.headers(), "retry-after"), Some(1));
            assert!(!is_ban(&denied));
        }
        let banned = app.get("ada").await;
        assert_eq!(banned.status(), 429);
        assert!(is_ban(&banned));
        assert_eq!(number(banned.headers(), "retry-after"), Some(600));

        store.advance(599 * SECOND).await;
        let banned = app.get("ada").await;
        assert!(is_ban(&banned));
        assert_eq!(number(banned.headers(), "retry-after"), Some(1));
        assert_eq!(app.status("bob").await, 200);
        store.advance(SECOND).await;
        assert_eq!(app.status("ada").await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_ends_before_the_limit_admits_tells_the_longer_wait() {
    let store = Store::remote();
    let ban = Ban::after(1).within(MINUTE).lasting(5 * SECOND);
    let app = App::behind(&store.layer(rule("api", Quota::per_minute(1)).with_ban(ban)));
    assert_eq!(app.status("ada").await, 200);
    let banned = app.get("ada").await;
    assert!(is_ban(&banned));
    assert_eq!(number(banned.headers(), "retry-after"), Some(60));
    store.advance(60 * SECOND).await;
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test(start_paused = true)]
async fn who_is_banned_and_asks_for_more_than_ever_fits_is_told_never() {
    let store = Store::remote();
    let rule = strict().with_cost(|request| number(&request.headers, "x-cost").unwrap_or(1));
    let app = App::behind(&store.layer(rule));
    app.statuses("ada", 3).await;
    let banned = app.send(with(keyed("ada"), "x-cost", "2")).await;
    assert!(is_ban(&banned));
    assert_eq!(banned.headers().get("retry-after"), None);
}

#[tokio::test(start_paused = true)]
async fn denials_that_count_as_strikes_are_asked_for_and_a_ban_is_remembered() {
    let store = Store::remote();
    let app = App::behind(&store.layer(strict()));
    app.statuses("ada", 4).await;
    assert_eq!(store.asked(), 4);
    for passed in 0..5 {
        let banned = app.get("ada").await;
        assert!(is_ban(&banned));
        assert_eq!(number(banned.headers(), "retry-after"), Some(600 - passed));
        store.advance(SECOND).await;
    }
    assert_eq!(store.asked(), 4);
    app.get("ada").await;
    assert_eq!(store.asked(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_is_remembered_denies_every_cost() {
    let store = Store::remote();
    let rule = strict().with_cost(|request| number(&request.headers, "x-cost").unwrap_or(1));
    let app = App::behind(&store.layer(rule));
    app.statuses("ada", 4).await;
    for cost in ["1", "2", "9"] {
        assert!(is_ban(&app.send(with(keyed("ada"), "x-cost", cost)).await));
    }
    assert_eq!(store.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_ban_by_hand_acts_at_once_and_so_does_its_end() {
    let store = Store::remote();
    let layer = store.layer(strict());
    let app = App::behind(&layer);
    let limiter = layer.limiter(&strict());
    limiter.ban("ada", MINUTE).await.unwrap();
    let banned = app.get("ada").await;
    assert!(is_ban(&banned));
    assert_eq!(number(banned.headers(), "retry-after"), Some(60));
    assert_eq!(limiter.peek("ada").await.unwrap().banned, Some(MINUTE));
    limiter.unban("ada").await.unwrap();
    assert_eq!(app.status("ada").await, 200);

    limiter.ban("ada", MINUTE).await.unwrap();
    assert!(is_ban(&app.get("ada").await));
    limiter.reset("ada").await.unwrap();
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test]
async fn there_is_nobody_to_ban_under_a_rule_without_bans() {
    let store = Store::local();
    let limiter = store.limiter(rule("api", Quota::per_second(1)));
    for error in [
        limiter.ban("ada", MINUTE).await.unwrap_err(),
        limiter.unban("ada").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
    }
    assert_eq!(store.backend.calls(Op::Amend), 0);
}

#[tokio::test]
async fn a_rule_on_trial_does_not_deny_who_is_banned() {
    let store = Store::local();
    let app = App::behind(&store.layer(strict().with_shadow()));
    assert_eq!(app.statuses("ada", 6).await, [200; 6]);
}

#[tokio::test]
async fn an_explanation_tells_of_the_ban() {
    let store = Store::local();
    let layer = store.layer(strict());
    layer.limiter(&strict()).ban("ada", MINUTE).await.unwrap();
    let (request, _) = keyed("ada").into_parts();
    let text = layer.explain(&request).await.to_string();
    assert!(
        text.starts_with("rule api: denies it, for 1 under "),
        "{text}"
    );
    assert!(text.contains("\n  banned for 60s more\n"), "{text}");
}

#[test]
fn a_ban_has_an_outcome_of_its_own() {
    let counted = outcomes(async {
        let store = Store::remote();
        App::behind(&store.layer(strict())).statuses("ada", 6).await;
    });
    let expected = [("api allowed", 1), ("api banned", 3), ("api denied", 2)];
    assert_eq!(counted, counts(expected));
}
