//! Logging in, and new secrets.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use tower_stash::session::{Session, SessionError, Sessions};

use crate::fixture::{Bed, Browser, max_age, web};

#[tokio::test]
async fn a_login_during_a_slow_write_loses_the_write_and_sends_no_cookie() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let slow = browser.posting("/slow-set/cart/stolen");
    bed.gate.reached(1).await;
    browser.post("/login/ada").await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::OK);
    assert!(slow.cookies().is_empty());
    assert_eq!(browser.get("/get/cart").await.text, "1");
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_renewal_during_a_slow_write_loses_the_write_as_well() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let slow = browser.posting("/slow-set/cart/stolen");
    bed.gate.reached(1).await;
    browser.post("/renew").await;
    bed.gate.open(1);
    assert!(slow.await.unwrap().cookies().is_empty());
    assert_eq!(browser.get("/get/cart").await.text, "1");
}

#[tokio::test]
async fn a_login_whose_response_is_a_failure_did_not_happen() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let before = browser.token();
    let failed = browser.post("/failing-login/ada").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(failed.cookies().is_empty());
    assert_eq!(browser.token(), before);
    assert_eq!(browser.get("/who").await.text, "nobody");
    assert_eq!(browser.get("/get/cart").await.text, "1");
    let first = browser.another().post("/failing-login/ada").await;
    assert!(first.cookies().is_empty());
    assert_eq!(bed.spy.living().await, 1);
}

#[tokio::test]
async fn a_cookie_stolen_before_a_login_is_worth_nothing_after() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let thief = browser.fork();
    let stolen = thief.token();
    browser.post("/login/ada").await;
    assert_ne!(browser.token(), stolen);

    assert_eq!(thief.get("/who").await.text, "nobody");
    assert_eq!(thief.get("/state").await.text, "Ended");
    let dropped = thief.post("/set/cart/mine").await;
    assert_eq!(
        (dropped.status, dropped.cookies().len()),
        (StatusCode::OK, 0)
    );
    thief.post("/logout").await;
    assert_eq!(browser.get("/who").await.text, "ada");

    bed.clock.advance(Duration::from_secs(61));
    assert_eq!(thief.get("/state").await.text, "None");
    thief.post("/set/cart/mine").await;
    assert_ne!(thief.token(), stolen, "an unknown token is not adopted");
    assert_eq!(browser.get("/get/cart").await.text, "1");
}

#[tokio::test]
async fn the_handle_stays_and_the_secret_is_new() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let before = browser.token();
    browser.post("/login/ada").await;
    let after = browser.token();
    // 16 bytes are 21 characters and a third.
    assert_eq!(before[..21], after[..21]);
    assert_ne!(before[22..], after[22..]);
}

#[tokio::test]
async fn a_login_over_another_user_is_another_session_without_data() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    browser.post("/set/cart/1").await;
    let tab = browser.fork();
    let slow = tab.posting("/slow-set/cart/of-ada");
    bed.gate.reached(1).await;
    let switched = browser.post("/login/eve").await;
    assert_eq!(switched.cookies().len(), 1);
    assert_eq!(browser.get("/who").await.text, "eve");
    assert_eq!(browser.get("/get/cart").await.text, "none");
    assert_ne!(browser.token()[..21], tab.token()[..21]);
    assert_eq!(
        tab.get("/who").await.text,
        "nobody",
        "the old one has ended"
    );
    bed.gate.open(1);
    assert!(slow.await.unwrap().cookies().is_empty());
    assert_eq!(browser.get("/get/cart").await.text, "none");
    assert_eq!(bed.spy.living().await, 1);
}

#[tokio::test]
async fn a_second_login_of_the_same_user_keeps_what_there_is() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    browser.post("/set/cart/1").await;
    let thief = browser.fork();
    browser.post("/login/ada").await;
    assert_eq!(browser.get("/get/cart").await.text, "1");
    assert_eq!(thief.get("/who").await.text, "nobody");
    assert_eq!(bed.spy.living().await, 1);
}

