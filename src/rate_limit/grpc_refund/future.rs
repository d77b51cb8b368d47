//! The response future: looks at the head, and watches the body if the status is not there.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{GrpcRefundBody, Pending};
use crate::grpc;

pin_project! {
    /// The response of a [`GrpcRefund`](super::GrpcRefund).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the inner service's future is dropped and the call stays counted.
    pub struct GrpcRefundFuture<F> {
        #[pin]
        response: F,
        pending: Option<Pending>,
    }
}

impl<F> GrpcRefundFuture<F> {
    pub(super) fn new(response: F, pending: Option<Pending>) -> Self {
        Self { response, pending }
    }
}

impl<F, B, E> Future for GrpcRefundFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GrpcRefundBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let mut pending = this.pending.take();
        // A trailers-only response has its status in the head.
        if let Some(code) = grpc::status(response.headers())
            && let Some(pending) = pending.take()
        {
            pending.settle(code);
        }
        Poll::Ready(Ok(response.map(|body| GrpcRefundBody::new(body, pending))))
    }
}

impl<F> fmt::Debug for GrpcRefundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRefundFuture").finish_non_exhaustive()
    }
}
