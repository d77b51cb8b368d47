//! What a rejected request is told.

use http::StatusCode;

use super::{SessionRule, users::LoginRefusal};
use crate::{
    observe::LayerName,
    respond::{GrpcCode, Rejection},
};

/// Nobody is logged in, and the route needs a user.
pub(super) fn unauthenticated(rule: &SessionRule) -> Rejection {
    unauthorized(rule).with_member("detail", "nobody is logged in")
}

/// Another site's page may have made the request.
pub(super) fn cross_site(rule: &SessionRule) -> Rejection {
    new(
        rule,
        StatusCode::FORBIDDEN,
        GrpcCode::PERMISSION_DENIED,
        "Forbidden",
    )
    .with_member("detail", "a page of another site made the request")
}

/// The request's rule is not one of the layer's.
pub(super) fn foreign(rule: &SessionRule) -> Rejection {
    new(
        rule,
        StatusCode::INTERNAL_SERVER_ERROR,
        GrpcCode::INTERNAL,
        "Internal Server Error",
    )
    .with_member("detail", "the rule for this request is of other sessions")
}

/// The session ended while the request was under way.
pub(super) fn gone(rule: &SessionRule) -> Rejection {
    unauthorized(rule).with_member(
        "detail",
        "the session ended while the request was under way",
    )
}

/// A login that was not to be.
pub(super) fn login_refused(rule: &SessionRule, refusal: LoginRefusal) -> Rejection {
    unauthorized(rule).with_member(
        "detail",
        match refusal {
            LoginRefusal::TicketTooOld => "the login took too long",
            LoginRefusal::LoggedOutMeanwhile => "the user was logged out everywhere meanwhile",
            LoginRefusal::SessionEnded => "the session ended during the login",
            LoginRefusal::TooManySessions => "the user has as many sessions as may be",
        },
    )
}

/// Somebody else wrote the session meanwhile, and the route does not merge.
pub(super) fn conflict(rule: &SessionRule) -> Rejection {
    new(rule, StatusCode::CONFLICT, GrpcCode::ABORTED, "Conflict").with_member(
        "detail",
        "the session was changed by another request meanwhile",
    )
}

/// The session could not be read, or what changed could not be written.
pub(super) fn unavailable(rule: &SessionRule) -> Rejection {
    Rejection::outage(LAYER, &rule.family().name)
}

fn unauthorized(rule: &SessionRule) -> Rejection {
    new(
        rule,
        StatusCode::UNAUTHORIZED,
        GrpcCode::UNAUTHENTICATED,
        "Unauthorized",
    )
}

fn new(rule: &SessionRule, status: StatusCode, code: GrpcCode, title: &'static str) -> Rejection {
    Rejection::new(LAYER, &rule.family().name, status, code, title)
}

const LAYER: &str = LayerName::Session.as_str();
