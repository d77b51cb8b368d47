//! A backend that fails: an outage is no absence, and a lost reply is no failure.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use http::{Request, StatusCode};
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend, Op, Timeout},
    session::{
        OnOutage, Session, SessionError, SessionErrorKind, SessionLayer, SessionRule, Sessions,
    },
    testing::{Fault, FaultBackend},
};

use crate::fixture::{Answer, Bed, Browser, Gate, shop, web};

const DOWN: Fault = Fault::Fail(BackendErrorKind::Unavailable);

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.all("retry-after"), ["1"]);
    assert!(answer.cookies().is_empty(), "{:?}", answer.cookies());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_503_where_the_session_is_used_and_nothing_elsewhere() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    bed.backend.go_down();
    for path in ["/who", "/get/a", "/state"] {
        assert_unavailable(&browser.get(path).await);
    }
    for path in ["/set/a/1", "/logout", "/renew", "/incr/n", "/login/eve"] {
        assert_unavailable(&browser.post(path).await);
    }
    let untouched = browser.get("/static").await;
    assert_eq!(untouched.status, StatusCode::OK);
    assert!(untouched.cookies().is_empty());

    bed.backend.come_up();
    // The breaker's.
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_route_that_needs_a_user_is_503_and_does_not_run_in_an_outage() {
    let bed = Bed::new();
    let app = bed.app(web().with_required_user(), |_| {
        Router::new().route("/", post(async || StatusCode::IM_A_TEAPOT))
    });
    let browser = Browser::new(&app);
    browser.set_cookie("__Host-id", &"A".repeat(64));
    bed.backend.go_down();
    assert_unavailable(&browser.post("/").await);
    let grpc = Request::post("/").header("content-type", "application/grpc");
    let answer = browser.send(grpc).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.all("grpc-status"), ["14"]);
}

#[tokio::test]
async fn a_load_that_failed_stays_failed_for_all_clones() {
    async fn thrice(session: Session) -> Result<String, SessionError> {
        let clone = session.clone();
        let mut kinds = Vec::new();
        kinds.push(session.user().await.unwrap_err().kind());
        kinds.push(clone.insert("a", 1).await.unwrap_err().kind());
        kinds.push(session.destroy().await.unwrap_err().kind());
        Ok(format!("{kinds:?}"))
    }
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let app = bed.app(web(), |_| Router::new().route("/", post(thrice)));
    let trying = Browser::new(&app);
    trying.set_cookie("__Host-id", &browser.token());
    bed.backend.script([DOWN]);
    let mut calls = bed.meter();
    let answer = trying.post("/").await;
    assert_eq!(answer.text, "[Unavailable, Unavailable, Unavailable]");
    assert!(answer.cookies().is_empty());
    assert_eq!(calls(), 1);
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_commit_that_fails_is_503_without_cookie_and_changes_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/old").await;
    bed.backend.script([Fault::None, DOWN]);
    assert_unavailable(&browser.post("/set/a/new").await);
    assert_eq!(browser.get("/get/a").await.text, "old");
    bed.backend.script([DOWN]);
    assert_unavailable(&browser.another().post("/set/a/new").await);
    assert_eq!(bed.spy.living().await, 1);
    bed.backend.script([Fault::None, DOWN]);
    assert_unavailable(&browser.post("/renew").await);
    assert_eq!(browser.get("/get/a").await.text, "old");
}

#[tokio::test]
async fn a_failure_of_its_own_is_told_and_the_session_is_left_alone() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/old").await;
    let before = browser.token();
    // At each of the calls of a login: load, ticket, join, epoch, bind.
    for call in 0..5 {
        let mut script = vec![Fault::None; call];
        script.push(DOWN);
        bed.backend.script(script);
        assert_unavailable(&browser.post("/login/ada").await);
        assert_eq!(browser.token(), before, "call {call}");
        assert_eq!(browser.get("/get/a").await.text, "old", "call {call}");
        assert_eq!(browser.get("/who").await.text, "nobody", "call {call}");
    }
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_found_out_to_be_written() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    bed.backend.script([Fault::LostReply]);
    let begun = browser.post("/set/a/1").await;
    assert_eq!((begun.status, begun.cookies().len()), (StatusCode::OK, 1));
    assert_eq!(browser.get("/get/a").await.text, "1");

    bed.backend.script([Fault::None, Fault::LostReply]);
    assert_eq!(browser.post("/set/a/2").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/a").await.text, "2");

    for lost in 1..=2 {
        bed.backend.script([Fault::None]);
        bed.backend.script(vec![Fault::LostReply; lost]);
        assert_eq!(browser.post("/incr/n").await.text, lost.to_string());
    }
    assert_eq!(browser.get("/get/n").await.text, "2");

    bed.backend.script([Fault::None, Fault::LostReply]);
    assert_eq!(browser.post("/renew").await.cookies().len(), 1);
    assert_eq!(browser.get("/get/n").await.text, "2");
}

