//! The response body: passes everything on, and reads the status in the trailers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Pending;
use crate::grpc;

pin_project! {
    /// The body of a [`GrpcRefund`](super::GrpcRefund)'s response: the inner
    /// service's, frame by frame.
    pub struct GrpcRefundBody<B> {
        #[pin]
        inner: B,
        // `None` once the status was seen, and where nothing can be given back.
        pending: Option<Pending>,
    }
}

impl<B> GrpcRefundBody<B> {
    pub(super) fn new(inner: B, pending: Option<Pending>) -> Self {
        Self { inner, pending }
    }
}

impl<B: Body> Body for GrpcRefundBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(grpc::status)
            && let Some(pending) = this.pending.take()
        {
            pending.settle(code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body with nothing to give back, in which a denial is answered.
impl<B: Default> Default for GrpcRefundBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

/// A body with nothing to give back, in which a denial is answered.
impl<B: From<bytes::Bytes>> From<bytes::Bytes> for GrpcRefundBody<B> {
    fn from(text: bytes::Bytes) -> Self {
        Self::new(B::from(text), None)
    }
}

impl<B: fmt::Debug> fmt::Debug for GrpcRefundBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRefundBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
