//! A rule's limits for programs.

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use http::{Method, Request};
use tower_stash::{
    backend::{BackendErrorKind, Op},
    policy::{
        ClientAddr, KeyExtractor as _, PeerAddr, Subject, SubjectId, TrustedProxies, client_ip,
        cookie, extension, header, peer_ip,
    },
    rate_limit::{Check, Outage, Quota, RateLimitRule, Retry},
};

use crate::{
    fixture::{App, Store, keyed, rule, settle, with},
    http_client::request,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What is left of the first limit.
fn remaining(check: &Check) -> u64 {
    check.limits[0].remaining
}

/// A request counts under the id that a program writes for its sender.
async fn counts_under(subject: Subject, request: Request<Body>, id: impl Into<SubjectId>) {
    let store = Store::local();
    let rule = RateLimitRule::new("api", subject, [("minute", Quota::per_minute(9))]).unwrap();
    let layer = store.layer(rule.clone());
    assert_eq!(App::behind(&layer).send(request).await.status(), 200);
    let id = id.into();
    let shared = layer.limiter(&rule);
    assert_eq!(remaining(&shared.check(id.clone(), 2).await), 6);
    assert_eq!(
        remaining(&store.limiter(rule).peek(id.clone()).await.unwrap()),
        6
    );
    shared.reset(id.clone()).await.unwrap();
    assert_eq!(remaining(&shared.peek(id).await.unwrap()), 9);
}

fn from_peer(peer: &str) -> Request<Body> {
    let mut request = request(Method::GET, "/");
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

#[tokio::test]
async fn a_program_and_the_layer_count_together_whatever_names_the_subject() {
    counts_under(header("x-key").or_reject(), keyed("ada"), "ada").await;
    let sent = with(request(Method::GET, "/"), "cookie", "sid=7f");
    counts_under(cookie("sid").or_skip(), sent, "7f").await;
    let mut sent = request(Method::GET, "/");
    sent.extensions_mut().insert(17_u64);
    counts_under(extension::<u64>().or_reject(), sent, 17_u64).await;

    let peer = || ClientAddr("192.0.2.1".parse().unwrap());
    counts_under(peer_ip().or_reject(), from_peer("192.0.2.1:80"), peer()).await;
    let mapped = from_peer("[::ffff:192.0.2.1]:80");
    counts_under(peer_ip().or_reject(), mapped, peer()).await;
    let proxies = TrustedProxies::cidrs(["10.0.0.0/8"]).unwrap();
    let forwarded = with(from_peer("10.0.0.1:80"), "x-forwarded-for", "192.0.2.1");
    counts_under(client_ip(proxies).or_reject(), forwarded, peer()).await;

    let by_closure = |request: &http::request::Parts| Some(request.uri.path().to_owned());
    let sent = request(Method::GET, "/pricing");
    counts_under(by_closure.or_reject(), sent, "/pricing").await;
    let pair = (header("x-key"), cookie("sid")).or_reject();
    let sent = with(keyed("ada"), "cookie", "sid=7f");
    counts_under(pair, sent, ("ada", "7f")).await;
    let nobody = request(Method::GET, "/");
    counts_under(header("x-key").or_shared(), nobody, SubjectId::shared()).await;
}

#[tokio::test]
async fn it_shares_a_layers_secret_and_no_other() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(9));
    let layer = store.layer(rule.clone()).with_key_secret("s");
    App::behind(&layer).get("ada").await;
    assert_eq!(
        remaining(&layer.limiter(&rule).peek("ada").await.unwrap()),
        8
    );
    let other = store.limiter(rule);
    assert_eq!(remaining(&other.peek("ada").await.unwrap()), 9);
    let same = other.with_key_secret("s");
    assert_eq!(remaining(&same.peek("ada").await.unwrap()), 8);
}

