//! Why a response is not stored.

use std::fmt;

/// Why a response was not stored, or what was stored of it was dropped.
///
/// [`as_str`](Self::as_str) is what `Cache-Status` says; the [module](crate::cache) has the words in
/// one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotStored {
    /// The request's method is not GET.
    Method,
    /// The request says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore,
    /// The request has `Authorization`, and the response does not say that it is for others too
    /// (RFC 9111 §3.5).
    Authorization,
    /// The request has `Cookie`, and the response does not say that it is for others too.
    CookieInRequest,
    /// It is the idempotency layer's replay of an earlier answer.
    Replay,
    /// It depends on a session.
    Session,
    /// A layer of this crate denied the request.
    Denial,
    /// It has the mark [`NoStore`](crate::marks::NoStore).
    Marked,
    /// Its status is never stored, or the rule does not list it.
    Status,
    /// It is a part of something, 206.
    Partial,
    /// Its directives cannot be read, so that it may say anything.
    Malformed,
    /// It answers a gRPC call that failed.
    GrpcStatus,
    /// It answers a gRPC call, and is not one message.
    NotUnary,
    /// It says `no-store` (RFC 9111 §5.2.2.5).
    NoStore,
    /// It says `private` (RFC 9111 §5.2.2.7).
    Private,
    /// It sets a cookie.
    SetCookie,
    /// It says nothing of its freshness, and neither does the rule.
    NoFreshness,
    /// It is never fresh, and has nothing to validate it by.
    NoValidator,
    /// `Vary: *`, or a `Vary` that is no list of names.
    VaryStar,
    /// It varies on cookies or `Authorization`.
    VaryCredentials,
    /// It varies on too many headers.
    VaryTooMany,
    /// It varies on a header that its handler was not shown.
    VaryHidden,
    /// So many responses of its URL are stored for other headers that this one would be one too many.
    TooManyVariants,
    /// It has too many tags, or too long ones.
    Tags,
    /// It has trailers.
    Trailers,
    /// It is a stream of events, which has no end.
    EventStream,
    /// Its headers or its body are longer than what is stored.
    TooLarge,
    /// As many bytes of other responses are kept at the same time as one process may keep.
    Busy,
    /// Its body did not end as it should.
    BodyFailed,
    /// The handler failed.
    HandlerFailed,
    /// Another fill stores the same response.
    NotLeader,
    /// The backend failed.
    Backend,
}

impl NotStored {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request_no_store",
            Self::Authorization => "authorization",
            Self::CookieInRequest => "cookie_in_request",
            Self::Replay => "replay",
            Self::Session => "session",
            Self::Denial => "denial",
            Self::Marked => "marked",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::Malformed => "malformed",
            Self::GrpcStatus => "grpc_status",
            Self::NotUnary => "not_unary",
            Self::NoStore => "no_store",
            Self::Private => "private",
            Self::SetCookie => "set_cookie",
            Self::NoFreshness => "no_freshness",
            Self::NoValidator => "no_validator",
            Self::VaryStar => "vary_star",
            Self::VaryCredentials => "vary_credentials",
            Self::VaryTooMany => "vary_too_many",
            Self::VaryHidden => "vary_hidden",
            Self::TooManyVariants => "too_many_variants",
            Self::Tags => "tags",
            Self::Trailers => "trailers",
            Self::EventStream => "event_stream",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::BodyFailed => "body_failed",
            Self::HandlerFailed => "handler_failed",
            Self::NotLeader => "not_leader",
            Self::Backend => "backend",
        }
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
