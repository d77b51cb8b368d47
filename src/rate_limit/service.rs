//! The service: ask first, then call.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    engine::Admission,
    future::{ResponseFuture, Waiting},
    shared::Shared,
    twice,
};
use crate::respond::{ProblemDetails, Respond};

/// A service that only sees the requests that its limits admit; made by
/// [`RateLimitLayer`](super::RateLimitLayer).
pub struct RateLimit<S, R = ProblemDetails> {
    inner: S,
    shared: Arc<Shared>,
    respond: Arc<R>,
}

impl<S, R> RateLimit<S, R> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, respond: Arc<R>) -> Self {
        Self {
            inner,
            shared,
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
        let (mut parts, body) = request.into_parts();
        match self.shared.admission(&mut parts) {
            Admission::Pass => {
                ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)))
            }
            Admission::Reject(rejection) => {
                drop(self.take_ready());
                ResponseFuture::answering(rejection.answer(&*self.respond, &parts))
            }
            Admission::Deny(answer) => {
                drop(self.take_ready());
                let teller = self.shared.teller(&parts);
                ResponseFuture::answering(teller.denial(&answer, &*self.respond, &parts))
            }
            Admission::Ask(asking) => {
                twice::watch(asking.rules(), &mut parts.extensions);
                let waiting = Waiting {
                    engine: Arc::clone(&self.shared.engine),
                    teller: self.shared.teller(&parts),
                    ready: self.take_ready(),
                    request: Request::from_parts(parts, body),
                    respond: Arc::clone(&self.respond),
                };
                ResponseFuture::asking(asking, waiting)
            }
        }
    }
}

impl<S: Clone, R> Clone for RateLimit<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
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
