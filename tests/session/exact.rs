//! Changes at once: update, incr, take.

use std::time::Duration;

use axum::{Router, routing::post};
use http::StatusCode;
use tower_stash::{
    backend::Timeout,
    session::{Session, SessionError, SessionErrorKind, SessionLayer},
    testing::Fault,
};

use crate::fixture::{Bed, Browser, web};

/// A browser of an application whose one route does this, with a session in which `n` is 1, and one of
/// the shop with the same session.
async fn doing_to_one<F>(
    bed: &Bed,
    run: impl Fn(Session) -> F + Clone + Send + Sync + 'static,
) -> (Browser, Browser)
where
    F: Future<Output = Result<StatusCode, SessionError>> + Send,
{
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    browser.post("/incr/n").await;
    let other = bed.doing(run);
    other.set_cookie("__Host-id", &browser.token());
    (other, browser)
}

#[tokio::test]
async fn an_increment_is_kept_though_the_response_is_a_failure() {
    let bed = Bed::new();
    let (failing, browser) = doing_to_one(&bed, async |session: Session| {
        session.insert("a", "lost").await?;
        session.incr("n", 1).await?;
        Ok(StatusCode::INTERNAL_SERVER_ERROR)
    })
    .await;
    failing.post("/").await;
    assert_eq!(browser.get("/get/n").await.text, "2");
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn where_there_is_no_session_an_increment_waits_for_the_response() {
    let bed = Bed::new();
    let failing = bed.doing(async |session: Session| {
        assert_eq!(session.incr("n", 2).await?, 2);
        assert_eq!(session.incr("n", 3).await?, 5);
        assert_eq!(session.take::<i64>("n").await?, Some(5));
        assert_eq!(session.take::<i64>("n").await?, None);
        assert_eq!(
            session.update("n", |n: Option<i64>| n.or(Some(7))).await?,
            Some(7)
        );
        Ok(StatusCode::INTERNAL_SERVER_ERROR)
    });
    assert!(failing.post("/").await.cookies().is_empty());
    assert_eq!(bed.backend.total_calls(), 0);
}

#[tokio::test]
async fn of_many_who_take_one_gets_it() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session| {
            session.state().await?;
            gate.pass().await;
            let taken: Option<String> = session.take("a").await?;
            Ok::<_, SessionError>(taken.unwrap_or_default())
        };
        Router::new().route("/", post(handler))
    });
    let browser = bed.browser(web());
    browser.post("/set/a/prize").await;
    let taking = Browser::new(&app);
    taking.set_cookie("__Host-id", &browser.token());
    let takers: Vec<_> = (0..8).map(|_| taking.posting("/")).collect();
    bed.gate.reached(8).await;
    bed.gate.open(8);
    let mut taken = String::new();
    for taker in takers {
        taken += &taker.await.unwrap().text;
    }
    assert_eq!(taken, "prize");
    assert_eq!(browser.get("/get/a").await.text, "none");
}