#[tokio::test]
async fn a_login_any_reply_of_which_is_lost_is_a_login_or_none() {
    for call in 0..5 {
        let bed = Bed::new();
        let browser = bed.browser(web());
        browser.post("/set/a/1").await;
        bed.backend.script(vec![Fault::None; call]);
        bed.backend.script([Fault::LostReply]);
        let login = browser.post("/login/ada").await;
        let who = browser.get("/who").await.text;
        if login.status == StatusCode::OK {
            assert_eq!((login.cookies().len(), &*who), (1, "ada"), "call {call}");
        } else {
            assert_unavailable(&login);
            assert_eq!(who, "nobody", "call {call}");
        }
        assert_eq!(browser.get("/get/a").await.text, "1", "call {call}");
        // An addition to the list and the bind are sent again.
        let is_sent_again = matches!(call, 2 | 4);
        assert_eq!(login.status == StatusCode::OK, is_sent_again, "call {call}");
    }
}

#[tokio::test]
async fn a_write_none_of_whose_replies_come_is_503_and_old_or_new() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/old").await;
    bed.backend.script([Fault::None]);
    bed.backend.script([Fault::LostReply; 3]);
    assert_unavailable(&browser.post("/set/a/new").await);
    assert_eq!(browser.get("/get/a").await.text, "new");
    bed.backend.script([Fault::LostReply; 3]);
    assert_unavailable(&browser.another().post("/set/a/1").await);
}

