//! Rules on trial.

use http::{Method, request::Parts};
use tower_stash::rate_limit::{Outage, Quota};

use crate::{
    fixture::{App, Store, keyed, rule, rule_by, with},
    http_client::request,
    observed::{counts, outcomes},
};

#[tokio::test]
async fn a_rule_on_trial_counts_but_neither_denies_nor_tells() {
    for store in [Store::local(), Store::remote()] {
        let quota = Quota::per_minute(2);
        let on_trial = App::behind(&store.layer(rule("api", quota).with_shadow()));
        for _ in 0..10 {
            let response = on_trial.get("ada").await;
            assert_eq!(response.status(), 200);
            assert!(response.headers().is_empty());
        }
        assert_eq!(on_trial.ran(), 10);
        assert_eq!(store.asked(), 10);
        // The same counter, no longer on trial.
        let app = App::behind(&store.layer(rule("api", quota)));
        assert_eq!(app.status("ada").await, 429);
    }
}

#[tokio::test]
async fn a_rule_on_trial_denies_neither_the_unwanted_nor_the_nameless() {
    let store = Store::local();
    let rule = rule("api", Quota::per_minute(2))
        .with_deny_list(|request: &Parts| request.headers.contains_key("x-unwanted"))
        .with_shadow();
    let app = App::behind(&store.layer(rule));
    let unwanted = with(keyed("ada"), "x-unwanted", "yes");
    assert_eq!(app.send(unwanted).await.status(), 200);
    assert_eq!(app.send(request(Method::GET, "/")).await.status(), 200);
    assert_eq!(store.asked(), 0);
}

#[tokio::test]
async fn a_rule_on_trial_denies_nothing_in_an_outage() {
    for outage in [Outage::Allow, Outage::Deny, Outage::Local { instances: 4 }] {
        let store = Store::local();
        let rule = rule("api", Quota::per_minute(1))
            .with_outage(outage)
            .with_shadow();
        let app = App::behind(&store.layer(rule));
        store.backend.go_down();
        assert_eq!(app.statuses("ada", 5).await, [200; 5]);
    }
}

#[tokio::test]
async fn a_rule_on_trial_does_not_keep_the_next_one_from_denying() {
    let store = Store::remote();
    let chain = rule("trial", Quota::per_minute(1))
        .with_shadow()
        .with_and(rule_by("x-key", "api", Quota::per_minute(2)));
    let app = App::behind(&store.layer(chain));
    assert_eq!(app.statuses("ada", 3).await, [200, 200, 429]);
    let first = app.get("bob").await;
    assert_eq!(first.headers()["ratelimit"], "\"api.minute\";r=1;t=60");
}

#[test]
fn a_denial_on_trial_has_an_outcome_of_its_own() {
    let counted = outcomes(async {
        let store = Store::remote();
        let app = App::behind(&store.layer(rule("api", Quota::per_minute(2)).with_shadow()));
        app.statuses("ada", 5).await;
    });
    assert_eq!(
        counted,
        counts([("api allowed", 2), ("api shadow_denied", 3)])
    );
}
