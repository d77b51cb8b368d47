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
    /// The body of a request as the service inside a layer gets it: the client's, frame by frame; or
    /// from memory, where the layer has read it or makes a request of its own.
    pub struct RequestBody<B> {
        #[pin]
        source: Source<B>,
    }
}

impl<B> RequestBody<B> {
    /// A body as it is.
    pub(crate) fn passed(body: B) -> Self {
        let source = Source::passed(body);
        Self { source }
    }

    /// A body that is in memory.
    pub(crate) fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let source = Source::buffered(data, trailers);
        Self { source }
    }

    /// A body of which some was read already: that first, then what is left of it.
    #[cfg(feature = "cache")]
    pub(crate) fn resumed(prefix: Vec<Bytes>, body: Pin<Box<B>>) -> Self {
        let source = Source::resumed(prefix, body);
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
    pub(crate) enum Source<B> {
        /// A body as it is.
        Inner { #[pin] body: B },
        /// What was read of a body already, then the rest of it.
        Resumed { prefix: VecDeque<Bytes>, body: Pin<Box<B>> },
        /// Memory. What is `None` was empty, or has been given out.
        Buffered { data: Option<Bytes>, trailers: Option<HeaderMap> },
    }
}

impl<B> Source<B> {
    pub(crate) fn passed(body: B) -> Self {
        Self::Inner { body }
    }

    /// A body of which some was read already: that first, then what is left of it.
    pub(crate) fn resumed(mut prefix: Vec<Bytes>, body: Pin<Box<B>>) -> Self {
        prefix.retain(|chunk| !chunk.is_empty());
        let prefix = prefix.into();
        Self::Resumed { prefix, body }
    }

    pub(crate) fn buffered(data: Bytes, trailers: Option<HeaderMap>) -> Self {
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, iter};

    use futures_util::{FutureExt as _, stream};
    use http::HeaderValue;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    /// A body of these frames or errors, which knows nothing of its size.
    fn streamed(
        frames: Vec<Result<Frame<Bytes>, &'static str>>,
    ) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
        StreamBody::new(stream::iter(frames))
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"1\""))])
    }

    fn chunk(data: &'static str) -> Bytes {
        Bytes::from_static(data.as_bytes())
    }

    /// All frames: data as text, trailers as how many there are.
    fn frames<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(body: B) -> Vec<String> {
        let mut body = body;
        let next = || body.frame().now_or_never().unwrap();
        iter::from_fn(next).map(|frame| described(&frame)).collect()
    }

    fn described(frame: &Result<Frame<Bytes>, impl std::fmt::Display>) -> String {
        match frame {
            Ok(frame) => match frame.data_ref() {
                Some(data) => format!("data {}", String::from_utf8_lossy(data)),
                None => format!("trailers {}", frame.trailers_ref().unwrap().len()),
            },
            Err(error) => format!("error {error}"),
        }
    }

    type Replayed = Source<Empty<Bytes>>;

    fn buffered(data: Bytes) -> Replayed {
        Source::buffered(data, None)
    }

    fn size(body: &impl Body) -> (u64, Option<u64>) {
        let hint = body.size_hint();
        (hint.lower(), hint.upper())
    }

    #[test]
    fn a_passed_body_is_the_inner_one_frame_by_frame() {
        let sent = || {
            vec![
                Ok(Frame::data(chunk("a"))),
                Ok(Frame::data(chunk(""))),
                Ok(Frame::data(chunk("b"))),
                Ok(Frame::trailers(trailers())),
            ]
        };
        let expected = ["data a", "data ", "data b", "trailers 1"];
        assert_eq!(frames(Source::passed(streamed(sent()))), expected);
        assert_eq!(frames(RequestBody::passed(streamed(sent()))), expected);
    }

    #[test]
    fn errors_of_the_inner_body_pass() {
        let sent = || vec![Ok(Frame::data(chunk("a"))), Err("torn")];
        assert_eq!(
            frames(Source::passed(streamed(sent()))),
            ["data a", "error torn"]
        );
        assert_eq!(
            frames(RequestBody::passed(streamed(sent()))),
            ["data a", "error torn"]
        );
        let resumed = Source::resumed(vec![chunk("z")], Box::pin(streamed(sent())));
        assert_eq!(frames(resumed), ["data z", "data a", "error torn"]);
    }

    #[test]
    fn a_passed_body_has_the_size_and_the_end_of_the_inner_one() {
        let full = || Full::new(chunk("abc"));
        assert_eq!(size(&Source::passed(full())), (3, Some(3)));
        assert_eq!(size(&RequestBody::passed(full())), (3, Some(3)));
        assert!(!Source::passed(full()).is_end_stream());
        assert!(!RequestBody::passed(full()).is_end_stream());
        assert!(Source::passed(Full::new(chunk(""))).is_end_stream());
        assert!(RequestBody::passed(Full::new(chunk(""))).is_end_stream());
        assert_eq!(size(&Source::passed(streamed(vec![]))), (0, None));
    }

    #[test]
    fn a_passed_body_allocates_nothing() {
        let allocated = allocation_counter::measure(|| {
            drop(Source::passed(Empty::<Bytes>::new()));
            drop(RequestBody::passed(Empty::<Bytes>::new()));
        });
        assert_eq!(allocated.count_total, 0);
    }

    #[test]
    fn a_buffered_body_is_its_data_and_then_its_trailers() {
        let expected = ["data abc", "trailers 1"];
        let response = Replayed::buffered(chunk("abc"), Some(trailers()));
        assert_eq!(frames(response), expected);
        let request = RequestBody::<Empty<Bytes>>::buffered(chunk("abc"), Some(trailers()));
        assert_eq!(frames(request), expected);
        assert_eq!(frames(buffered(chunk("abc"))), ["data abc"]);
    }

    #[test]
    fn no_data_is_no_frame() {
        assert_eq!(frames(buffered(chunk(""))), [""; 0]);
        let only_trailers = Replayed::buffered(chunk(""), Some(trailers()));
        assert_eq!(frames(only_trailers), ["trailers 1"]);
        let prefix = vec![chunk(""), chunk("a"), chunk("")];
        let resumed = Source::resumed(prefix, Box::pin(Empty::<Bytes>::new()));
        assert_eq!(frames(resumed), ["data a"]);
    }

    #[test]
    fn a_buffered_body_has_ended_exactly_when_nothing_is_left() {
        let mut body = Replayed::buffered(chunk("abc"), Some(trailers()));
        let mut ends = vec![body.is_end_stream()];
        while body.frame().now_or_never().unwrap().is_some() {
            ends.push(body.is_end_stream());
        }
        assert_eq!(ends, [false, false, true]);

        let mut body = buffered(chunk("abc"));
        assert!(!body.is_end_stream());
        assert!(body.frame().now_or_never().unwrap().is_some());
        assert!(body.is_end_stream());
        assert!(buffered(chunk("")).is_end_stream());
        assert!(!Replayed::buffered(chunk(""), Some(trailers())).is_end_stream());
    }

    #[test]
    fn a_buffered_body_knows_its_size() {
        let mut body = buffered(chunk("abc"));
        assert_eq!(size(&body), (3, Some(3)));
        let _ = body.frame().now_or_never();
        assert_eq!(size(&body), (0, Some(0)));
        assert_eq!(
            size(&RequestBody::<Empty<Bytes>>::from(chunk("ab"))),
            (2, Some(2))
        );
    }

    #[test]
    fn before_trailers_the_size_is_open() {
        let body = Replayed::buffered(chunk("abc"), Some(trailers()));
        assert_eq!(size(&body), (3, None));
    }

    #[test]
    fn a_resumed_body_is_what_was_read_and_then_the_rest() {
        let rest = vec![Ok(Frame::data(chunk("c"))), Ok(Frame::trailers(trailers()))];
        let body = Source::resumed(vec![chunk("a"), chunk("b")], Box::pin(streamed(rest)));
        assert_eq!(frames(body), ["data a", "data b", "data c", "trailers 1"]);
    }

    #[test]
    fn a_resumed_body_counts_what_was_read() {
        let prefix = || vec![chunk("ab"), chunk("c")];
        let mut body = Source::resumed(prefix(), Box::pin(Full::new(chunk("defg"))));
        assert_eq!(size(&body), (7, Some(7)));
        let _ = body.frame().now_or_never();
        assert_eq!(size(&body), (5, Some(5)));
        assert_eq!(
            size(&Source::resumed(prefix(), Box::pin(streamed(vec![])))),
            (3, None)
        );
    }

    #[test]
    fn a_resumed_body_ends_with_its_rest() {
        let mut body = Source::resumed(vec![chunk("a")], Box::pin(Empty::<Bytes>::new()));
        assert!(!body.is_end_stream());
        let _ = body.frame().now_or_never();
        assert!(body.is_end_stream());
        let rest = Full::new(chunk("b"));
        assert!(!Source::resumed(Vec::new(), Box::pin(rest)).is_end_stream());
    }

    #[test]
    fn a_hint_at_the_end_of_all_numbers_does_not_overflow() {
        struct Endless;

        impl Body for Endless {
            type Data = Bytes;
            type Error = Infallible;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Poll::Pending
            }

            fn size_hint(&self) -> SizeHint {
                SizeHint::with_exact(u64::MAX)
            }
        }

        let body = Source::resumed(vec![chunk("a")], Box::pin(Endless));
        assert_eq!(size(&body), (u64::MAX, None));
    }

    #[test]
    fn a_default_body_is_the_inner_default() {
        assert_eq!(frames(RequestBody::<String>::default()), [""; 0]);
    }

    #[test]
    fn what_a_buffered_body_says_is_not_shown() {
        let shown = format!("{:?}", buffered(chunk("secret")));
        assert_eq!(shown, "Buffered");
    }
}
