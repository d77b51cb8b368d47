//! Logging out, which stays.

use std::time::Duration;

use axum::{Router, routing::post};
use http::StatusCode;
use tower_stash::session::{Session, SessionCookie, SessionError};

use crate::fixture::{Bed, Browser, web};

#[tokio::test]
async fn a_logout_during_a_slow_write_stays_and_no_cookie_is_sent() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let tab = browser.fork();
    let slow = tab.posting("/slow-set/a/1");
    bed.gate.reached(1).await;
    browser.post("/logout").await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::OK);
    assert!(slow.cookies().is_empty());
    assert_eq!(bed.spy.living().await, 0);
    assert_eq!(tab.get("/who").await.text, "nobody");
}

#[tokio::test]
async fn a_write_that_is_slower_than_the_tombstone_brings_nothing_back() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let tab = browser.fork();
    let slow = ["/slow-set/a/1", "/slow-set/b/1"].map(|path| tab.posting(path));
    bed.gate.reached(2).await;
    browser.post("/logout").await;
    bed.clock.advance(Duration::from_secs(61));
    assert!(
        bed.spy.stored().await.is_empty(),
        "the tombstone is gone too"
    );
    bed.gate.open(2);
    for slow in slow {
        assert!(slow.await.unwrap().cookies().is_empty());
    }
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn an_expired_session_is_not_brought_back_by_who_loaded_it_before() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/0").await;
    let slow = browser.posting("/slow-set/a/1");
    bed.gate.reached(1).await;
    bed.clock.advance(Duration::from_secs(3_601));
    bed.gate.open(1);
    assert!(slow.await.unwrap().cookies().is_empty());
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn a_removal_repeats_what_makes_the_cookie_that_cookie() {
    let bed = Bed::new();
    let cookie = SessionCookie::default()
        .with_name("__Secure-shop")
        .with_domain("shop.example")
        .with_path("/app")
        .with_partitioned();
    let browser = bed.browser(web().with_cookie(cookie).unwrap());
    browser.post("/login/ada").await;
    let out = browser.post("/logout").await;
    assert_eq!(
        out.cookies(),
        [
            "__Secure-shop=; Max-Age=0; Path=/app; Domain=shop.example; Secure; HttpOnly; \
          SameSite=None; Partitioned"
        ]
    );
    assert_eq!(out.all("cache-control"), ["no-store"]);
}

#[tokio::test]
async fn a_logout_is_at_once_and_outlives_a_failure() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        Router::new().route(
            "/",
            post(async |session: Session| {
                session.destroy().await?;
                Ok::<_, SessionError>(StatusCode::INTERNAL_SERVER_ERROR)
            }),
        )
    });
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let failing = Browser::new(&app);
    failing.set_cookie("__Host-id", &browser.token());
    let failed = failing.post("/").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(failed.cookies()[0].starts_with("__Host-id=; Max-Age=0;"));
    assert_eq!(browser.get("/who").await.text, "nobody");
}

#[tokio::test]
async fn what_is_written_after_a_logout_is_a_new_session_and_what_was_before_is_lost() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        Router::new().route(
            "/",
            post(async |session: Session| {
                session.insert("before", 1).await?;
                session.destroy().await?;
                assert_eq!(session.get::<u8>("old").await?, None);
                assert_eq!(session.user().await?, None);
                session.insert("after", 1).await
            }),
        )
    });
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    browser.post("/set/old/1").await;
    let old = browser.fork();
    let switching = Browser::new(&app);
    switching.set_cookie("__Host-id", &browser.token());
    assert_eq!(switching.post("/").await.cookies().len(), 1);
    browser.set_cookie("__Host-id", &switching.token());
    assert_ne!(browser.token()[..21], old.token()[..21]);
    assert_eq!(browser.get("/get/after").await.text, "1");
    assert_eq!(browser.get("/get/before").await.text, "none");
    assert_eq!(browser.get("/get/old").await.text, "none");
    assert_eq!(old.get("/who").await.text, "nobody");
}

#[tokio::test]
async fn a_logout_with_a_token_of_no_session_does_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let out = browser.post("/logout").await;
    assert_eq!((out.status, out.cookies().len()), (StatusCode::OK, 0));
    browser.set_cookie("__Host-id", &"A".repeat(64));
    let out = browser.post("/logout").await;
    assert_eq!((out.status, out.cookies().len()), (StatusCode::OK, 0));
    assert!(bed.spy.stored().await.is_empty());
}

#[tokio::test]
async fn a_second_logout_does_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let tab = browser.fork();
    browser.post("/logout").await;
    let mut calls = bed.meter();
    assert!(tab.post("/logout").await.cookies().is_empty());
    assert_eq!(calls(), 1, "the load");
}

#[tokio::test]
async fn a_tombstone_lives_a_minute() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let tab = browser.fork();
    browser.post("/logout").await;
    bed.clock.advance(Duration::from_millis(59_999));
    assert_eq!(tab.get("/state").await.text, "Ended");
    assert!(tab.post("/set/a/1").await.cookies().is_empty());
    bed.clock.advance(Duration::from_millis(1));
    assert_eq!(tab.get("/state").await.text, "None");
    assert_eq!(tab.post("/set/a/1").await.cookies().len(), 1);
}
