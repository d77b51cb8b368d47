//! Messages for the next page.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use http::{Request, StatusCode};
use tower_stash::session::{Flash, Session, SessionError, SessionRule};

use crate::fixture::{Bed, Browser, web};

fn shown(flashes: &[Flash]) -> String {
    let each = flashes.iter();
    let each = each.map(|flash| format!("{}:{}", flash.level, flash.message));
    each.collect::<Vec<_>>().join(" ")
}

fn site(bed: &Bed, rule: SessionRule) -> Browser {
    let say = async |session: Session, Path((level, message)): Path<(String, String)>| {
        session.flash(&level, &message).await
    };
    let read = async |session: Session| Ok::<_, SessionError>(shown(&session.flashes().await?));
    let fail = async |session: Session| {
        let shown = shown(&session.flashes().await?);
        Ok::<_, SessionError>((StatusCode::INTERNAL_SERVER_ERROR, shown))
    };
    let twice = async |session: Session| {
        session.flash("info", "same").await?;
        let first = shown(&session.flashes().await?);
        let second = shown(&session.flashes().await?);
        Ok::<_, SessionError>(format!("{first}|{second}"))
    };
    let app = bed.app(rule, |_| {
        Router::new()
            .route("/say/{level}/{message}", post(say))
            .route("/read", get(read))
            .route("/fail", get(fail))
            .route("/twice", get(twice))
            .route(
                "/clear",
                post(async |session: Session| session.clear().await),
            )
    });
    Browser::new(&app)
}

#[tokio::test]
async fn messages_are_shown_once_in_their_order() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    assert_eq!(browser.get("/read").await.text, "");
    for n in 0..5 {
        browser.post(&format!("/say/info/{n}")).await;
    }
    let read = browser.get("/read").await;
    assert_eq!(read.text, "info:0 info:1 info:2 info:3 info:4");
    assert_eq!(browser.get("/read").await.text, "");
}

#[tokio::test]
async fn a_page_that_fails_leaves_the_messages() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    browser.post("/say/info/a").await;
    assert_eq!(browser.get("/fail").await.text, "info:a");
    assert_eq!(browser.get("/read").await.text, "info:a");
}

#[tokio::test]
async fn a_page_that_is_fetched_beforehand_leaves_the_messages() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    browser.post("/say/info/a").await;
    for purpose in ["prefetch", "prefetch;prerender"] {
        let early = Request::get("/read").header("sec-purpose", purpose);
        assert_eq!(browser.send(early).await.text, "info:a");
    }
    assert_eq!(browser.get("/read").await.text, "info:a");
    assert_eq!(browser.get("/read").await.text, "");
}

#[tokio::test]
async fn a_read_only_route_shows_the_messages_and_leaves_them() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    browser.post("/say/info/a").await;
    let reading = site(&bed, web().with_read_only());
    reading.set_cookie("__Host-id", &browser.token());
    assert_eq!(reading.get("/read").await.text, "info:a");
    assert_eq!(reading.get("/read").await.text, "info:a");
    let refused = reading.post("/say/info/b").await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_message_of_the_same_request_is_shown_once_and_begins_no_session() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    let twice = browser.get("/twice").await;
    assert_eq!((&*twice.text, twice.cookies().len()), ("info:same|", 0));
}

#[tokio::test]
async fn a_message_that_comes_while_others_are_read_is_not_lost() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let browser = site(&bed, web());
    browser.post("/say/info/a").await;
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session| {
            let shown = shown(&session.flashes().await?);
            gate.pass().await;
            Ok::<_, SessionError>(shown)
        };
        Router::new().route("/", post(handler))
    });
    let slow = Browser::new(&app);
    slow.set_cookie("__Host-id", &browser.token());
    let slow = slow.posting("/");
    bed.gate.reached(1).await;
    browser.post("/say/info/b").await;
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().text, "info:a");
    assert_eq!(browser.get("/read").await.text, "info:b");
}

#[tokio::test]
async fn clearing_leaves_messages() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    browser.post("/say/info/a").await;
    browser.post("/clear").await;
    assert_eq!(browser.get("/read").await.text, "info:a");
}

#[tokio::test]
async fn more_messages_than_fit_are_refused_and_the_others_stay() {
    let bed = Bed::new();
    let browser = site(&bed, web());
    for n in 0..64 {
        assert_eq!(
            browser.post(&format!("/say/info/{n}")).await.status,
            StatusCode::OK
        );
    }
    let refused = browser.post("/say/info/64").await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(browser.get("/read").await.text.split(' ').count(), 64);
}
