//! A form with a token.

use axum::{
    Form, Router,
    response::Html,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use tower_stash::session::Session;

use super::{html, shop::Answer};

/// `/checkout`, whose form brings its token to `/pay`.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/checkout", get(checkout))
        .route("/pay", post(pay))
}

async fn checkout(session: Session) -> Answer<Html<String>> {
    let token = session.csrf_token().await?;
    Ok(Html(format!(
        r#"<!doctype html><form method="post" action="/pay">
            <input type="hidden" name="token" value="{token}">
        </form>"#
    )))
}

#[derive(Deserialize)]
struct Payment {
    token: String,
}

async fn pay(session: Session, Form(payment): Form<Payment>) -> Answer<(StatusCode, Html<String>)> {
    if !session.verify_csrf_token(&payment.token).await? {
        return Ok((StatusCode::FORBIDDEN, html("wrong token")));
    }
    Ok((StatusCode::OK, html("paid")))
}
