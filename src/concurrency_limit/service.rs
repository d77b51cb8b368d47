//! The service: ask first, then call.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    body::ResponseBody,
    future::ResponseFuture,
    shared::{Admission, Shared},
};
use crate::respond::{ProblemDetails, Respond};

/// A service that never sees more requests of a subject at once than its limit; made by
/// [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
pub struct ConcurrencyLimit<S, R = ProblemDetails> {
    inner: S,
    shared: Arc<Shared>,
    respond: Arc<R>,
}

impl<S, R> ConcurrencyLimit<S, R> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, respond: Arc<R>) -> Self {
        Self {
            inner,
            shared,
            respond,
        }
    }
}

impl<S: Clone, R> ConcurrencyLimit<S, R> {
    /// The inner service that was polled ready, with the permits it may hold; a clone, which is not
    /// ready, stays in its place.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, R, RequestBody, B> Service<Request<RequestBody>> for ConcurrencyLimit<S, R>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    R: Respond<B>,
    B: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, RequestBody, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.shared.admission(&parts) {
            Admission::Pass => {
                ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)))
            }
            Admission::Reject(rejection) => {
                drop(self.take_ready());
                ResponseFuture::answering(rejection.answer(&*self.respond, &parts))
            }
            Admission::Ask(rule, asking) => {
                let ready = self.take_ready();
                let request = Request::from_parts(parts, body);
                let respond = Arc::clone(&self.respond);
                ResponseFuture::asking(asking, rule, ready, request, respond)
            }
        }
    }
}

impl<S: Clone, R> Clone for ConcurrencyLimit<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for ConcurrencyLimit<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
