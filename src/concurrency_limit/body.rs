//! The response body, which holds the request's slot until it ends.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::slot::Slot;

pin_project! {
    /// The body of a response that went through a [`ConcurrencyLimit`](super::ConcurrencyLimit):
    /// the inner service's, frame by frame, with its errors, its trailers and its size.
    ///
    /// Its end, an error in it, or dropping it releases the request's slot.
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        slot: Option<Slot>,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn new(inner: B, slot: Option<Slot>) -> Self {
        let slot = slot.filter(|_| !inner.is_end_stream());
        Self { inner, slot }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        // Whoever sees that the last frame is the last does not ask for another.
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            *this.slot = None;
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

/// A body without a slot, for the answers of layers outside.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self {
            inner: B::default(),
            slot: None,
        }
    }
}

/// A body without a slot, for the answers of layers outside.
impl<B: From<Bytes>> From<Bytes> for ResponseBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self {
            inner: B::from(bytes),
            slot: None,
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
