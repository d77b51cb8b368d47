//! The session as an argument of an axum handler.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde_json::json;

use super::{Session, SessionError};

impl<M: 'static, T: Sync> FromRequestParts<T> for Session<M> {
    type Rejection = MissingSession;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, MissingSession> {
        parts.extensions.get().cloned().ok_or(MissingSession(()))
    }
}

/// `None` where no rule is for the request.
impl<M: 'static, T: Sync> OptionalFromRequestParts<T> for Session<M> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// There is no session layer of this marker around the handler, or it has no rule for the request;
/// answered with 500.
#[derive(Debug)]
pub struct MissingSession(());

impl IntoResponse for MissingSession {
    fn into_response(self) -> Response {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no session layer has a rule for this request",
        )
    }
}

/// The error's [status](SessionError::status), with a problem description (RFC 9457).
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = problem(status, &self.to_string());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let content_type = HeaderValue::from_static("application/problem+json");
    let mut response = Response::new(Body::from(problem.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