#[tokio::test]
async fn an_update_sees_what_this_request_staged_and_takes_it_along() {
    let bed = Bed::new();
    let (changing, browser) = doing_to_one(&bed, async |session: Session| {
        session.insert("n", 10).await?;
        assert_eq!(session.incr("n", 1).await?, 11);
        assert_eq!(session.get::<u8>("n").await?, Some(11));
        session.remove("a").await?;
        assert_eq!(session.take::<String>("a").await?, None);
        Ok(StatusCode::OK)
    })
    .await;
    assert_eq!(changing.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/n").await.text, "11");
    assert_eq!(browser.get("/get/a").await.text, "none");
}

#[tokio::test]
async fn what_is_updated_after_a_clear_stays() {
    let bed = Bed::new();
    let (clearing, browser) = doing_to_one(&bed, async |session: Session| {
        session.clear().await?;
        assert_eq!(session.incr("n", 5).await?, 5);
        assert_eq!(session.get::<u8>("n").await?, Some(5));
        assert_eq!(session.incr("n", 1).await?, 6);
        Ok(StatusCode::OK)
    })
    .await;
    assert_eq!(clearing.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/n").await.text, "6");
    assert_eq!(browser.get("/get/a").await.text, "none");
}

#[tokio::test]
async fn what_is_cleared_after_an_update_goes() {
    let bed = Bed::new();
    let (clearing, browser) = doing_to_one(&bed, async |session: Session| {
        session.clear().await?;
        session.incr("n", 5).await?;
        session.clear().await?;
        assert_eq!(session.get::<u8>("n").await?, None);
        Ok(StatusCode::OK)
    })
    .await;
    assert_eq!(clearing.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/n").await.text, "none");
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_and_stays() {
    let bed = Bed::new();
    let (changing, browser) = doing_to_one(&bed, async |session: Session| {
        for error in [
            session.incr("a", 1).await.unwrap_err(),
            session.take::<u8>("a").await.unwrap_err(),
            session.update("a", |n: Option<u8>| n).await.unwrap_err(),
            session.get::<u8>("a").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), SessionErrorKind::Json);
        }
        assert_eq!(
            session.incr("n", i64::MAX).await.unwrap_err().kind(),
            SessionErrorKind::TooLarge
        );
        Ok(StatusCode::OK)
    })
    .await;
    assert_eq!(changing.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/a").await.text, "1");
    assert_eq!(browser.get("/get/n").await.text, "1");
}

#[tokio::test]
async fn who_updates_a_session_that_has_ended_is_told_so() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let gate = bed.gate.clone();
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session| {
            session.state().await?;
            gate.pass().await;
            let kind = session.incr("n", 1).await.unwrap_err().kind();
            assert_eq!(kind, SessionErrorKind::Ended);
            assert_eq!(format!("{:?}", session.state().await?), "Ended");
            let kind = session.incr("n", 1).await.unwrap_err().kind();
            assert_eq!(kind, SessionErrorKind::Ended);
            session.insert("a", 2).await
        };
        Router::new().route("/", post(handler))
    });
    let counting = Browser::new(&app);
    counting.set_cookie("__Host-id", &browser.token());
    for path in ["/logout", "/login/ada"] {
        browser.set_cookie("__Host-id", &counting.token());
        let slow = counting.posting("/");
        bed.gate.reached(1).await;
        browser.post(path).await;
        bed.gate.open(1);
        let slow = slow.await.unwrap();
        assert_eq!((slow.status, slow.cookies().len()), (StatusCode::OK, 0));
        browser.post("/start").await;
        counting.set_cookie("__Host-id", &browser.token());
    }
    assert_eq!(browser.get("/get/n").await.text, "none");
}

#[tokio::test]
async fn after_a_login_an_increment_belongs_to_it() {
    let bed = Bed::new();
    let app = bed.app(web(), |sessions| {
        let handler = async move |session: Session| {
            let ticket = sessions.begin_login("ada").await?;
            session.login(ticket).await?;
            session.incr("n", 1).await?;
            Ok::<_, SessionError>(StatusCode::INTERNAL_SERVER_ERROR)
        };
        Router::new().route("/", post(handler))
    });
    let browser = bed.browser(web());
    browser.post("/incr/n").await;
    let failing = Browser::new(&app);
    failing.set_cookie("__Host-id", &browser.token());
    failing.post("/").await;
    assert_eq!(browser.get("/get/n").await.text, "1", "neither happened");
}

/// A closure that asks the session, as far as something that does not wait can.
#[tokio::test]
async fn no_lock_is_held_while_a_closure_or_a_type_of_the_program_runs() {
    let bed = Bed::new();
    let nested = bed.doing(async |session: Session| {
        let other = session.clone();
        session
            .update("n", move |n: Option<u8>| {
                let read = futures_util::FutureExt::now_or_never(other.get::<u8>("m"));
                assert_eq!(read.unwrap().unwrap(), None);
                Some(n.unwrap_or(0) + 1)
            })
            .await?;
        Ok(StatusCode::OK)
    });
    for n in 1..3 {
        let posted = tokio::time::timeout(Duration::from_secs(20), nested.post("/"));
        assert_eq!(posted.await.unwrap().status, StatusCode::OK, "{n}");
    }
}

/// The reply of a write is late while others write; then nobody can say any more whether it was.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_that_nine_others_have_covered_is_told_to_be_unknown() {
    for (others, told) in [(7, "2"), (9, "Indeterminate")] {
        let bed = Bed::new();
        let backend = Timeout::new(bed.backend.clone(), Duration::from_millis(100));
        let layer = SessionLayer::new(backend, web()).unwrap();
        let handler = async |session: Session| match session.incr("n", 1).await {
            Ok(sum) => sum.to_string(),
            Err(error) => format!("{:?}", error.kind()),
        };
        let counting = Browser::new(&Router::new().route("/", post(handler)).layer(layer));
        let browser = bed.browser(web());
        browser.post("/set/a/1").await;
        browser.post("/incr/n").await;
        counting.set_cookie("__Host-id", &browser.token());
        let late = Fault::LateReply(Duration::from_millis(200));
        bed.backend.script([Fault::None, late]);
        let slow = counting.posting("/");
        tokio::time::sleep(Duration::from_millis(50)).await;
        for n in 0..others {
            browser.post(&format!("/set/a/{n}-more")).await;
        }
        assert_eq!(slow.await.unwrap().text, told, "{others} others");
        assert_eq!(browser.get("/get/n").await.text, "2");
    }
}
