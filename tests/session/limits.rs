//! How much a session may hold.

use axum::{Router, routing::post};
use http::StatusCode;
use tower_stash::session::{Session, SessionError, SessionErrorKind, Sessions};

use crate::fixture::{Bed, Browser, web};

/// A browser of an application whose one route does this.
fn doing<F>(
    bed: &Bed,
    run: impl Fn(Session, Sessions) -> F + Clone + Send + Sync + 'static,
) -> Browser
where
    F: Future<Output = Result<(), SessionError>> + Send,
{
    let app = bed.app(web(), |sessions| {
        let handler = async move |session: Session| run(session, sessions).await;
        Router::new().route("/", post(handler))
    });
    Browser::new(&app)
}

/// A value with which an attribute of this name takes so many bytes: the name, JSON with two quotation
/// marks, and six.
fn filling(bytes: usize, name: &str) -> String {
    "x".repeat(bytes - 6 - 2 - name.len())
}

#[tokio::test]
async fn sixty_four_attributes_fit_and_no_more() {
    let bed = Bed::new();
    let browser = doing(&bed, async |session, _| {
        for n in 0..64 {
            session.insert(&format!("n{n}"), n).await?;
        }
        let error = session.insert("n64", 64).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        assert_eq!(session.get::<u8>("n64").await?, None);
        assert!(session.remove("n0").await?);
        session.insert("n64", 64).await
    });
    assert_eq!(browser.post("/").await.status, StatusCode::OK);
    let reader = bed.browser(web());
    reader.set_cookie("__Host-id", &browser.token());
    assert_eq!(reader.get("/get/n64").await.text, "64");
    assert_eq!(reader.get("/get/n0").await.text, "none");
    assert_eq!(reader.get("/get/n63").await.text, "63");
}

/// Nothing that an insert took may fail at the commit because of what the layer adds to it.
#[tokio::test]
async fn what_fits_at_the_insert_fits_at_the_commit_whoever_logs_in() {
    // Of 64 KiB, two are for what is not the program's, and two bytes say how many attributes there are.
    const MOST: usize = 62 * 1024 - 2;
    for user in ["a".to_owned(), "u".repeat(256)] {
        for (bytes, fits) in [(MOST - 1, true), (MOST, true), (MOST + 1, false)] {
            let bed = Bed::new();
            let user = user.clone();
            let browser = doing(&bed, move |session, sessions| {
                let user = user.clone();
                async move {
                    let inserted = session.insert("a", filling(bytes, "a")).await;
                    assert_eq!(inserted.is_ok(), fits, "{bytes} bytes");
                    let label = "\u{1}".repeat(200);
                    let ticket = sessions.begin_login(user).await?;
                    session.login(ticket.with_label(&label)).await
                }
            });
            let answer = browser.post("/").await;
            assert_eq!(answer.status, StatusCode::OK, "{bytes} bytes");
        }
    }
}

#[tokio::test]
async fn a_full_session_can_still_be_logged_in_with_a_label() {
    let bed = Bed::new();
    let browser = doing(&bed, async |session, sessions| {
        for n in 0..64 {
            session.insert(&format!("n{n}"), n).await?;
        }
        let ticket = sessions.begin_login("ada").await?.with_label("a browser");
        session.login(ticket).await
    });
    let answer = browser.post("/").await;
    assert_eq!((answer.status, answer.cookies().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_nothing_else_is_lost() {
    let bed = Bed::new();
    let browser = doing(&bed, async |session, _| {
        session.insert("small", 1).await?;
        let large = "x".repeat(64 * 1024);
        let error = session.insert("a", &large).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let error = session.update("a", |_: Option<String>| Some(large.clone()));
        assert_eq!(error.await.unwrap_err().kind(), SessionErrorKind::TooLarge);
        assert_eq!(session.get::<String>("a").await?, None);
        Ok(())
    });
    for _ in ["new", "stored"] {
        assert_eq!(browser.post("/").await.status, StatusCode::OK);
    }
    let reader = bed.browser(web());
    reader.set_cookie("__Host-id", &browser.token());
    assert_eq!(reader.get("/get/small").await.text, "1");
}

#[tokio::test]
async fn what_only_together_is_too_much_fails_at_the_commit_and_loses_nothing_else() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let app = bed.app(web(), |_| {
        let fill = |name: &'static str, gate: Option<crate::fixture::Gate>| {
            post(async move |session: Session| {
                session.state().await?;
                if let Some(gate) = gate {
                    gate.pass().await;
                }
                session.insert(name, "x".repeat(40_000)).await
            })
        };
        Router::new()
            .route("/slow", fill("slow", Some(gate)))
            .route("/fast", fill("fast", None))
    });
    let browser = bed.browser(web());
    browser.post("/set/a/1").await;
    let filling = Browser::new(&app);
    filling.set_cookie("__Host-id", &browser.token());
    let slow = filling.posting("/slow");
    bed.gate.reached(1).await;
    assert_eq!(filling.post("/fast").await.status, StatusCode::OK);
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(slow.cookies().is_empty());
    assert_eq!(browser.get("/get/slow").await.text, "none");
    assert_eq!(browser.get("/get/fast").await.text.len(), 40_000);
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn names_are_one_to_sixty_four_bytes_and_none_of_the_crates_own() {
    let bed = Bed::new();
    let browser = doing(&bed, async |session, sessions| {
        for name in ["", "~label", "~flash.1", &"n".repeat(65), &"é".repeat(33)] {
            let errors = [
                session.insert(name, 1).await.unwrap_err(),
                session.remove(name).await.unwrap_err(),
                session.incr(name, 1).await.unwrap_err(),
                session.take::<u8>(name).await.unwrap_err(),
                session.update(name, |n: Option<u8>| n).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), SessionErrorKind::InvalidName, "{name}");
            }
        }
        for user in [String::new(), "u".repeat(257)] {
            let error = sessions.begin_login(user).await.unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::InvalidUser);
        }
        session.insert(&"é".repeat(32), 1).await?;
        session.flash("info", "hello").await?;
        let ticket = sessions.begin_login("ada").await?.with_label("a browser");
        session.login(ticket).await
    });
    assert_eq!(browser.post("/").await.status, StatusCode::OK);
    let hidden = doing(&bed, async |session, _| {
        assert_eq!(session.get::<String>("~label").await?, None);
        let all: std::collections::BTreeMap<String, u8> = session.typed().await?;
        assert_eq!(all.len(), 1, "{all:?}");
        Ok(())
    });
    hidden.set_cookie("__Host-id", &browser.token());
    assert_eq!(hidden.post("/").await.status, StatusCode::OK);
}
