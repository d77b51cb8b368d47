//! What operators see of decisions.

use http::Method;
use tower_stash::rate_limit::Quota;

use crate::{
    fixture::{App, Store, rule},
    http_client::request,
    observed::{counts, logged, outcomes},
};

/// Two admitted requests, one denied, one without a key, one while the backend is down.
async fn five_requests() {
    let store = Store::local();
    let app = App::behind(&store.layer(rule("api", Quota::per_minute(2))));
    app.statuses("s3cret", 3).await;
    app.send(request(Method::GET, "/")).await;
    store.backend.go_down();
    app.get("s3cret").await;
}

#[test]
fn every_decision_is_counted_under_its_rule_and_outcome() {
    let expected = counts([
        ("api allowed", 2),
        ("api denied", 1),
        ("api missing_key", 1),
        ("api outage", 1),
    ]);
    assert_eq!(outcomes(five_requests()), expected);
}

#[test]
fn an_outage_is_warned_of_and_nothing_a_client_sent_is_logged() {
    let log = logged(five_requests());
    assert!(log.contains(" WARN tower_stash: could not "), "{log}");
    assert!(
        log.contains("DEBUG tower_stash::rate_limit: rule=api outcome=\"denied\""),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}
