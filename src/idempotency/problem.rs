//! What a request is told that gets no answer of a handler.

use std::time::Duration;

use http::StatusCode;

use super::{
    answer::StoredAnswer,
    protocol::Loss,
    rule::{IdempotencyRule, whole_millis},
};
use crate::{
    observe::LayerName,
    respond::{GrpcCode, Rejection},
};

/// Why a request gets no answer of a handler.
#[derive(Clone, Debug)]
pub(super) enum Problem {
    KeyMissing,
    /// Malformed, repeated, or not what the rule wants.
    KeyInvalid(&'static str),
    ScopeMissing,
    BodyTooLarge,
    BodyLate,
    BodyBroken,
    /// A body that has no end to wait for.
    Streaming,
    KeyReused,
    InProgress {
        left: Duration,
    },
    NotReplayable {
        status: StatusCode,
        location: Option<String>,
    },
    OutcomeUnknown,
    HandlerPanicked,
    RecordUnreadable,
    Unavailable,
}

impl Problem {
    /// What someone is told whose key was lost to another.
    pub(super) fn of_loss(loss: Loss) -> Self {
        match loss {
            Loss::OtherRequest => Self::OutcomeUnknown,
            Loss::Answered | Loss::AtWork | Loss::Failed => Self::InProgress {
                left: Duration::ZERO,
            },
        }
    }

    /// Somebody is at work, and nobody knows for how long.
    pub(super) fn in_progress() -> Self {
        Self::InProgress { left: LONGEST_WAIT }
    }

    /// What a repetition is told of an answer that was too large to be kept.
    pub(super) fn not_replayable(head: &StoredAnswer) -> Self {
        let location = head.location().and_then(|value| value.to_str().ok());
        Self::NotReplayable {
            status: head.status,
            location: location.map(str::to_owned),
        }
    }

    /// The problem as a rejection, whose type is a word after this address.
    pub(super) fn rejection(self, rule: &IdempotencyRule, base: &str) -> Rejection {
        let Row(word, status, code, title) = self.row();
        let name = &rule.shape().name;
        let rejection = Rejection::new(LAYER, name, status, code, title)
            .with_described_type(format!("{base}{word}"));
        match self {
            Self::KeyMissing => {
                let header = rule.shape().header.as_str();
                rejection.with_member("detail", format!("the request has no header {header}"))
            }
            Self::BodyTooLarge => {
                let limit = rule.shape().body_limit;
                rejection.with_member("detail", format!("it may have {limit} bytes"))
            }
            Self::KeyInvalid(detail) => rejection.with_member("detail", detail),
            Self::InProgress { left } => {
                // Rounded up, so that a client that waits so long has waited long enough.
                let wait = whole_millis(left.clamp(SHORTEST_WAIT, LONGEST_WAIT));
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                rejection
                    .with_retry_after(wait)
                    .with_member("retry_after_ms", millis)
            }
            Self::NotReplayable { status, location } => {
                let rejection = rejection.with_member("original_status", status.as_u16());
                match location {
                    Some(location) => rejection.with_member("location", location),
                    None => rejection,
                }
            }
            Self::Unavailable => rejection.with_retry_after(Duration::from_secs(1)),
            _ => rejection,
        }
    }

    fn row(&self) -> Row {
        match self {
            Self::KeyMissing => Row(
                "key-missing",
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "This request needs an idempotency key",
            ),
            Self::KeyInvalid(_) => Row(
                "key-invalid",
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "The idempotency key is not valid",
            ),
            Self::ScopeMissing => Row(
                "scope-missing",
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "The request does not say whose idempotency key it has",
            ),
            Self::BodyTooLarge => Row(
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                GrpcCode::RESOURCE_EXHAUSTED,
                "The body is too large for a request with an idempotency key",
            ),
            Self::BodyLate => Row(
                "body-incomplete",
                StatusCode::REQUEST_TIMEOUT,
                GrpcCode::DEADLINE_EXCEEDED,
                "The body did not arrive in time",
            ),
            Self::BodyBroken => Row(
                "body-incomplete",
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "The body did not arrive as a whole",
            ),
            Self::Streaming => Row(
                "streaming",
                StatusCode::NOT_IMPLEMENTED,
                GrpcCode::UNIMPLEMENTED,
                "A stream cannot have an idempotency key",
            ),
            Self::KeyReused => Row(
                "key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                GrpcCode::FAILED_PRECONDITION,
                "The idempotency key was used for another request",
            ),
            Self::InProgress { .. } => Row(
                "in-progress",
                StatusCode::CONFLICT,
                GrpcCode::ABORTED,
                "A request with this idempotency key is being processed",
            ),
            Self::NotReplayable { .. } => Row(
                "not-replayable",
                StatusCode::CONFLICT,
                GrpcCode::ALREADY_EXISTS,
                "The request was processed, and its response was not kept",
            ),
            Self::OutcomeUnknown => Row(
                "outcome-unknown",
                StatusCode::INTERNAL_SERVER_ERROR,
                GrpcCode::UNKNOWN,
                "It is not known whether the request was processed",
            ),
            Self::HandlerPanicked => Row(
                "handler-panicked",
                StatusCode::INTERNAL_SERVER_ERROR,
                GrpcCode::INTERNAL,
                "The request failed while it was processed",
            ),
            Self::RecordUnreadable => Row(
                "record-unreadable",
                StatusCode::INTERNAL_SERVER_ERROR,
                GrpcCode::INTERNAL,
                "What is recorded under this idempotency key cannot be read",
            ),
            Self::Unavailable => Row(
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                GrpcCode::UNAVAILABLE,
                "Requests with an idempotency key cannot be processed now",
            ),
        }
    }
}

/// The last part of the type, HTTP's status, that of gRPC, the title.
struct Row(&'static str, StatusCode, GrpcCode, &'static str);

const LAYER: &str = LayerName::Idempotency.as_str();

/// A client that comes back at once would find what it found.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
