//! How long a session lives.

use std::time::Duration;

use http::StatusCode;
use tower_stash::backend::Op;

use crate::fixture::{Bed, web};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test]
async fn a_session_without_a_user_ends_after_an_hour_unused() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    bed.clock.advance(HOUR - SECOND);
    assert_eq!(browser.fork().get("/get/a").await.text, "1");
    bed.clock.advance(HOUR - SECOND);
    assert_eq!(
        browser.get("/get/a").await.text,
        "1",
        "reading moved its end"
    );
    bed.clock.advance(HOUR);
    assert_eq!(browser.get("/get/a").await.text, "none");
    assert_eq!(browser.get("/state").await.text, "None");
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn a_session_without_a_user_ends_after_a_day_however_it_is_used() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    for _ in 0..47 {
        bed.clock.advance(HOUR / 2);
        assert_eq!(browser.get("/get/a").await.text, "1");
        assert_eq!(browser.post("/incr/n").await.status, StatusCode::OK);
    }
    bed.clock.advance(HOUR / 2 - SECOND);
    assert_eq!(browser.get("/get/a").await.text, "1");
    browser.post("/set/a/2").await;
    bed.clock.advance(SECOND);
    assert_eq!(browser.get("/get/a").await.text, "none");
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn a_user_is_logged_out_after_a_day_unused_and_thirty_days_used() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let unused = browser.another();
    unused.post("/login/eve").await;
    bed.clock.advance(DAY - SECOND);
    assert_eq!(browser.get("/who").await.text, "ada");
    bed.clock.advance(SECOND);
    assert_eq!(unused.get("/who").await.text, "nobody");
    for _ in 0..28 {
        bed.clock.advance(DAY - 2 * SECOND);
        assert_eq!(browser.get("/who").await.text, "ada");
    }
    bed.clock.advance(DAY);
    assert_eq!(browser.get("/who").await.text, "nobody");
}

#[tokio::test]
async fn a_slide_is_written_when_it_gains_enough_and_sends_no_cookie() {
    let bed = Bed::new();
    let browser = bed.browser(web().with_touch_every(60 * SECOND).unwrap());
    browser.post("/set/a/1").await;
    let mut calls = bed.meter();
    bed.clock.advance(60 * SECOND - Duration::from_millis(100));
    browser.get("/get/a").await;
    assert_eq!(calls(), 1, "it would gain too little");
    bed.clock.advance(Duration::from_millis(100));
    let slid = browser.get("/get/a").await;
    assert_eq!((calls(), slid.cookies().len()), (2, 0));
    browser.get("/get/a").await;
    assert_eq!(calls(), 1, "it has just slid");
    assert_eq!(bed.backend.calls(Op::Touch), 0);
    let (_, entry) = bed.spy.only_one().await;
    assert_eq!(entry.expires_in, Some(HOUR));
}

#[tokio::test]
async fn a_slide_is_due_by_a_twentieth_of_the_idle_time_out() {
    for (idle, gain) in [(2, 1), (100, 5), (24 * 3_600, 300)] {
        let bed = Bed::new();
        let rule = web()
            .with_anonymous_timeouts(idle * SECOND, 30 * DAY)
            .unwrap();
        let browser = bed.browser(rule);
        browser.post("/set/a/1").await;
        let mut calls = bed.meter();
        bed.clock
            .advance(gain * SECOND - Duration::from_millis(100));
        browser.get("/get/a").await;
        assert_eq!(calls(), 1, "{idle} s");
        bed.clock.advance(Duration::from_millis(100));
        browser.get("/get/a").await;
        assert_eq!(calls(), 2, "{idle} s");
    }
}

#[tokio::test]
async fn what_does_not_ask_the_session_does_not_move_its_end() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    for _ in 0..2 {
        bed.clock.advance(HOUR / 2);
        assert_eq!(browser.get("/static").await.status, StatusCode::OK);
    }
    assert_eq!(browser.get("/get/a").await.text, "none");
}

