//! The service: ask first, then call.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    future::ResponseFuture,
    limiter::{Admission, Limiter},
};
use crate::respond::{ProblemDetails, Respond};

/// A service that only sees the requests that its limits admit; made by
/// [`RateLimitLayer`](super::RateLimitLayer).
pub struct RateLimit<S, R = ProblemDetails> {
    inner: S,
    limiter: Arc<Limiter>,
    respond: Arc<R>,
}

impl<S, R> RateLimit<S, R> {
    pub(super) fn new(inner: S, limiter: Arc<Limiter>, respond: Arc<R>) -> Self {
        Self {
            inner,
            limiter,
            respond,
        }
    }
}

impl<S: Clone, R> RateLimit<S, R> {
    /// The inner service that was polled ready, with the permits it may hold; a clone, which is not
    /// ready, stays in its place.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, R, RequestBody, ResponseBody> Service<Request<RequestBody>> for RateLimit<S, R>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone,
    R: Respond<ResponseBody>,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, RequestBody, ResponseBody, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.limiter.admission(&parts) {
            Admission::Pass => {
                ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)))
            }
            Admission::Reject(rejection) => {
                drop(self.take_ready());
                ResponseFuture::answering(rejection.answer(&*self.respond, &parts))
            }
            Admission::Ask(rule, decision) => {
                let ready = self.take_ready();
                let request = Request::from_parts(parts, body);
                let respond = Arc::clone(&self.respond);
                ResponseFuture::asking(
                    decision,
                    rule,
                    self.limiter.headers,
                    ready,
                    request,
                    respond,
                )
            }
        }
    }
}

impl<S: Clone, R> Clone for RateLimit<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: Arc::clone(&self.limiter),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for RateLimit<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