#[tokio::test]
async fn every_method_is_one_round_trip() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(9)));
    limiter.check("ada", 1).await;
    assert_eq!(store.backend.total_calls(), 1);
    limiter.peek("ada").await.unwrap();
    assert_eq!(store.backend.total_calls(), 2);
    limiter.penalise("ada", 3).await.unwrap();
    assert_eq!(store.backend.total_calls(), 3);
    limiter.reset("ada").await.unwrap();
    assert_eq!(store.backend.total_calls(), 4);
}

#[tokio::test]
async fn a_check_takes_all_or_nothing_and_says_when_to_come_back() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(5)));
    let first = limiter.check("ada", 3).await;
    assert!(first.admitted && first.counted);
    assert_eq!(
        (first.taken, first.retry, remaining(&first)),
        (3, Retry::Now, 2)
    );
    assert_eq!(&*first.limits[0].name, "mails.minute");
    assert_eq!(first.limits[0].limit, 5);
    assert_eq!(first.limits[0].reset, Some(MINUTE));

    store.clock.advance(MINUTE / 4);
    let second = limiter.check("ada", 3).await;
    assert!(!second.admitted);
    let wait = Retry::After(MINUTE * 3 / 4);
    assert_eq!(
        (second.taken, second.retry, remaining(&second)),
        (0, wait, 2)
    );
    assert_eq!(limiter.check("ada", 6).await.retry, Retry::Never);
}

#[tokio::test]
async fn weights_are_told_in_calls() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(9).with_weight(4)));
    let check = limiter.check("ada", 1).await;
    assert_eq!((check.limits[0].limit, remaining(&check)), (2, 1));
}

#[tokio::test]
async fn a_peek_takes_nothing() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(1)));
    for _ in 0..5 {
        assert_eq!(remaining(&limiter.peek("ada").await.unwrap()), 1);
    }
    assert!(limiter.check("ada", 1).await.admitted);
}

#[tokio::test]
async fn a_penalty_takes_what_is_there() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(5));
    let layer = store.layer(rule.clone());
    let limiter = layer.limiter(&rule);
    let first = limiter.penalise("ada", 3).await.unwrap();
    assert_eq!((first.taken, remaining(&first)), (3, 2));
    let second = limiter.penalise("ada", 100).await.unwrap();
    assert_eq!((second.taken, remaining(&second)), (2, 0));
    let third = limiter.penalise("ada", 1).await.unwrap();
    assert_eq!((third.taken, third.admitted), (0, false));
    assert_eq!(App::behind(&layer).status("ada").await, 429);
}

#[tokio::test]
async fn a_reset_forgets_one_subject() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(1)));
    limiter.check("ada", 1).await;
    limiter.check("bob", 1).await;
    limiter.reset("ada").await.unwrap();
    assert!(limiter.check("ada", 1).await.admitted);
    assert!(!limiter.check("bob", 1).await.admitted);
}

#[tokio::test]
async fn a_check_can_be_given_back() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(3)));
    limiter.check("ada", 2).await.refund();
    settle().await;
    assert_eq!(remaining(&limiter.peek("ada").await.unwrap()), 3);
    limiter.check("ada", 4).await.refund();
    limiter.peek("ada").await.unwrap().refund();
    settle().await;
    assert_eq!(store.backend.calls(Op::Refund), 1, "nothing was taken");
}

