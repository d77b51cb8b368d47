//! A session's life, as a browser sees it.

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use tower_stash::session::{Session, SessionError, Sessions};

use crate::fixture::{Bed, Browser, web};

async fn login(State(sessions): State<Sessions>, session: Session) -> Result<(), SessionError> {
    let ticket = sessions.begin_login("ada").await?;
    session.login(ticket).await
}

async fn who(session: Session) -> Result<String, SessionError> {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".into()))
}

async fn count(session: Session) -> Result<String, SessionError> {
    Ok(session.incr("count", 1).await?.to_string())
}

async fn add(session: Session) -> Result<(), SessionError> {
    session.insert("cart", vec![1, 2, 3]).await
}

async fn cart(session: Session) -> Result<String, SessionError> {
    let cart: Option<Vec<u32>> = session.get("cart").await?;
    Ok(format!("{cart:?}"))
}

fn shop(sessions: Sessions) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/who", get(who))
        .route("/count", post(count))
        .route("/add", post(add))
        .route("/cart", get(cart))
        .route("/static", get(async || "nothing asked"))
        .route(
            "/logout",
            post(async |session: Session| session.destroy().await),
        )
        .route(
            "/everywhere",
            post(
                async |State(sessions): State<Sessions>| -> Result<String, SessionError> {
                    Ok(sessions.destroy_all("ada").await?.to_string())
                },
            ),
        )
        .with_state(sessions)
}

fn bed() -> (Bed, Browser) {
    let bed = Bed::new();
    let app = bed.app(web(), shop);
    (bed, Browser::new(&app))
}

#[tokio::test]
async fn what_is_put_into_a_session_is_there_for_the_next_request() {
    let (_bed, browser) = bed();
    assert_eq!(browser.get("/cart").await.text, "None");
    assert_eq!(browser.cookie("__Host-id"), None);
    let added = browser.post("/add").await;
    assert_eq!(added.cookies().len(), 1, "{:?}", added.headers);
    assert_eq!(browser.get("/cart").await.text, "Some([1, 2, 3])");
    assert!(browser.post("/add").await.cookies().is_empty());
}

#[tokio::test]
async fn a_login_keeps_the_cart_and_kills_the_old_secret() {
    let (_bed, browser) = bed();
    browser.post("/add").await;
    let thief = browser.fork();
    let login = browser.post("/login").await;
    assert_eq!(login.status, StatusCode::OK, "{}", login.text);
    assert_eq!(browser.get("/who").await.text, "ada");
    assert_eq!(browser.get("/cart").await.text, "Some([1, 2, 3])");
    assert_eq!(thief.get("/who").await.text, "nobody");
    assert_eq!(thief.get("/cart").await.text, "None");
}

#[tokio::test]
async fn a_logout_ends_the_session_and_takes_the_cookie() {
    let (_bed, browser) = bed();
    browser.post("/login").await;
    let other_tab = browser.fork();
    let out = browser.post("/logout").await;
    assert!(
        out.cookies()[0].contains("Max-Age=0"),
        "{:?}",
        out.cookies()
    );
    assert_eq!(browser.cookie("__Host-id"), None);
    assert_eq!(other_tab.get("/who").await.text, "nobody");
    assert!(other_tab.post("/add").await.cookies().is_empty());
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_sessions() {
    let (bed, browser) = bed();
    let app = bed.app(web(), shop);
    let phone = Browser::new(&app);
    browser.post("/login").await;
    phone.post("/login").await;
    assert_eq!(phone.post("/everywhere").await.text, "2");
    assert_eq!(browser.get("/who").await.text, "nobody");
    assert_eq!(phone.get("/who").await.text, "nobody");
    assert_eq!(phone.post("/login").await.status, StatusCode::OK);
    assert_eq!(phone.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_request_makes_no_more_calls_than_it_must() {
    let (bed, browser) = bed();
    let mut made = bed.meter();
    browser.get("/static").await;
    assert_eq!(made(), 0, "untouched, without a token");
    browser.get("/cart").await;
    assert_eq!(made(), 0, "read, without a token");
    browser.post("/add").await;
    assert_eq!(made(), 1, "first write, without a token");
    browser.get("/static").await;
    assert_eq!(made(), 0, "untouched");
    browser.get("/cart").await;
    assert_eq!(made(), 1, "read");
    browser.post("/add").await;
    assert_eq!(made(), 1, "what is there already is not written");
    browser.post("/count").await;
    assert_eq!(made(), 2, "read and write");
    browser.post("/login").await;
    assert_eq!(made(), 5, "login with users");
    browser.post("/logout").await;
    assert_eq!(made(), 3, "destroy, and take it from the list of its user");
}
