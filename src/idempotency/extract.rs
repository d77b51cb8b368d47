//! The run as an argument of an axum handler.

use std::{convert::Infallible, error::Error, fmt};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use super::Execution;
use crate::extraction::problem;

impl<T: Sync> FromRequestParts<T> for Execution {
    type Rejection = MissingExecution;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, MissingExecution> {
        parts.extensions.get().cloned().ok_or(MissingExecution(()))
    }
}

/// `None` where no rule is for the request, it has no key, or it runs without protection.
impl<T: Sync> OptionalFromRequestParts<T> for Execution {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The request does not run under a key: a mistake of the program, answered with 500.
///
/// It is one of four:
///
/// * There is no [`IdempotencyLayer`](super::IdempotencyLayer).
/// * The layer's policy has no rule for this request, or the rule does not protect its method.
/// * The rule lets requests run without a key ([`KeyPresence::Optional`](super::KeyPresence::Optional)),
///   or without protection ([`Outage::PassThrough`](super::Outage::PassThrough)). Then a handler takes an
///   `Option<Execution>`.
/// * The route was added to the router after `.layer(..)`, which is around those before it.
#[derive(Debug)]
pub struct MissingExecution(());

impl fmt::Display for MissingExecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this request does not run under an idempotency key: there is no layer, its policy or the \
             rule's methods leave the request out, its rule lets it run without, or the route was \
             added after .layer(..)",
        )
    }
}

impl Error for MissingExecution {}

impl IntoResponse for MissingExecution {
    fn into_response(self) -> Response {
        problem(StatusCode::INTERNAL_SERVER_ERROR, &self.to_string())
    }
}
