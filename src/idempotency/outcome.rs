//! What an answer says of its key, decided by its head and trailers.

use http::{HeaderMap, StatusCode};

use super::rule::StorePolicy;
use crate::{grpc, respond::GrpcCode};

/// What a handler says of its answer, against what the rule's [`StorePolicy`] would say.
///
/// In the response's extensions, or by [`Execution::set_outcome`](super::Execution::set_outcome).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// This is the answer to every request with the key.
    Final,
    /// The next request with the key, which must ask for the same, runs the handler again.
    Retryable,
    /// Nothing was done: the key is free, also for a request that asks for something else. If there
    /// were attempts before this one, as [`Retryable`](Self::Retryable).
    NotExecuted,
}

impl Outcome {
    /// What an answer with this head, these trailers and this body says of its key.
    pub(super) fn of(
        policy: StorePolicy,
        status: StatusCode,
        headers: &HeaderMap,
        trailers: Option<&HeaderMap>,
        body: &[u8],
    ) -> Self {
        let grpc = grpc::is_grpc(headers).then(|| {
            // A call without a status has failed, whatever it did.
            grpc::status(headers)
                .or_else(|| trailers.and_then(grpc::status))
                .or_else(|| grpc::status_of_web(body))
                .unwrap_or(GrpcCode::UNKNOWN)
        });
        let is_final = match (policy, grpc) {
            (StorePolicy::Executed, _) => true,
            (StorePolicy::Settled, None) => {
                !status.is_server_error() && !RETRYABLE.contains(&status)
            }
            (StorePolicy::Settled, Some(code)) => !GRPC_RETRYABLE.contains(&code),
            (StorePolicy::SuccessOnly, None) => status.is_success() || status.is_redirection(),
            (StorePolicy::SuccessOnly, Some(code)) => code == GrpcCode::OK,
        };
        if is_final {
            Self::Final
        } else {
            Self::Retryable
        }
    }

    /// What an answer says of its key whose end was not waited for.
    pub(super) fn of_head(policy: StorePolicy, status: StatusCode, headers: &HeaderMap) -> Self {
        // The status of a call comes behind its message, and one that failed has no message.
        if grpc::is_grpc(headers) && grpc::status(headers).is_none() {
            return Self::Final;
        }
        Self::of(policy, status, headers, None, &[])
    }
}

const RETRYABLE: [StatusCode; 6] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
];

const GRPC_RETRYABLE: [GrpcCode; 10] = [
    GrpcCode::CANCELLED,
    GrpcCode::UNKNOWN,
    GrpcCode::DEADLINE_EXCEEDED,
    GrpcCode::PERMISSION_DENIED,
    GrpcCode::RESOURCE_EXHAUSTED,
    GrpcCode::ABORTED,
    GrpcCode::INTERNAL,
    GrpcCode::UNAVAILABLE,
    GrpcCode::DATA_LOSS,
    GrpcCode::UNAUTHENTICATED,
];
