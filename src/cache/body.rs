//! The body of a response: as it comes, from memory, or copied while it goes by.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::timeout;

use super::{engine::Capture, semantics::NotStored};
use crate::body::Source;

pin_project! {
    /// The body of a response that went through a cache layer: the inner service's, frame by frame,
    /// with its errors, its trailers and its size; or that of a stored response, from memory.
    pub struct ResponseBody<B> {
        #[pin]
        frames: Frames<B>,
    }
}

pin_project! {
    #[project = FramesProjection]
    enum Frames<B> {
        Plain { #[pin] source: Source<B> },
        Copied { copied: Copied<B> },
    }
}

impl<B> ResponseBody<B> {
    /// The body of a response that is not stored, as it is.
    pub(super) fn passed(body: B) -> Self {
        let source = Source::passed(body);
        Self {
            frames: Frames::Plain { source },
        }
    }

    /// A body that is in memory.
    pub(super) fn stored(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let source = Source::buffered(data, trailers);
        Self {
            frames: Frames::Plain { source },
        }
    }

    pub(super) fn empty() -> Self {
        Self::stored(Bytes::new(), None)
    }
}

impl<B: Body<Data = Bytes> + Send + 'static> ResponseBody<B> {
    /// A body that is stored when it has ended. Each frame goes on at once; a client that goes away
    /// does not keep it from being stored.
    pub(super) fn copied(body: B, capture: Capture) -> Self {
        let copied = Copied::new(body, capture);
        Self {
            frames: Frames::Copied { copied },
        }
    }
}

/// Stores a body that nobody reads.
pub(super) fn copy_aside<B: Body<Data = Bytes> + Send + 'static>(body: B, capture: Capture) {
    drop(Copied::new(body, capture));
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().frames.project() {
            FramesProjection::Plain { source } => source.poll_frame(cx),
            FramesProjection::Copied { copied } => copied.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.frames {
            Frames::Plain { source } => source.is_end_stream(),
            Frames::Copied { copied } => copied.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.frames {
            Frames::Plain { source } => source.size_hint(),
            Frames::Copied { copied } => copied.size_hint(),
        }
    }
}

/// A body that goes to a client and into a capture.
struct Copied<B> {
    /// `None` when it has ended.
    body: Option<Pin<Box<B>>>,
    /// `None` when it is known what becomes of it.
    capture: Option<Capture>,
    /// Reads the rest where there is no client any more. A pointer, since dropping knows no bounds.
    read_on: fn(Pin<Box<B>>, Capture),
}

impl<B: Body<Data = Bytes> + Send + 'static> Copied<B> {
    fn new(body: B, capture: Capture) -> Self {
        let mut copied = Self {
            body: Some(Box::pin(body)),
            capture: Some(capture),
            read_on,
        };
        copied.notice_the_end();
        copied
    }
}

impl<B: Body<Data = Bytes>> Copied<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        // Taken out, so that a body that panics is not stored, whoever catches that.
        let capture = self.capture.take();
        let polled = body.as_mut().poll_frame(cx);
        self.capture = capture;
        let Poll::Ready(frame) = polled else {
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                self.keep(frame);
                self.notice_the_end();
            }
            Some(Err(_)) => self.give_up(NotStored::BodyFailed),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(capture) = &mut self.capture else {
            return;
        };
        if let Err(reason) = capture.keep(frame) {
            self.give_up(reason);
        }
    }

    /// Who knows that there is no more need not ask for it.
    fn notice_the_end(&mut self) {
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    fn end(&mut self) {
        self.body = None;
        self.finish();
    }

    fn finish(&mut self) {
        if let Some(capture) = self.capture.take() {
            capture.finish();
        }
    }

    fn give_up(&mut self, reason: NotStored) {
        if let Some(capture) = self.capture.take() {
            capture.give_up(reason);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Copied<B> {
    fn drop(&mut self) {
        let Some(capture) = self.capture.take() else {
            return;
        };
        match self.body.take() {
            // What a panic left of it is not known to be whole.
            _ if thread::panicking() => capture.give_up(NotStored::BodyFailed),
            Some(body) => (self.read_on)(body, capture),
            None => capture.give_up(NotStored::BodyFailed),
        }
    }
}

/// Reads what is left of a body, to store it.
fn read_on<B: Body<Data = Bytes> + Send + 'static>(body: Pin<Box<B>>, capture: Capture) {
    let elsewhere = capture.elsewhere();
    elsewhere.spawn(async move {
        let mut rest = Copied {
            body: Some(body),
            capture: Some(capture),
            read_on: |_, capture| capture.give_up(NotStored::BodyFailed),
        };
        let read = async {
            while rest.capture.is_some() {
                let frame = std::future::poll_fn(|cx| rest.poll_frame(cx)).await;
                if frame.is_none() {
                    break;
                }
            }
        };
        // Too slow, it is dropped, and given up.
        let _ = timeout(LONGEST_READING, read).await;
    });
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::passed(B::default())
    }
}

impl<B> From<Bytes> for ResponseBody<B> {
    fn from(data: Bytes) -> Self {
        Self::stored(data, None)
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.frames {
            Frames::Plain { source } => f.debug_tuple("ResponseBody").field(source).finish(),
            Frames::Copied { .. } => f.write_str("ResponseBody(Copied)"),
        }
    }
}

/// How long a body is read that no client waits for.
const LONGEST_READING: Duration = Duration::from_secs(30);
