//! What another site's page can make a browser do, and what it cannot.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::State,
    routing::{get, post},
};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_stash::{
    backend::Op,
    policy::Routes,
    respond::Rejection,
    session::{Csrf, Session, SessionError, Sessions},
};

use crate::fixture::{Answer, Bed, Browser, web};

async fn form(session: Session) -> Result<String, SessionError> {
    session.csrf_token().await
}

/// Whether the token in the header is the session's.
async fn check(session: Session, headers: HeaderMap) -> Result<String, SessionError> {
    let token = headers["x-csrf-token"].to_str().unwrap();
    Ok(session.verify_csrf_token(token).await?.to_string())
}

/// Tokens from before a login and after it, in one request.
async fn login(State(sessions): State<Sessions>, session: Session) -> Result<String, SessionError> {
    let ticket = sessions.begin_login("ada").await?;
    let before = session.csrf_token().await?;
    session.login(ticket).await?;
    let after = session.csrf_token().await?;
    assert!(session.verify_csrf_token(&after).await?);
    Ok(format!("{before} {after}"))
}

async fn logout(session: Session) -> Result<(), SessionError> {
    session.destroy().await
}

/// A session is ended and another begun for the form.
async fn switch(session: Session) -> Result<String, SessionError> {
    let old = session.csrf_token().await?;
    session.destroy().await?;
    let new = session.csrf_token().await?;
    Ok(format!("{old} {new}"))
}

