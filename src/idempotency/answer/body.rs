//! The bodies of requests and responses, as they come or from memory.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

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
        let source = Source::Inner { body };
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

pin_project! {
    /// The body of a request as the service inside an idempotency layer gets it: the client's, frame
    /// by frame, where no rule applies; or from memory, where it was read to be compared.
    pub struct RequestBody<B> {
        #[pin]
        source: Source<B>,
    }
}

impl<B> RequestBody<B> {
    /// The body of a request that no rule covers, as it is.
    pub(in crate::idempotency) fn passed(body: B) -> Self {
        let source = Source::Inner { body };
        Self { source }
    }

    /// A body that was read.
    pub(in crate::idempotency) fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let source = Source::buffered(data, trailers);
        Self { source }
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
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

impl<B: Default> Default for RequestBody<B> {
    fn default() -> Self {
        Self::passed(B::default())
    }
}

impl<B> From<Bytes> for RequestBody<B> {
    fn from(data: Bytes) -> Self {
        Self::buffered(data, None)
    }
}

impl<B: fmt::Debug> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestBody").field(&self.source).finish()
    }
}

pin_project! {
    /// Where frames come from.
    #[project = SourceProjection]
    enum Source<B> {
        /// A body as it is.
        Inner { #[pin] body: B },
        /// What was read of a body already, then the rest of it.
        Resumed { prefix: VecDeque<Bytes>, body: Pin<Box<B>> },
        /// Memory. What is `None` was empty, or has been given out.
        Buffered { data: Option<Bytes>, trailers: Option<HeaderMap> },
    }
}

impl<B> Source<B> {
    fn resumed(mut prefix: Vec<Bytes>, body: Pin<Box<B>>) -> Self {
        prefix.retain(|chunk| !chunk.is_empty());
        let prefix = prefix.into();
        Self::Resumed { prefix, body }
    }

    fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self::Buffered { data, trailers }
    }
}

impl<B: Body<Data = Bytes>> Body for Source<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = match self.project() {
            SourceProjection::Inner { body } => return body.poll_frame(cx),
            SourceProjection::Resumed { prefix, body } => match prefix.pop_front() {
                Some(chunk) => Some(Frame::data(chunk)),
                None => return body.as_mut().poll_frame(cx),
            },
            SourceProjection::Buffered { data, trailers } => data
                .take()
                .map(Frame::data)
                .or_else(|| trailers.take().map(Frame::trailers)),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Resumed { prefix, body } => prefix.is_empty() && body.is_end_stream(),
            Self::Buffered { data, trailers } => data.is_none() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inner { body } => body.size_hint(),
            Self::Resumed { prefix, body } => longer(&body.size_hint(), prefix),
            Self::Buffered { data, trailers } => longer(&hint_before(trailers.as_ref()), data),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner { body } => body.fmt(f),
            Self::Resumed { body, .. } => body.fmt(f),
            Self::Buffered { .. } => f.write_str("Buffered"),
        }
    }
}

/// The hint of a body that these chunks come before.
fn longer<'a>(hint: &SizeHint, chunks: impl IntoIterator<Item = &'a Bytes>) -> SizeHint {
    let more = chunks.into_iter().fold(0, |sum: u64, chunk| {
        sum.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX))
    });
    let mut longer = SizeHint::new();
    longer.set_lower(hint.lower().saturating_add(more));
    if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(more)) {
        longer.set_upper(upper);
    }
    longer
}

/// No data is left. But HTTP/1.1 has no trailers after a body of known length (RFC 9112 §7.1.2), and
/// servers take an exact hint for one; so before trailers it is open.
fn hint_before(trailers: Option<&HeaderMap>) -> SizeHint {
    match trailers {
        Some(_) => SizeHint::new(),
        None => SizeHint::with_exact(0),
    }
}
