//! What operators see of decisions.

use axum::body::Body;
use http::{Method, Request};
use tower::ServiceExt as _;
use tower_stash::{
    concurrency_limit::ConcurrencyLimitRule,
    policy::{KeyExtractor as _, header},
};

use crate::{
    endless::{LEASE, endless, faulty, layer, pass},
    http_client::request,
    observed::{counts, logged, outcomes},
};

/// One admitted request that outlasts an outage, one denied, one without a key, one in the outage.
async fn four_requests() {
    let (backend, clock) = faulty();
    let rule = ConcurrencyLimitRule::new("api", header("x-key").or_reject(), 1).unwrap();
    let service = endless(&layer(backend.clone(), rule));
    let keyed = || -> Request<Body> {
        let mut keyed = request(Method::GET, "/");
        keyed
            .headers_mut()
            .insert("x-key", "s3cret".parse().unwrap());
        keyed
    };
    let Ok(_running) = service.clone().oneshot(keyed()).await;
    for request in [keyed(), request(Method::GET, "/")] {
        let Ok(_) = service.clone().oneshot(request).await;
    }
    backend.go_down();
    let Ok(_) = service.oneshot(keyed()).await;
    pass(&clock, 2 * LEASE).await;
    backend.come_up();
    pass(&clock, LEASE).await;
}

#[test]
fn every_decision_is_counted_under_its_rule_and_outcome() {
    let expected = counts([
        ("api allowed", 1),
        ("api denied", 1),
        ("api missing_key", 1),
        ("api outage", 1),
    ]);
    assert_eq!(outcomes(four_requests()), expected);
}

#[test]
fn outages_and_slots_that_ran_out_are_warned_of_and_nothing_a_client_sent_is_logged() {
    let log = logged(four_requests());
    for line in [
        r#"DEBUG tower_stash::concurrency_limit: rule=api outcome="denied""#,
        r#"place="concurrency_limit: hold""#,
        r#"place="concurrency_limit: renew""#,
        r#"place="concurrency_limit: release""#,
        r#"a slot ran out while its request runs; more may run than the limit place="concurrency_limit: overdue""#,
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    assert!(!log.contains("s3cret"), "{log}");
}
