//! The session as an argument of an axum handler.

use std::{convert::Infallible, error::Error, fmt, marker::PhantomData, ops::Deref};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};

use super::{Main, Session, SessionError};
use crate::extraction::problem;

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

/// The user of a request's session, as an argument of a handler whose route needs one
/// ([`SessionRule::with_required_user`](super::SessionRule::with_required_user)).
///
/// ```
/// use tower_stash::session::SessionUser;
///
/// async fn profile(user: SessionUser) -> String {
///     format!("Hello, {}", &*user)
/// }
/// ```
pub struct SessionUser<M = Main> {
    user: String,
    marker: PhantomData<fn() -> M>,
}

impl<M> SessionUser<M> {
    /// What [`Sessions::begin_login`](super::Sessions::begin_login) was given.
    #[must_use]
    pub fn into_inner(self) -> String {
        self.user
    }
}

impl<M> Deref for SessionUser<M> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.user
    }
}

/// Shows nobody's name.
impl<M> fmt::Debug for SessionUser<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionUser").finish_non_exhaustive()
    }
}

/// Nobody is logged in: 401. There is no layer: 500. Nobody can say: 503.
impl<M: 'static, T: Sync> FromRequestParts<T> for SessionUser<M> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Response> {
        let session: Option<Session<M>> = parts.extensions.get().cloned();
        let session = session.ok_or_else(|| MissingSession(()).into_response())?;
        match session.user().await {
            Ok(Some(user)) => Ok(Self {
                user,
                marker: PhantomData,
            }),
            Ok(None) => Err(problem(StatusCode::UNAUTHORIZED, "nobody is logged in")),
            Err(error) => Err(error.into_response()),
        }
    }
}

/// The request has no session of this marker: a mistake of the program, answered with 500.
///
/// It is one of four:
///
/// * There is no [`SessionLayer`](super::SessionLayer).
/// * The layer's policy has no rule for this request. Where that is meant, a handler takes an
///   `Option<Session>`.
/// * The layer has another marker than the handler asks for: `Session<Staff>` is that of a layer
///   [`with_marker::<Staff>()`](super::SessionLayer::with_marker), and `Session` of one without.
/// * The route was added to the router after `.layer(..)`, which is around those before it.
#[derive(Debug)]
pub struct MissingSession(());

impl fmt::Display for MissingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no session layer has a rule for this request: there is no layer, its policy leaves the \
             request out, its marker is another one, or the route was added after .layer(..)",
        )
    }
}

impl Error for MissingSession {}

impl IntoResponse for MissingSession {
    fn into_response(self) -> Response {
        problem(StatusCode::INTERNAL_SERVER_ERROR, &self.to_string())
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