#[tokio::test]
async fn a_ticket_says_what_stays() {
    async fn login(State(sessions): State<Sessions>, session: Session) -> Result<(), SessionError> {
        session.insert("new", 1).await?;
        let ticket = sessions.begin_login("ada").await?.with_kept(["cart"]);
        session.login(ticket).await?;
        assert_eq!(session.get::<String>("draft").await?, None);
        assert_eq!(session.get::<String>("cart").await?.as_deref(), Some("1"));
        assert_eq!(session.user().await?.as_deref(), Some("ada"));
        Ok(())
    }
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    browser.post("/set/draft/2").await;
    let router = |sessions| Router::new().route("/", post(login)).with_state(sessions);
    let site = Browser::new(&bed.app(web(), router));
    site.set_cookie("__Host-id", &browser.token());
    assert_eq!(site.post("/").await.status, StatusCode::OK);
    browser.set_cookie("__Host-id", &site.token());
    assert_eq!(browser.get("/get/cart").await.text, "1");
    assert_eq!(browser.get("/get/new").await.text, "1");
    assert_eq!(browser.get("/get/draft").await.text, "none");
}

#[tokio::test(start_paused = true)]
async fn a_login_whose_ticket_is_old_replaces_the_response() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let slow = browser.posting("/slow-login/ada");
    bed.gate.reached(1).await;
    let quarter = Duration::from_secs(15 * 60);
    tokio::time::advance(quarter).await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::UNAUTHORIZED);
    assert!(slow.cookies().is_empty());
    assert_eq!(slow.problem()["detail"], "the login took too long");
    assert_eq!(browser.get("/who").await.text, "nobody");
    assert_eq!(browser.get("/get/cart").await.text, "1");
}

#[tokio::test]
async fn a_login_that_began_before_a_logout_everywhere_fails() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let slow = browser.posting("/slow-login/ada");
    bed.gate.reached(1).await;
    assert_eq!(browser.another().post("/everywhere/ada").await.text, "0");
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::UNAUTHORIZED);
    assert!(slow.cookies().is_empty());
    let detail = "the user was logged out everywhere meanwhile";
    assert_eq!(slow.problem()["detail"], detail);
    assert_eq!(browser.get("/who").await.text, "nobody");
    assert_eq!(browser.post("/login/ada").await.status, StatusCode::OK);
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn of_two_logins_with_one_session_one_succeeds_and_the_other_is_told_so() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/cart/1").await;
    let tab = browser.fork();
    let slow = tab.posting("/slow-login/eve");
    bed.gate.reached(1).await;
    browser.post("/login/ada").await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        slow.problem()["detail"],
        "the session ended during the login"
    );
    assert!(slow.cookies().is_empty());
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn who_comes_with_an_ended_session_can_log_in() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let tab = browser.fork();
    browser.post("/logout").await;
    assert_eq!(tab.get("/state").await.text, "Ended");
    assert_eq!(tab.post("/login/ada").await.cookies().len(), 1);
    assert_eq!(tab.get("/who").await.text, "ada");
}

#[tokio::test]
async fn who_comes_with_an_ended_session_can_start_one() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let tab = browser.fork();
    browser.post("/logout").await;
    assert_eq!(tab.post("/start").await.cookies().len(), 1);
    assert_eq!(tab.get("/state").await.text, "Active");
    assert!(
        tab.post("/start").await.cookies().is_empty(),
        "there is one"
    );
}

#[tokio::test]
async fn a_renewal_has_a_new_secret_and_the_same_data_user_and_end() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    browser.post("/set/cart/1").await;
    let thief = browser.fork();
    bed.clock.advance(Duration::from_secs(3_600));
    let renewed = browser.post("/renew").await;
    // Rounded up to seconds.
    let left = max_age(renewed.cookies()[0]) - (30 * 24 - 1) * 3_600;
    assert!(left <= 1, "{left}");
    assert_eq!(browser.get("/who").await.text, "ada");
    assert_eq!(browser.get("/get/cart").await.text, "1");
    assert_eq!(thief.get("/who").await.text, "nobody");
    assert!(browser.another().post("/renew").await.cookies().is_empty());
}