#[tokio::test]
async fn a_route_that_does_not_slide_moves_no_end() {
    let bed = Bed::new();
    let (polling, browser) = (bed.browser(web().without_slide()), bed.browser(web()));
    browser.post("/set/a/1").await;
    polling.set_cookie("__Host-id", &browser.token());
    bed.clock.advance(HOUR / 2);
    let mut calls = bed.meter();
    assert_eq!(polling.get("/get/a").await.text, "1");
    assert_eq!(calls(), 1);
    bed.clock.advance(HOUR / 2);
    assert_eq!(polling.get("/get/a").await.text, "none");
}

#[tokio::test]
async fn a_wrong_secret_moves_no_end_and_reads_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let forger = browser.fork();
    let token = browser.token();
    let flipped = if token.ends_with('A') { "B" } else { "A" };
    forger.set_cookie("__Host-id", &format!("{}{flipped}", &token[..63]));
    bed.clock.advance(HOUR / 2);
    let mut calls = bed.meter();
    assert_eq!(forger.get("/get/a").await.text, "none");
    assert_eq!(calls(), 1);
    assert!(forger.post("/logout").await.cookies().is_empty());
    forger.post("/set/a/2").await;
    assert_ne!(
        forger.token()[..21],
        token[..21],
        "the handle is not adopted"
    );
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn a_slide_never_reaches_beyond_the_deadline() {
    let bed = Bed::new();
    let browser = bed.browser(
        web()
            .with_anonymous_timeouts(HOUR, HOUR + HOUR / 2)
            .unwrap(),
    );
    browser.post("/set/a/1").await;
    bed.clock.advance(HOUR - SECOND);
    assert_eq!(browser.get("/get/a").await.text, "1");
    let (_, entry) = bed.spy.only_one().await;
    assert!(entry.expires_in.unwrap() <= HOUR / 2 + SECOND);
    bed.clock.advance(HOUR / 2);
    assert_eq!(browser.get("/get/a").await.text, "1");
    bed.clock.advance(SECOND);
    assert_eq!(browser.get("/get/a").await.text, "none");
}

/// Of two requests at the moment of a slide one writes, and the other lets go.
#[tokio::test]
async fn a_slide_that_meets_a_write_drops_out() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    bed.clock.advance(HOUR / 2);
    let late = tower_stash::testing::Fault::Delay(Duration::from_millis(20));
    let slow = {
        // The read's slide is under way while the other writes.
        bed.backend
            .script([tower_stash::testing::Fault::None, late]);
        let browser = browser.clone();
        tokio::spawn(async move { browser.get("/get/a").await })
    };
    while bed.backend.calls(Op::Put) < 2 {
        tokio::task::yield_now().await;
    }
    browser.post("/set/a/2").await;
    assert_eq!(slow.await.unwrap().text, "1");
    assert_eq!(browser.get("/get/a").await.text, "2");
}

/// The time between the load and the head is the program's, not the session's.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_does_not_make_a_session_live_longer() {
    let bed = Bed::new();
    let rule = web().with_anonymous_timeouts(HOUR, 2 * HOUR).unwrap();
    let browser = bed.browser(rule);
    browser.post("/set/a/1").await;
    let slow = browser.posting("/slow-set/a/2");
    bed.gate.reached(1).await;
    bed.clock.advance(HOUR - SECOND);
    browser.fork().get("/get/a").await;
    bed.clock.advance(HOUR - SECOND);
    tokio::time::advance(2 * HOUR - 2 * SECOND).await;
    bed.gate.open(1);
    slow.await.unwrap();
    let (_, entry) = bed.spy.only_one().await;
    assert!(entry.expires_in.unwrap() <= 2 * SECOND, "{entry:?}");
    bed.clock.advance(2 * SECOND);
    assert_eq!(browser.get("/get/a").await.text, "none");
}
