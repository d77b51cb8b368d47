//! Requests that are dropped, and handlers that panic.

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    task::Poll,
    time::Duration,
};

use axum::{Router, routing::post};
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use tower::ServiceExt as _;
use tower_stash::{
    session::{Session, SessionError},
    testing::Fault,
};

use crate::fixture::{Bed, Browser, web};

/// Polls a future so often, then drops it; gives what it gave, if it was done by then.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for poll in 0..times {
        if poll > 0 {
            woken().await;
        }
        let once = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
        if let Poll::Ready(output) = once.await {
            return Some(output);
        }
    }
    None
}

/// Waits until what this task polled last wakes it.
async fn woken() {
    let mut has_waited = false;
    poll_fn(|_| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        Poll::Pending
    })
    .await;
}

/// A bed whose calls all take a while, before they are applied or after.
fn slow(after: bool) -> Bed {
    let bed = Bed::new();
    let moment = Duration::from_millis(1);
    let fault = if after {
        Fault::LateReply(moment)
    } else {
        Fault::Delay(moment)
    };
    let slow = bed.backend.clone().with_faults([fault]);
    let _ = slow.with_fault_rate(1.0);
    bed
}

/// Drops the response of a POST to this path after 0, 1, 2… polls, until it comes; looks each time.
async fn dropped_after_every_poll(
    path: &str,
    prepare: &[&str],
    look: impl AsyncFn(&Bed, &Browser),
) {
    for after in [false, true] {
        for polls in 0.. {
            let bed = slow(after);
            let browser = bed.browser(web());
            for path in prepare {
                browser.post(path).await;
            }
            let response = browser.app().oneshot(browser.request(Request::post(path)));
            let came = polled(polls, response).await.is_some();
            // What goes on without its request, does so now.
            tokio::time::sleep(Duration::from_secs(5)).await;
            look(&bed, &browser).await;
            if came {
                assert!(polls > 1, "it waited for something");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_dropped_at_any_poll_is_there_or_not() {
    dropped_after_every_poll(
        "/set/a/new",
        &["/set/a/old", "/set/b/1"],
        async |_, browser| {
            let a = browser.get("/get/a").await;
            assert_eq!(a.status, StatusCode::OK);
            assert!(["old", "new"].contains(&&*a.text), "{}", a.text);
            assert_eq!(browser.get("/get/b").await.text, "1");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_increment_dropped_at_any_poll_happened_once_or_not() {
    dropped_after_every_poll("/incr/n", &["/incr/n"], async |_, browser| {
        let n = browser.get("/get/n").await.text;
        assert!(["1", "2"].contains(&&*n), "{n}");
        assert!(browser.post("/incr/n").await.text.parse::<u32>().unwrap() <= 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_first_write_dropped_at_any_poll_leaves_one_session_at_most() {
    dropped_after_every_poll("/set/a/1", &[], async |bed, browser| {
        assert!(bed.spy.living().await <= 1);
        assert_eq!(browser.get("/get/a").await.text, "none");
        assert_eq!(browser.post("/set/a/2").await.cookies().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_logout_dropped_at_any_poll_happened_or_not() {
    dropped_after_every_poll("/logout", &["/login/ada"], async |bed, browser| {
        let who = browser.get("/who").await;
        assert_eq!(who.status, StatusCode::OK);
        assert_eq!(who.text == "ada", bed.spy.living().await == 1);
        browser.post("/logout").await;
        assert_eq!(bed.spy.living().await, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_login_dropped_at_any_poll_happened_or_not_and_can_be_done_again() {
    dropped_after_every_poll("/login/ada", &["/set/a/1"], async |bed, browser| {
        assert_eq!(
            browser.get("/who").await.text,
            "nobody",
            "the cookie did not come"
        );
        match &*browser.get("/state").await.text {
            "Active" => assert_eq!(browser.get("/get/a").await.text, "1"),
            "Ended" => assert_eq!(browser.get("/get/a").await.text, "none"),
            other => panic!("{other}"),
        }
        assert_eq!(browser.post("/login/ada").await.cookies().len(), 1);
        assert_eq!(browser.get("/who").await.text, "ada");
        assert_eq!(browser.get("/static").await.status, StatusCode::OK);
        browser.post("/everywhere/ada").await;
        assert_eq!(bed.spy.living().await, 0, "the list knows of all");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_dropped_at_any_poll_happened_or_not() {
    dropped_after_every_poll("/renew", &["/set/a/1"], async |bed, browser| {
        match &*browser.get("/state").await.text {
            "Active" => assert_eq!(browser.get("/get/a").await.text, "1"),
            "Ended" => assert_eq!(browser.get("/get/a").await.text, "none"),
            other => panic!("{other}"),
        }
        assert_eq!(bed.spy.living().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_request_dropped_before_its_handler_has_answered_writes_nothing() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let app = bed.app(web(), |_| {
        let wait = async move |session: Session| {
            session.insert("a", 1).await?;
            gate.pass().await;
            Ok::<_, SessionError>(())
        };
        Router::new().route("/", post(wait))
    });
    let browser = Browser::new(&app);
    let waiting = browser.posting("/");
    bed.gate.reached(1).await;
    waiting.abort();
    assert!(waiting.await.is_err());
    bed.gate.open(1);
    tokio::task::yield_now().await;
    assert_eq!(bed.backend.total_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_after_its_handler_has_answered_is_written() {
    let bed = slow(false);
    let browser = bed.browser(web());
    browser.post("/set/a/old").await;
    let response = browser
        .app()
        .oneshot(browser.request(Request::post("/set/a/new")));
    // Until the load is over, and the handler with it.
    let cut = tokio::time::timeout(Duration::from_micros(1_500), response).await;
    assert!(cut.is_err());
    assert_eq!(browser.get("/get/a").await.text, "new");
}

#[tokio::test]
async fn a_handler_that_panics_writes_nothing() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        Router::new().route(
            "/",
            post(async |session: Session| {
                session.insert("a", "new").await?;
                assert!(session.renew().await.is_err(), "it panics");
                Ok::<_, SessionError>(())
            }),
        )
    });
    let browser = bed.browser(web());
    browser.post("/set/a/old").await;
    let panicking = Browser::new(&app);
    panicking.set_cookie("__Host-id", &browser.token());
    let panicked = AssertUnwindSafe(panicking.post("/")).catch_unwind().await;
    assert!(panicked.is_err());
    assert_eq!(browser.get("/get/a").await.text, "old");
}

#[tokio::test]
async fn a_closure_that_panics_leaves_the_session_usable() {
    async fn change(session: Session) -> Result<String, SessionError> {
        session.insert("a", 1).await?;
        let panics = session.update("n", |_: Option<u8>| panic!("in a closure"));
        assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
        session.insert("b", 2).await?;
        Ok(format!("{:?}", session.get::<u8>("a").await?))
    }
    let bed = Bed::new();
    let app = bed.app(web(), |_| Router::new().route("/", post(change)));
    let browser = Browser::new(&app);
    for _ in ["new", "stored"] {
        let answer = browser.post("/").await;
        assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "Some(1)"));
    }
}

/// The response's head has left, and its body is still being made.
#[tokio::test]
async fn what_a_stream_or_task_writes_after_the_head_is_refused() {
    let bed = Bed::new();
    let (kept, gate) = (
        std::sync::Arc::new(std::sync::Mutex::new(None)),
        bed.gate.clone(),
    );
    let keep = std::sync::Arc::clone(&kept);
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session| {
            session.insert("a", 1).await?;
            let task = tokio::spawn({
                let session = session.clone();
                async move {
                    gate.pass().await;
                    let read = session.get::<u8>("a").await;
                    let kind = |result: Result<(), SessionError>| result.unwrap_err().kind();
                    let ticketless = [
                        kind(session.insert("a", 2).await),
                        kind(session.remove("a").await.map(drop)),
                        kind(session.clear().await),
                        kind(session.renew().await),
                        kind(session.start().await),
                        kind(session.destroy().await),
                        kind(session.incr("n", 1).await.map(drop)),
                        kind(session.flash("info", "late").await),
                    ];
                    (read, ticketless)
                }
            });
            *keep.lock().unwrap() = Some(task);
            Ok::<_, SessionError>(())
        };
        Router::new().route("/", post(handler))
    });
    let browser = Browser::new(&app);
    assert_eq!(browser.post("/").await.cookies().len(), 1);
    bed.gate.reached(1).await;
    bed.gate.open(1);
    let task = kept.lock().unwrap().take().unwrap();
    let (read, refused) = task.await.unwrap();
    assert_eq!(read.unwrap(), Some(1), "the snapshot can be read");
    for kind in refused {
        assert_eq!(format!("{kind:?}"), "Sealed");
    }
    let reader = bed.browser(web());
    reader.set_cookie("__Host-id", &browser.token());
    assert_eq!(reader.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn a_session_that_nobody_asked_before_the_head_left_is_not_loaded_after() {
    let bed = Bed::new();
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = std::sync::Arc::clone(&kept);
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session| {
            *keep.lock().unwrap() = Some(session);
        };
        Router::new().route("/", post(handler))
    });
    let browser = Browser::new(&app);
    browser.set_cookie("__Host-id", &"A".repeat(64));
    browser.post("/").await;
    let session = kept.lock().unwrap().take().unwrap();
    let error = session.user().await.unwrap_err();
    assert_eq!(format!("{:?}", error.kind()), "Sealed");
    assert_eq!(bed.backend.total_calls(), 0);
}
