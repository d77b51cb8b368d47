//! What operators see of what became of sessions.

use std::time::Duration;

use http::StatusCode;
use tower_stash::testing::Fault;

use crate::{
    fixture::{Bed, web},
    observed::{counts, logged, outcomes},
};

async fn a_life() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.get("/static").await;
    browser.get("/who").await;
    browser.post("/set/a/1").await;
    browser.post("/set/a/2").await;
    browser.post("/set/a/2").await;
    browser.post("/renew").await;
    bed.clock.advance(Duration::from_secs(1_800));
    browser.get("/who").await;
    browser.post("/login/ada").await;
    let (tab, thief) = (browser.fork(), browser.fork());
    browser.post("/logout").await;
    tab.post("/set/a/3").await;
    thief.post("/set/a/3").await;
}

#[test]
fn what_became_of_each_session_is_counted_under_its_rule() {
    let expected = counts([
        ("web created", 2),
        ("web destroyed", 1),
        ("web gone", 2),
        ("web read", 2),
        ("web renewed", 1),
        ("web saved", 1),
        ("web slid", 1),
        ("web untouched", 1),
    ]);
    assert_eq!(outcomes(a_life()), expected);
}

async fn refusals() {
    let bed = Bed::new();
    let browser = bed.browser(web().with_strict_commits());
    browser.post("/set/a/1").await;
    let slow = browser.posting("/slow-set/a/2");
    bed.gate.reached(1).await;
    browser.post("/set/b/1").await;
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().status, StatusCode::CONFLICT);
    let slow = browser.posting("/slow-login/ada");
    bed.gate.reached(1).await;
    browser.another().post("/everywhere/ada").await;
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().status, StatusCode::UNAUTHORIZED);
    let guarded = bed.browser(web().with_required_user());
    guarded.get("/static").await;
}

#[test]
fn each_refusal_is_counted_as_what_it_is() {
    let expected = counts([
        ("web conflict", 1),
        ("web created", 1),
        ("web login_refused", 1),
        ("web saved", 1),
        ("web unauthenticated", 1),
        ("web untouched", 1),
    ]);
    assert_eq!(outcomes(refusals()), expected);
}

async fn an_outage() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let guarded = bed.browser(web().with_required_user());
    guarded.set_cookie("__Host-id", &browser.token());
    let down = Fault::Fail(tower_stash::backend::BackendErrorKind::Unavailable);
    // At the load, at the commit, at the load of who must be logged in.
    bed.backend.script([down]);
    browser.get("/get/a").await;
    bed.backend.script([Fault::None, down]);
    browser.post("/set/a/2").await;
    bed.backend.script([down]);
    guarded.get("/static").await;
    bed.backend.script([Fault::None, down]);
    browser.post("/logout").await;
}

#[test]
fn an_outage_is_counted_where_it_hit_a_load_or_a_commit() {
    let expected = counts([("web created", 1), ("web outage", 3), ("web read", 1)]);
    assert_eq!(outcomes(an_outage()), expected);
}

#[test]
fn an_outage_is_warned_of_once_at_each_place() {
    let log = logged(async {
        // Later than what any other test logs.
        tokio::time::advance(Duration::from_secs(24 * 3_600)).await;
        an_outage().await;
    });
    for place in ["session: load", "session: commit"] {
        assert_eq!(
            log.matches(&format!("place=\"{place}\"")).count(),
            1,
            "{log}"
        );
    }
    assert!(
        log.contains("DEBUG tower_stash::session: rule=web outcome=\"outage\""),
        "{log}"
    );
}

#[test]
fn a_secret_that_comes_back_is_warned_of() {
    let log = logged(async {
        let bed = Bed::new();
        let minute = Duration::from_secs(60);
        let browser = bed.browser(web().with_rotation_every(minute).unwrap());
        browser.post("/set/a/1").await;
        let thief = browser.fork();
        bed.clock.advance(minute);
        browser.get("/get/a").await;
        browser.get("/get/a").await;
        bed.clock.advance(5 * minute);
        thief.get("/get/a").await;
    });
    assert!(log.contains("session: reused secret"), "{log}");
}
