//! What is stored and should not be, and what is shown and must not be.

use std::time::Duration;

use http::StatusCode;
use proptest::{prelude::*, test_runner::TestRunner};
use tower_stash::session::{Session, SessionErrorKind};

use crate::{
    fixture::{Bed, Browser, web},
    observed::logged,
};

async fn untouchable(browser: &Browser, what: &str) {
    for path in [
        "/set/a/2",
        "/incr/n",
        "/logout",
        "/login/eve",
        "/renew",
        "/clear",
    ] {
        let answer = browser.post(path).await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{what} {path}"
        );
        assert!(answer.cookies().is_empty(), "{what} {path}");
        assert!(
            answer.text.contains("damaged, or of a newer version"),
            "{}",
            answer.text
        );
    }
    assert_eq!(
        browser.get("/who").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(browser.get("/static").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_record_that_is_newer_damaged_or_cut_short_is_an_error_and_stays() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    browser.post("/set/a/1").await;
    let (_, good) = bed.spy.only_one().await;
    let len = good.value.len();
    let newer: (&str, fn(&mut Vec<u8>)) = ("newer", |value| value[1] = 2);
    let foreign: (&str, fn(&mut Vec<u8>)) = ("foreign", |value| value[0] = b'q');
    let longer: (&str, fn(&mut Vec<u8>)) = ("longer", |value| value.push(0));
    let empty: (&str, fn(&mut Vec<u8>)) = ("empty", Vec::clear);
    for (what, spoil) in [newer, foreign, longer, empty] {
        let stored = bed.spy.spoil(spoil).await;
        untouchable(&browser, what).await;
        if !stored.is_empty() && matches!(stored[0], b's') {
            assert_eq!(bed.spy.only_one().await.1.value, stored, "{what}");
        }
        restore(&bed, &good.value).await;
    }
    for cut in [2, 10, 100, 195, 196, 200, len - 1] {
        bed.spy.spoil(|value| value.truncate(cut)).await;
        untouchable(&browser, &format!("{cut} bytes")).await;
        restore(&bed, &good.value).await;
    }
    assert_eq!(browser.get("/who").await.text, "ada");
    assert_eq!(browser.get("/get/a").await.text, "1");
}

async fn restore(bed: &Bed, value: &[u8]) {
    bed.spy.overwrite(value).await;
}

#[tokio::test]
async fn a_record_that_is_spoiled_during_a_request_is_an_error_and_stays() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let slow = browser.posting("/slow-set/a/2");
    bed.gate.reached(1).await;
    let newer = bed.spy.spoil(|value| value[1] = 2).await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(slow.cookies().is_empty());
    assert_eq!(bed.spy.only_one().await.1.value, newer);
}

#[tokio::test]
async fn a_value_that_is_no_json_fails_its_attribute_and_no_other() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/secret-value").await;
    browser.post("/set/b/2").await;
    bed.spy
        .spoil(|value| {
            let at = value.windows(6).position(|part| part == b"secret").unwrap();
            value[at - 1] = b'?';
        })
        .await;
    let bad = browser.get("/get/a").await;
    assert_eq!(bad.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!bad.text.contains("secret-value"), "{}", bad.text);
    assert_eq!(browser.get("/get/b").await.text, "2");
    assert_eq!(browser.post("/set/a/mended").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/a").await.text, "mended");
}

/// Whatever one byte becomes: an answer, and never another user.
#[test]
fn a_record_with_a_wrong_byte_is_never_somebody_elses() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bed = Bed::new();
    let browser = bed.browser(web());
    let good = runtime.block_on(async {
        browser.post("/login/ada").await;
        bed.spy.only_one().await.1.value
    });
    let mut runner = TestRunner::deterministic();
    runner
        .run(&(0..good.len(), 1..=255_u8), |(place, flip)| {
            let who = runtime.block_on(async {
                bed.spy.spoil(|value| value[place] ^= flip).await;
                let who = browser.get("/who").await;
                restore(&bed, &good).await;
                who
            });
            let known = ["ada", "nobody"].contains(&&*who.text);
            // The name is not signed: who can write the store can write that as well.
            let is_name = place >= good.len() - 5;
            prop_assert!(
                known || is_name || who.status == 503,
                "{place}: {}",
                who.text
            );
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn no_secret_user_or_value_is_in_a_key_and_no_secret_in_a_value() {
    let bed = Bed::new();
    let browser = bed.browser(web().with_rotation_every(Duration::from_secs(60)).unwrap());
    let mut tokens = Vec::new();
    for path in ["/set/cart/1", "/login/ada", "/renew", "/set/a/2"] {
        bed.clock.advance(Duration::from_secs(61));
        browser.post(path).await;
        tokens.push(browser.token());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    let written = bed.spy.everything_written();
    let has = |needle: &[u8]| written.windows(needle.len()).any(|part| part == needle);
    assert!(has(b"cart"));
    for token in tokens {
        for part in [&token[..20], &token[22..42], &token[44..]] {
            assert!(!has(part.as_bytes()));
        }
        for bytes in crate::spy::bytes_of(&token) {
            assert!(!has(&bytes));
        }
    }
    for key in bed.spy.keys() {
        assert!(!key.contains("ada") && !key.contains("web"), "{key}");
    }
}

#[tokio::test]
async fn nothing_that_can_be_printed_shows_a_token_a_user_or_a_value() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let ticket = sessions.begin_login("ada-lovelace").await.unwrap();
    let shown = format!("{layer:?} {sessions:?} {ticket:?}");
    assert!(!shown.contains("ada"), "{shown}");
    let app = bed.app(web(), |_| {
        axum::Router::new().route(
            "/",
            axum::routing::post(async |session: Session| {
                session.insert("a", "s3cret").await?;
                let error = session.get::<u8>("a").await.unwrap_err();
                assert_eq!(error.kind(), SessionErrorKind::Json);
                let detached = session.detach().await?;
                Ok::<_, tower_stash::session::SessionError>(format!(
                    "{session:?} {detached:?} {error} {error:?}"
                ))
            }),
        )
    });
    let browser = Browser::new(&app);
    for _ in 0..2 {
        let shown = browser.post("/").await.text;
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(!shown.contains(&browser.token()[..10]), "{shown}");
    }
}

#[test]
fn nothing_that_is_logged_shows_a_token_a_user_or_a_value() {
    let log = logged(async {
        let bed = Bed::new();
        let browser = bed.browser(web());
        browser.post("/set/a/s3cret").await;
        browser.post("/login/ada-lovelace").await;
        let token = browser.token();
        bed.backend.go_down();
        browser.post("/set/a/s3cret").await;
        browser.post("/logout").await;
        bed.backend.come_up();
        tokio::time::advance(Duration::from_secs(5)).await;
        browser.get("/who").await;
        tracing::info!(token, "for the test");
    });
    let (log, token) = log.split_once("token=\"").unwrap();
    assert!(log.contains("tower_stash"), "{log}");
    for hidden in ["s3cret", "ada-lovelace", &token[..10], &token[30..40]] {
        assert!(!log.contains(hidden), "{log}");
    }
}
