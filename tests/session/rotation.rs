//! New secrets every so often.

use std::time::Duration;

use http::StatusCode;
use tower_stash::{
    backend::BackendErrorKind,
    session::{OnGone, OnReuse, SessionRule},
    testing::Fault,
};

use crate::fixture::{Bed, Browser, web};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);

fn rotating() -> SessionRule {
    web().with_rotation_every(QUARTER).unwrap()
}

/// A session that is due, and a browser that has it.
async fn due(bed: &Bed) -> Browser {
    let browser = bed.browser(rotating());
    browser.post("/set/a/1").await;
    bed.clock.advance(QUARTER);
    browser
}

#[tokio::test]
async fn a_secret_is_replaced_when_it_is_old_and_not_before() {
    let bed = Bed::new();
    let browser = bed.browser(rotating());
    browser.post("/set/a/1").await;
    let first = browser.token();
    bed.clock.advance(QUARTER - SECOND);
    assert!(browser.get("/get/a").await.cookies().is_empty());
    bed.clock.advance(SECOND);
    assert!(
        browser.get("/static").await.cookies().is_empty(),
        "nobody asked"
    );
    let rotated = browser.get("/get/a").await;
    assert_eq!((rotated.cookies().len(), &*rotated.text), (1, "1"));
    assert_eq!(browser.token()[..21], first[..21]);
    assert_ne!(browser.token(), first);
    assert!(browser.get("/get/a").await.cookies().is_empty());
    bed.clock.advance(QUARTER + SECOND);
    assert_eq!(browser.get("/get/a").await.cookies().len(), 1);
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn writers_with_either_secret_lose_nothing_and_one_rotation_wins() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    let tab = browser.fork();
    let slow = tab.posting("/slow-set/old/1");
    let other = browser.fork().posting("/slow-set/other/1");
    bed.gate.reached(2).await;
    assert_eq!(browser.post("/set/new/1").await.cookies().len(), 1);
    bed.gate.open(2);
    for slow in [slow, other] {
        let slow = slow.await.unwrap();
        assert_eq!((slow.status, slow.cookies().len()), (StatusCode::OK, 0));
    }
    assert_eq!(
        tab.post("/set/grace/1").await.cookies().len(),
        0,
        "grace never rotates"
    );
    for name in ["a", "old", "other", "new", "grace"] {
        assert_eq!(
            browser.get(&format!("/get/{name}")).await.text,
            "1",
            "{name}"
        );
    }
    assert_eq!(tab.post("/incr/n").await.text, "1");
}

#[tokio::test]
async fn the_old_secret_works_half_a_minute_after_the_first_use_of_the_new() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    let tab = browser.fork();
    browser.get("/get/a").await;
    bed.clock.advance(5 * MINUTE);
    assert_eq!(
        tab.get("/get/a").await.text,
        "1",
        "nobody has used the new one"
    );
    browser.get("/get/a").await;
    bed.clock.advance(30 * SECOND - Duration::from_millis(10));
    assert_eq!(tab.get("/get/a").await.text, "1");
    bed.clock.advance(Duration::from_millis(20));
    assert_eq!(tab.get("/state").await.text, "Ended");
    assert!(tab.post("/set/a/2").await.cookies().is_empty());
    bed.clock.advance(MINUTE);
    assert_eq!(tab.get("/state").await.text, "None");
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn the_old_secret_works_ten_minutes_at_most() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    let tab = browser.fork();
    browser.get("/get/a").await;
    bed.clock.advance(10 * MINUTE - SECOND);
    assert_eq!(tab.get("/get/a").await.text, "1");
    bed.clock.advance(2 * SECOND);
    assert_eq!(tab.get("/get/a").await.text, "none");
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_logs_nobody_out() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    // The client never gets it.
    let lost = browser.fork();
    lost.get("/get/a").await;
    let mut calls = bed.meter();
    for _ in 0..9 {
        bed.clock.advance(MINUTE);
        assert_eq!(browser.get("/get/a").await.text, "1");
    }
    assert!(calls() < 20);
}

