//! Giving back what a gRPC call took, by the status at its end.

mod body;
mod future;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::{body::GrpcRefundBody, future::GrpcRefundFuture};
use super::Permit;
use crate::respond::GrpcCode;

/// Gives back what gRPC calls took that end with a status which does not count.
///
/// A gRPC call that fails is an HTTP response like any other, and its status comes last, in the
/// trailers. So a rule's [`with_count_if`](super::RateLimitRule::with_count_if), which looks at the
/// head, mostly sees 200. This layer, *inside* the [`RateLimitLayer`](super::RateLimitLayer), waits
/// for the trailers, and hands in the [`Permit`] that the rule put into the request:
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_stash::{
///     backend::MemoryBackend,
///     policy::{KeyExtractor as _, Routes, peer_ip},
///     rate_limit::{GrpcRefundLayer, Quota, RateLimitLayer, RateLimitRule},
///     respond::{GrpcCode, GrpcStatus},
/// };
///
/// // Five wrong passwords a minute; good logins are given back.
/// let login = RateLimitRule::new("login", peer_ip().or_reject(), [("burst", Quota::per_minute(5))])?
///     .with_permit();
/// let routes = Routes::new().grpc("/accounts.Accounts/Login", login);
/// let limits = RateLimitLayer::new(MemoryBackend::new(), routes)?.with_respond(GrpcStatus);
/// let refunds = GrpcRefundLayer::new(|code| code != GrpcCode::UNAUTHENTICATED);
/// let layers = ServiceBuilder::new().layer(limits).layer(refunds);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
///
/// What ends without a status stays counted: a call that is cancelled, a connection that is lost, a
/// response that is not gRPC. So does gRPC-Web, whose status is written into the body; put this
/// layer inside the one that translates it.
#[derive(Clone)]
pub struct GrpcRefundLayer {
    is_refunded: IsRefunded,
}

/// Whether calls that end with a status are given back.
type IsRefunded = Arc<dyn Fn(GrpcCode) -> bool + Send + Sync>;

impl GrpcRefundLayer {
    /// Gives back what calls took that end with a status of which this holds.
    pub fn new(is_refunded: impl Fn(GrpcCode) -> bool + Send + Sync + 'static) -> Self {
        Self {
            is_refunded: Arc::new(is_refunded),
        }
    }
}

impl<S> Layer<S> for GrpcRefundLayer {
    type Service = GrpcRefund<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRefund {
            inner,
            is_refunded: Arc::clone(&self.is_refunded),
        }
    }
}

impl fmt::Debug for GrpcRefundLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRefundLayer").finish_non_exhaustive()
    }
}

/// A service whose calls are given back by their gRPC status; made by [`GrpcRefundLayer`].
#[derive(Clone)]
pub struct GrpcRefund<S> {
    inner: S,
    is_refunded: IsRefunded,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for GrpcRefund<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
{
    type Response = Response<GrpcRefundBody<ResponseBody>>;
    type Error = S::Error;
    type Future = GrpcRefundFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let permit = request.extensions().get::<Permit>().cloned();
        let pending = permit.map(|permit| Pending {
            permit,
            is_refunded: Arc::clone(&self.is_refunded),
        });
        GrpcRefundFuture::new(self.inner.call(request), pending)
    }
}

impl<S: fmt::Debug> fmt::Debug for GrpcRefund<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRefund")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// What a call took, while its status is not known.
struct Pending {
    permit: Permit,
    is_refunded: IsRefunded,
}

impl Pending {
    /// The call ended with this status.
    fn settle(self, code: GrpcCode) {
        if (self.is_refunded)(code) {
            self.permit.refund();
        }
    }
}
