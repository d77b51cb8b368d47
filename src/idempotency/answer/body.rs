//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::Source;

pin_project! {
    /// The body of a response that went through an idempotency layer: the inner service's, frame by
    /// frame, with its errors, its trailers and its size; or that of a replay, from memory.
    pub struct ResponseBody<B> {
        #[pin]
        source: Source<B>,
    }
}

impl<B> ResponseBody<B> {
    /// The body of a response that is not stored, as it is.
    pub(in crate::idempotency) fn passed(body: B) -> Self {
        let source = Source::passed(body);
        Self { source }
    }

    /// A body that is in memory.
    pub(in crate::idempotency) fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let source = Source::buffered(data, trailers);
        Self { source }
    }

    /// A body of which some was read already: that first, then what is left of it.
    pub(in crate::idempotency) fn resumed(prefix: Vec<Bytes>, rest: Pin<Box<B>>) -> Self {
        let source = Source::resumed(prefix, rest);
        Self { source }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().source.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::passed(B::default())
    }
}

impl<B> From<Bytes> for ResponseBody<B> {
    fn from(data: Bytes) -> Self {
        Self::buffered(data, None)
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBody").field(&self.source).finish()
    }
}