#[tokio::test]
async fn a_secret_that_comes_back_long_after_is_told_of_or_ends_the_session() {
    for (rule, then) in [
        (rotating(), "1"),
        (rotating().with_on_reuse(OnReuse::Destroy).unwrap(), "none"),
    ] {
        let bed = Bed::new();
        let browser = bed.browser(rule);
        browser.post("/set/a/1").await;
        bed.clock.advance(QUARTER);
        let thief = browser.fork();
        browser.get("/get/a").await;
        browser.get("/get/a").await;
        bed.clock.advance(2 * MINUTE);
        assert_eq!(thief.get("/get/a").await.text, "none");
        assert_eq!(browser.get("/get/a").await.text, then);
    }
}

#[tokio::test]
async fn a_secret_that_comes_back_and_was_never_replaced_for_the_client_ends_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(rotating().with_on_reuse(OnReuse::Destroy).unwrap());
    browser.post("/set/a/1").await;
    bed.clock.advance(QUARTER);
    let old = browser.fork();
    browser.get("/get/a").await;
    bed.clock.advance(12 * MINUTE);
    assert_eq!(old.get("/state").await.text, "None");
    assert_eq!(bed.spy.living().await, 1);
}

/// A tab that polls does not keep its user logged in, and a new secret is as good as a slide.
#[tokio::test]
async fn a_route_that_does_not_slide_does_not_rotate() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    let polling = bed.browser(rotating().without_slide());
    polling.set_cookie("__Host-id", &browser.token());
    let mut calls = bed.meter();
    for _ in 0..3 {
        assert!(polling.get("/get/a").await.cookies().is_empty());
        bed.clock.advance(QUARTER - SECOND);
    }
    bed.clock.advance(3 * SECOND);
    assert_eq!(calls(), 3);
    assert_eq!(
        polling.get("/get/a").await.text,
        "none",
        "an hour has passed"
    );
}

#[tokio::test]
async fn where_no_cookie_or_nothing_may_be_written_nothing_rotates() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    for rule in [rotating().without_cookie(), rotating().with_read_only()] {
        let other = bed.browser(rule);
        other.set_cookie("__Host-id", &browser.token());
        assert!(other.get("/get/a").await.cookies().is_empty());
        assert_eq!(other.get("/get/a").await.text, "1");
    }
    assert!(browser.post("/failing-set/a/2").await.cookies().is_empty());
    assert_eq!(
        browser.get("/get/a").await.cookies().len(),
        1,
        "it still is due"
    );
}

/// Who only reads asked for nothing to be written.
#[tokio::test]
async fn a_rotation_that_fails_is_nobodys_business() {
    let bed = Bed::new();
    let browser = due(&bed).await;
    let down = Fault::Fail(BackendErrorKind::Unavailable);
    bed.backend.script([Fault::None, down]);
    let read = browser.get("/get/a").await;
    assert_eq!((read.status, read.cookies().len()), (StatusCode::OK, 0));
    assert_eq!(read.text, "1");
    bed.backend.script([
        Fault::None,
        Fault::LostReply,
        Fault::LostReply,
        Fault::LostReply,
    ]);
    let read = browser.get("/get/a").await;
    assert_eq!((read.status, read.cookies().len()), (StatusCode::OK, 0));
    assert_eq!(
        browser.get("/get/a").await.text,
        "1",
        "the old secret is good still"
    );
}

#[tokio::test]
async fn a_reader_whose_rotation_meets_a_commit_or_the_end_is_not_rejected() {
    let bed = Bed::new();
    let strict = rotating()
        .with_strict_commits()
        .with_on_gone(OnGone::Reject);
    let reader = bed.browser(strict);
    for path in ["/set/b/1", "/logout"] {
        let browser = due(&bed).await;
        reader.set_cookie("__Host-id", &browser.token());
        let slow = reader.posting("/slow-set/a/1");
        bed.gate.reached(1).await;
        browser.post(path).await;
        bed.gate.open(1);
        // It sets what was there already.
        assert_eq!(slow.await.unwrap().status, StatusCode::OK, "{path}");
    }
}
