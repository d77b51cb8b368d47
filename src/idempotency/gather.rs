//! Reading bodies as a whole, up to a limit.

use std::{
    future::Future,
    iter,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::problem::Problem;

/// What was read of a body so far.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Most bodies are of one chunk, for which there is no list.
    first: Bytes,
    more: Vec<Bytes>,
    length: usize,
    limit: usize,
    trailers: Option<HeaderMap>,
}

impl Gathered {
    pub(super) fn up_to(limit: usize) -> Self {
        Self {
            first: Bytes::new(),
            more: Vec::new(),
            length: 0,
            limit,
            trailers: None,
        }
    }

    /// Takes the next frame, and says whether all of it is within the limit.
    pub(super) fn take(&mut self, frame: Frame<Bytes>) -> bool {
        match frame.into_data() {
            Ok(chunk) => {
                self.length = self.length.saturating_add(chunk.len());
                // The limit would not bound how many empty ones there are.
                if self.first.is_empty() {
                    self.first = chunk;
                } else if !chunk.is_empty() {
                    self.more.push(chunk);
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.trailers.get_or_insert_default().extend(trailers);
                }
            }
        }
        self.length <= self.limit
    }

    /// Data and trailers; one chunk alone is not copied.
    pub(super) fn into_whole(self) -> (Bytes, Option<HeaderMap>) {
        if self.more.is_empty() {
            return (self.first, self.trailers);
        }
        let mut data = Vec::with_capacity(self.length);
        data.extend_from_slice(&self.first);
        for chunk in &self.more {
            data.extend_from_slice(chunk);
        }
        (data.into(), self.trailers)
    }

    pub(super) fn into_chunks(self) -> Vec<Bytes> {
        iter::once(self.first).chain(self.more).collect()
    }
}

pin_project! {
    /// Reads the body of a request, as long as it is within its limits.
    pub(super) struct Reading<Q> {
        #[pin]
        body: Q,
        gathered: Option<Gathered>,
        #[pin]
        too_late: Sleep,
    }
}

impl<Q> Reading<Q> {
    pub(super) fn new(body: Q, limit: usize, time: Duration) -> Self {
        Self {
            body,
            gathered: Some(Gathered::up_to(limit)),
            too_late: sleep(time),
        }
    }
}

impl<Q: Body<Data = Bytes>> Future for Reading<Q> {
    type Output = Result<(Bytes, Option<HeaderMap>), Problem>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
                // It may have become late while frames kept coming.
                ready!(this.too_late.poll(cx));
                return Poll::Ready(Err(Problem::BodyLate));
            };
            let Some(gathered) = this.gathered.as_mut() else {
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) => {
                    if !gathered.take(frame) {
                        return Poll::Ready(Err(Problem::BodyTooLarge));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Problem::BodyBroken)),
                None => {
                    let whole = this.gathered.take().map(Gathered::into_whole);
                    return Poll::Ready(Ok(whole.unwrap_or_default()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_chunks_are_not_kept() {
        let mut gathered = Gathered::up_to(3);
        for chunk in ["", "a", "", "", "bc", ""] {
            assert!(gathered.take(Frame::data(chunk.into())));
        }
        assert_eq!(gathered.more, ["bc"]);
        assert_eq!(gathered.into_whole().0, "abc");
    }
}