/// A shop before a backend that is given 100 ms for each call.
fn impatient(bed: &Bed) -> Browser {
    let backend = Timeout::new(bed.backend.clone(), Duration::from_millis(100));
    let layer = SessionLayer::new(backend.clone(), web())
        .unwrap()
        .with_users(backend)
        .unwrap();
    Browser::new(&shop(layer.handle(), Gate::default()).layer(layer))
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_found_out_to_have_been_a_write() {
    let bed = Bed::new();
    let browser = impatient(&bed);
    let late = Fault::LateReply(Duration::from_millis(150));
    bed.backend.script([late]);
    assert_eq!(browser.post("/set/a/1").await.cookies().len(), 1);
    bed.backend.script([Fault::None, late]);
    assert_eq!(browser.post("/incr/n").await.text, "1");
    bed.backend.script([Fault::None, late, late]);
    assert_eq!(browser.post("/incr/n").await.text, "2");
    assert_eq!(browser.get("/get/n").await.text, "2");
    bed.backend.script([late]);
    assert_unavailable(&browser.get("/get/n").await);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_503_at_load_and_at_commit() {
    let bed = Bed::new();
    let browser = impatient(&bed);
    browser.post("/set/a/old").await;
    bed.backend.script([Fault::Hang]);
    assert_unavailable(&browser.get("/get/a").await);
    bed.backend.script([Fault::None]);
    bed.backend.script([Fault::Hang; 3]);
    assert_unavailable(&browser.post("/set/a/new").await);
    assert_eq!(browser.get("/get/a").await.text, "old");
    bed.backend.script([Fault::None, Fault::Hang]);
    assert_eq!(browser.post("/set/a/new").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/a").await.text, "new");
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_fails_says_so_and_keeps_cookie_and_session() {
    let bed = Bed::new();
    let browser = impatient(&bed);
    browser.post("/login/ada").await;
    bed.backend.script([Fault::None, DOWN]);
    assert_unavailable(&browser.post("/logout").await);
    bed.backend.script([Fault::None]);
    bed.backend.script([Fault::Hang; 3]);
    assert_unavailable(&browser.post("/logout").await);
    assert_eq!(browser.get("/who").await.text, "ada");
    bed.backend
        .script([Fault::None, Fault::LostReply, Fault::Hang]);
    let out = browser.post("/logout").await;
    assert_eq!((out.status, out.cookies().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_route_may_keep_its_response_when_a_commit_fails_but_no_login_may() {
    let bed = Bed::new();
    let browser = bed.browser(web().with_on_outage(OnOutage::Keep));
    browser.post("/set/a/old").await;
    bed.backend.script([Fault::None, DOWN]);
    let kept = browser.post("/set/a/new").await;
    assert_eq!((kept.status, kept.cookies().len()), (StatusCode::OK, 0));
    assert_eq!(browser.get("/get/a").await.text, "old");
    bed.backend.script([DOWN]);
    let kept = browser.another().post("/set/a/new").await;
    assert_eq!((kept.status, kept.cookies().len()), (StatusCode::OK, 0));
    bed.backend
        .script([Fault::None, Fault::None, Fault::None, Fault::None, DOWN]);
    assert_unavailable(&browser.post("/login/ada").await);
}

/// A server whose memory is full takes no new value, and lets go of what it has.
#[tokio::test]
async fn a_full_server_takes_no_writes_and_still_logs_out() {
    const FULL: Fault = Fault::Fail(BackendErrorKind::Rejected);
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    bed.backend.script([Fault::None, FULL]);
    assert_unavailable(&browser.post("/set/a/1").await);
    assert_eq!(browser.get("/who").await.text, "ada");
    bed.backend.script([Fault::None, FULL]);
    let out = browser.post("/logout").await;
    assert_eq!((out.status, out.cookies().len()), (StatusCode::OK, 1));
    assert_eq!(bed.backend.calls(Op::Delete), 1);
    assert!(bed.spy.stored().await.is_empty());
    bed.backend.script([FULL]);
    assert_unavailable(&browser.post("/set/a/1").await);
}

#[tokio::test]
async fn who_wrote_before_a_logout_without_tombstone_brings_nothing_back() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let slow = browser.posting("/slow-set/a/1");
    bed.gate.reached(1).await;
    bed.backend
        .script([Fault::None, Fault::Fail(BackendErrorKind::Rejected)]);
    browser.fork().post("/logout").await;
    bed.gate.open(1);
    assert!(slow.await.unwrap().cookies().is_empty());
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn logging_out_everywhere_goes_on_where_it_was_interrupted() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let others = [browser.another(), browser.another(), browser.another()];
    for other in &others {
        other.post("/login/ada").await;
    }
    // The epoch, the list; of each session its record, its tombstone, its place on the list.
    bed.backend.script([Fault::None; 6]);
    bed.backend.script([DOWN, DOWN]);
    assert_unavailable(&browser.post("/everywhere/ada").await);
    assert_eq!(bed.spy.living().await, 2);
    assert_eq!(browser.post("/everywhere/ada").await.text, "2");
    assert_eq!(bed.spy.living().await, 0);
}

#[tokio::test]
async fn a_slide_that_fails_is_nobodys_business() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    bed.clock.advance(Duration::from_secs(3_600));
    for fault in [DOWN, Fault::LostReply] {
        bed.backend.script([Fault::None, fault]);
        let read = browser.get("/who").await;
        assert_eq!((read.status, &*read.text), (StatusCode::OK, "ada"));
        assert!(read.cookies().is_empty());
    }
}

/// Only the backend, so that each test sees how an error of the session looks to a handler.
#[tokio::test]
async fn what_may_have_happened_is_told_apart_from_what_has_not() {
    async fn kind(State(_): State<Sessions>, session: Session) -> String {
        match session.incr("n", 1).await {
            Ok(sum) => sum.to_string(),
            Err(error) => format!("{:?}", error.kind()),
        }
    }
    let bed = Bed::new();
    let router = |sessions| Router::new().route("/", post(kind)).with_state(sessions);
    let browser = Browser::new(&bed.app(web(), router));
    browser.post("/").await;
    bed.backend.script([Fault::None, DOWN]);
    assert_eq!(browser.post("/").await.text, "Unavailable");
    bed.backend.script([Fault::None]);
    bed.backend.script([Fault::LostReply; 3]);
    assert_eq!(browser.post("/").await.text, "Indeterminate");
    assert_eq!(browser.post("/").await.text, "3", "it was written");
}

#[tokio::test]
async fn a_layer_needs_no_more_than_what_it_uses() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let layer = SessionLayer::new(backend, SessionRule::new("web").unwrap()).unwrap();
    let sessions = layer.handle();
    let browser = Browser::new(&shop(layer.handle(), Gate::default()).layer(layer));
    assert_eq!(browser.post("/login/ada").await.cookies().len(), 1);
    assert_eq!(browser.get("/who").await.text, "ada");
    let error = sessions.destroy_all("ada").await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::NoUsers);
}
