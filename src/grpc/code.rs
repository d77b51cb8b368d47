//! The status codes of gRPC.

use http::HeaderValue;

/// A gRPC status code (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcCode(u8);

impl GrpcCode {
    /// The call succeeded: 0.
    pub const OK: Self = Self(0);
    /// The call was cancelled, most often by the client: 1.
    pub const CANCELLED: Self = Self(1);
    /// Something went wrong that no other code names: 2.
    pub const UNKNOWN: Self = Self(2);
    /// The client sent something wrong: 3.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// The deadline passed before the call was done: 4.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// What was asked for does not exist: 5.
    pub const NOT_FOUND: Self = Self(5);
    /// What was to be made exists: 6.
    pub const ALREADY_EXISTS: Self = Self(6);
    /// The client may not do this: 7.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// The client has used up what it may: 8.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// The system is not in the state that the call needs: 9.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// The call was given up because of another one: 10.
    pub const ABORTED: Self = Self(10);
    /// The client went past the end of something: 11.
    pub const OUT_OF_RANGE: Self = Self(11);
    /// The service does not do this: 12.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// The service is broken: 13.
    pub const INTERNAL: Self = Self(13);
    /// The service cannot answer now; clients retry this one: 14.
    pub const UNAVAILABLE: Self = Self(14);
    /// Data is lost for good: 15.
    pub const DATA_LOSS: Self = Self(15);
    /// The client does not say who it is: 16.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// The code's number, 0 to 16.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// The code that `grpc-status` says; what is none of the 17 is [`UNKNOWN`](Self::UNKNOWN).
    pub(super) fn parse(status: &HeaderValue) -> Self {
        let number = status.to_str().ok().and_then(|status| status.parse().ok());
        number
            .filter(|number| *number <= Self::UNAUTHENTICATED.0)
            .map_or(Self::UNKNOWN, Self)
    }
}