/// Whatever comes first, the strongest of what a handler asked for happens.
#[tokio::test]
async fn neither_start_nor_renew_takes_back_the_other() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        Router::new()
            .route(
                "/renew-start",
                post(async |session: Session| {
                    session.renew().await?;
                    session.start().await
                }),
            )
            .route(
                "/start-renew",
                post(async |session: Session| {
                    session.start().await?;
                    session.renew().await
                }),
            )
    });
    for path in ["/renew-start", "/start-renew"] {
        let browser = Browser::new(&app);
        assert_eq!(
            browser.post(path).await.cookies().len(),
            1,
            "begun by {path}"
        );
        let before = browser.token();
        assert_eq!(
            browser.post(path).await.cookies().len(),
            1,
            "renewed by {path}"
        );
        assert_ne!(browser.token(), before);
    }
}

#[tokio::test]
async fn a_login_restarts_the_absolute_clock_with_the_time_outs_of_users() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let begun = browser.post("/set/cart/1").await;
    assert_eq!(max_age(begun.cookies()[0]), 24 * 3_600);
    bed.clock.advance(Duration::from_secs(1_800));
    let login = browser.post("/login/ada").await;
    assert_eq!(max_age(login.cookies()[0]), 30 * 24 * 3_600);
    bed.clock.advance(Duration::from_secs(23 * 3_600));
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_login_may_have_a_shorter_life_than_the_rule_gives_and_no_longer_one() {
    const DAY: Duration = Duration::from_secs(86_400);
    for (wanted, lives) in [
        (Some(DAY), DAY),
        (Some(90 * DAY), 30 * DAY),
        (None, 30 * DAY),
    ] {
        let bed = Bed::new();
        let rule = web().with_timeouts(30 * DAY, 30 * DAY).unwrap();
        let app = bed.app(rule, |sessions| {
            let login = async move |session: Session| -> Result<(), SessionError> {
                let mut ticket = sessions.begin_login("ada").await?;
                if let Some(wanted) = wanted {
                    ticket = ticket.with_lifetime(wanted);
                }
                session.login(ticket).await
            };
            let who = async |session: Session| -> Result<String, SessionError> {
                Ok(session.user().await?.unwrap_or_default())
            };
            Router::new()
                .route("/login", post(login))
                .route("/who", axum::routing::get(who))
        });
        let browser = Browser::new(&app);
        let login = browser.post("/login").await;
        assert_eq!(max_age(login.cookies()[0]), lives.as_secs());
        bed.clock.advance(lives - Duration::from_secs(1));
        assert_eq!(browser.get("/who").await.text, "ada", "{wanted:?}");
        bed.clock.advance(Duration::from_secs(1));
        assert_eq!(browser.get("/who").await.text, "", "{wanted:?}");
    }
}

#[tokio::test]
async fn a_request_sees_whom_it_logged_in_and_no_session_before_it_is_stored() {
    let bed = Bed::new();
    let app = bed.app(web(), |sessions| {
        let sees = async |session: Session| {
            let (user, id) = (session.user().await?, session.id().await?);
            let (user, state) = (user.unwrap_or_default(), session.state().await?);
            Ok::<_, SessionError>(format!("{user} {state:?} {}", id.is_some()))
        };
        let log_in = async move |session: Session| {
            let ticket = sessions.begin_login("ada").await?;
            session.login(ticket).await?;
            sees(session).await
        };
        Router::new()
            .route("/login", post(log_in))
            .route("/next", get(sees))
    });
    let browser = Browser::new(&app);
    assert_eq!(browser.post("/login").await.text, "ada None false");
    assert_eq!(browser.get("/next").await.text, "ada Active true");
}