#[tokio::test]
async fn the_rule_says_what_a_check_does_in_an_outage_and_everything_else_fails() {
    for (outage, admitted) in [(Outage::Allow, true), (Outage::Deny, false)] {
        let store = Store::local();
        let limiter = store.limiter(rule("mails", Quota::per_minute(1)).with_outage(outage));
        store.backend.go_down();
        let check = limiter.check("ada", 1).await;
        assert_eq!((check.admitted, check.counted), (admitted, false));
        assert!(check.limits.is_empty());
        assert_eq!(check.retry == Retry::Now, admitted);
        assert!(check.banned.is_none() && check.taken == 0);
        let errors = [
            limiter.peek("ada").await.unwrap_err(),
            limiter.penalise("ada", 1).await.unwrap_err(),
            limiter.reset("ada").await.unwrap_err(),
        ];
        let kinds = errors.map(|error| error.kind());
        assert_eq!(kinds, [BackendErrorKind::Unavailable; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_subject_can_be_given_another_limit_for_a_time() {
    let store = Store::remote();
    let rule = rule("api", Quota::per_minute(1)).with_overrides();
    let layer = store.layer(rule.clone());
    let (app, limiter) = (App::behind(&layer), layer.limiter(&rule));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    limiter
        .set_limit("ada", "minute", 3, MINUTE / 2)
        .await
        .unwrap();
    assert_eq!(app.statuses("ada", 3).await, [200, 200, 429]);
    assert_eq!(app.statuses("bob", 2).await, [200, 429]);
    assert_eq!(limiter.peek("ada").await.unwrap().limits[0].limit, 3);

    limiter.restore_limit("ada", "minute").await.unwrap();
    assert_eq!(limiter.peek("ada").await.unwrap().limits[0].limit, 1);
    limiter
        .set_limit("ada", "minute", 0, MINUTE / 2)
        .await
        .unwrap();
    assert_eq!(limiter.check("ada", 1).await.retry, Retry::Never);
    store.advance(MINUTE / 2).await;
    assert_eq!(limiter.peek("ada").await.unwrap().limits[0].limit, 1);
}

#[tokio::test]
async fn a_limit_that_is_not_there_or_not_to_be_changed_is_refused_without_a_call() {
    let store = Store::local();
    let fixed = store.limiter(rule("api", Quota::per_minute(1)));
    let open = store.limiter(rule("api", Quota::per_minute(1)).with_overrides());
    let kinds = [
        fixed.set_limit("ada", "minute", 3, MINUTE).await,
        fixed.restore_limit("ada", "minute").await,
        open.set_limit("ada", "hour", 3, MINUTE).await,
        open.restore_limit("ada", "hour").await,
    ]
    .map(|refused| refused.unwrap_err().kind());
    assert_eq!(kinds, [BackendErrorKind::InvalidInput; 4]);
    assert_eq!(store.backend.total_calls(), 0);
}

#[tokio::test]
async fn a_program_says_the_size_of_a_dynamic_limit() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(9)).with_dynamic_limit("minute", |_| Some(2));
    let limiter = store.limiter(rule);
    assert_eq!(limiter.peek("ada").await.unwrap().limits[0].limit, 9);
    let small = limiter.clone().with_limit("minute", 2).unwrap();
    assert_eq!(remaining(&small.check("ada", 1).await), 1);
    assert_eq!(remaining(&limiter.peek("ada").await.unwrap()), 8);
    assert!(limiter.with_limit("hour", 2).is_err());
}

#[tokio::test]
async fn a_check_on_trial_admits_and_counts() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(1)).with_shadow());
    for _ in 0..3 {
        assert!(limiter.check("ada", 1).await.admitted);
    }
    assert_eq!(remaining(&limiter.peek("ada").await.unwrap()), 0);
}

#[test]
fn nothing_of_it_shows_a_subject() {
    let store = Store::local();
    let limiter = store.limiter(rule("mails", Quota::per_minute(1)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let check = runtime.block_on(limiter.check("s3cret", 1));
    let shown = format!("{limiter:?} {check:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_dynamic_limit_is_never_larger_than_it_was_written() {
    let store = Store::local();
    let rule = rule("api", Quota::token_bucket(2, MINUTE).with_burst(3));
    let limiter = store.limiter(rule);
    let large = limiter.with_limit("minute", 100).unwrap();
    assert_eq!(large.peek("ada").await.unwrap().limits[0].limit, 3);
    let small = large.with_limit("minute", 1).unwrap();
    assert_eq!(small.peek("ada").await.unwrap().limits[0].limit, 2);
    let again = small.with_limit("minute", 2).unwrap();
    assert_eq!(again.peek("ada").await.unwrap().limits[0].limit, 3);
}