fn pages(sessions: Sessions) -> Router {
    Router::new()
        .route("/form", get(form))
        .route("/read-only", get(form))
        .route("/check", post(check))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/switch", post(switch))
        .route("/webhook", post(async || "noted"))
        .route(
            "/broken",
            get(async |session: Session| {
                session.csrf_token().await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .with_state(sessions)
}

fn bed() -> (Bed, Browser) {
    let bed = Bed::new();
    let routes = Routes::new()
        .get("/read-only", web().with_read_only())
        .any("/{*rest}", web());
    let app = bed.app(routes, pages);
    (bed, Browser::new(&app))
}

async fn check_token(browser: &Browser, token: &str) -> Answer {
    browser
        .send(Request::post("/check").header("x-csrf-token", token))
        .await
}

fn from_elsewhere(path: &str) -> http::request::Builder {
    Request::post(path)
        .header("sec-fetch-site", "cross-site")
        .header("origin", "https://evil.example")
}

#[tokio::test]
async fn a_page_of_another_site_posts_nothing() {
    let bed = Bed::new();
    let app = bed.app(web().with_csrf(Csrf::new()), pages);
    let browser = Browser::new(&app);
    let token = browser.get("/form").await.text;
    let calls = || bed.backend.calls(Op::Get) + bed.backend.calls(Op::Put);
    let before = calls();
    let request = from_elsewhere("/logout").header("cookie", "__Host-id=x");
    let refused = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert!(!refused.headers().contains_key(header::SET_COOKIE));
    let rejection = refused.extensions().get::<Rejection>().unwrap();
    assert_eq!((rejection.layer(), rejection.rule()), ("session", "web"));
    let problem = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
    assert_eq!(problem["status"], 403);
    assert_eq!(problem["detail"], "a page of another site made the request");
    assert_eq!(calls(), before, "nobody asked the backend");
    let own = Request::post("/check")
        .header("sec-fetch-site", "same-origin")
        .header("x-csrf-token", token);
    assert_eq!(browser.send(own).await.text, "true");
}

#[tokio::test]
async fn it_is_refused_before_anybody_looks_who_is_logged_in() {
    let bed = Bed::new();
    let rule = web().with_csrf(Csrf::new()).with_required_user();
    let browser = Browser::new(&bed.app(rule, pages));
    browser.set_cookie("__Host-id", &"A".repeat(64));
    let refused = browser.send(from_elsewhere("/webhook")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(bed.backend.calls(Op::Get), 0);
    let own = browser.post("/webhook").await;
    assert_eq!(own.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_route_can_be_left_open() {
    let bed = Bed::new();
    let web = web().with_csrf(Csrf::new());
    let routes = Routes::new()
        .post("/webhook", web.clone().without_csrf())
        .any("/{*rest}", web);
    let browser = Browser::new(&bed.app(routes, pages));
    let open = browser.send(from_elsewhere("/webhook")).await;
    assert_eq!(open.text, "noted");
    let shut = browser.send(from_elsewhere("/logout")).await;
    assert_eq!(shut.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_the_setting_nothing_is_refused() {
    let (_bed, browser) = bed();
    let open = browser.send(from_elsewhere("/webhook")).await;
    assert_eq!(open.text, "noted");
}

#[tokio::test]
async fn a_grpc_call_of_another_site_is_denied_in_its_own_terms() {
    let bed = Bed::new();
    let browser = Browser::new(&bed.app(web().with_csrf(Csrf::new()), pages));
    let call = from_elsewhere("/webhook").header("content-type", "application/grpc");
    let denied = browser.send(call).await;
    assert_eq!(denied.status, StatusCode::OK);
    assert_eq!(denied.headers["grpc-status"], "7");
}

#[tokio::test]
async fn a_form_begins_the_session_that_its_token_is_of() {
    let (_bed, browser) = bed();
    let form = browser.get("/form").await;
    assert_eq!(form.cookies().len(), 1);
    assert_eq!(form.headers["cache-control"], "no-store");
    assert_eq!(form.text.len(), 86);
    assert_eq!(check_token(&browser, &form.text).await.text, "true");
    let again = browser.get("/form").await;
    assert!(again.cookies().is_empty());
    assert_eq!(check_token(&browser, &again.text).await.text, "true");
    assert_eq!(check_token(&browser, &form.text).await.text, "true");
}

#[tokio::test]
async fn no_two_tokens_begin_alike_in_either_half() {
    let (_bed, browser) = bed();
    let mut starts = Vec::new();
    for _ in 0..20 {
        let token = browser.get("/form").await.text;
        starts.extend([token[..8].to_owned(), token[44..52].to_owned()]);
    }
    starts.sort();
    starts.dedup();
    assert_eq!(starts.len(), 40);
}

#[tokio::test]
async fn another_sessions_token_is_none() {
    let (_bed, browser) = bed();
    let mine = browser.get("/form").await.text;
    let thief = browser.another();
    let theirs = thief.get("/form").await.text;
    assert_eq!(check_token(&browser, &theirs).await.text, "false");
    assert_eq!(check_token(&thief, &mine).await.text, "false");
    let nobody = browser.another();
    assert_eq!(check_token(&nobody, &mine).await.text, "false");
}

#[tokio::test]
async fn what_is_no_token_is_not_the_sessions() {
    let (_bed, browser) = bed();
    let token = browser.get("/form").await.text;
    let mut tampered = token.clone();
    let last = if token.ends_with('A') { "E" } else { "A" };
    tampered.replace_range(85.., last);
    let padded = format!("{token}==");
    let twice = token.repeat(2);
    let nothing = "A".repeat(86);
    for wrong in ["", "x", &token[..85], &tampered, &padded, &twice, &nothing] {
        assert_eq!(check_token(&browser, wrong).await.text, "false", "{wrong}");
    }
}

#[tokio::test]
async fn a_login_replaces_the_tokens() {
    let (_bed, browser) = bed();
    let anonymous = browser.get("/form").await.text;
    let answer = browser.post("/login").await.text;
    let (before, after) = answer.split_once(' ').unwrap();
    assert_eq!(check_token(&browser, &anonymous).await.text, "false");
    assert_eq!(check_token(&browser, before).await.text, "false");
    assert_eq!(check_token(&browser, after).await.text, "true");
}

#[tokio::test]
async fn a_login_without_a_session_stores_the_seed_that_its_page_was_given() {
    let (_bed, browser) = bed();
    let answer = browser.post("/login").await.text;
    let (_, after) = answer.split_once(' ').unwrap();
    assert_eq!(check_token(&browser, after).await.text, "true");
}

#[tokio::test]
async fn a_new_session_after_a_logout_has_tokens_of_its_own() {
    let (_bed, browser) = bed();
    for _ in 0..2 {
        let answer = browser.post("/switch").await;
        let (old, new) = answer.text.split_once(' ').unwrap();
        assert_eq!(check_token(&browser, new).await.text, "true");
        assert_eq!(check_token(&browser, old).await.text, "false");
    }
}

#[tokio::test]
async fn tokens_outlive_a_rotation() {
    let bed = Bed::new();
    let rule = web().with_rotation_every(Duration::from_secs(60)).unwrap();
    let browser = Browser::new(&bed.app(rule, pages));
    let token = browser.get("/form").await.text;
    bed.clock.advance(Duration::from_secs(61));
    let rotated = browser.get("/form").await;
    assert_eq!(rotated.cookies().len(), 1);
    assert_eq!(check_token(&browser, &token).await.text, "true");
}

#[tokio::test]
async fn a_form_that_fails_begins_no_session() {
    let (_bed, browser) = bed();
    assert!(browser.get("/broken").await.cookies().is_empty());
}

#[tokio::test]
async fn a_read_only_route_shows_tokens_and_begins_no_session() {
    let (_bed, browser) = bed();
    let none = browser.get("/read-only").await;
    assert_eq!(none.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(none.cookies().is_empty());
    browser.get("/form").await;
    let token = browser.get("/read-only").await.text;
    assert_eq!(check_token(&browser, &token).await.text, "true");
}

#[tokio::test]
async fn a_session_that_ended_a_moment_ago_is_not_begun_anew_by_a_form() {
    let (_bed, browser) = bed();
    browser.get("/form").await;
    let late = browser.fork();
    browser.post("/logout").await;
    let form = late.get("/form").await;
    assert_eq!(form.status, StatusCode::UNAUTHORIZED);
    assert!(form.cookies().is_empty());
}
