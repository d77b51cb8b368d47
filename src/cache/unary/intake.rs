//! Reading the message of a call, without waiting for what may never come.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::timeout;

use super::frame;
use crate::{body::RequestBody, cache::Bypass};

/// The body of a call, and what was read of it.
pub(super) struct Intake<Q> {
    body: Pin<Box<Q>>,
    chunks: Vec<Bytes>,
    length: usize,
    trailers: Option<HeaderMap>,
}

/// A body that is not one message, from its beginning.
pub(super) struct Unread<Q> {
    pub(super) reason: Bypass,
    pub(super) body: RequestBody<Q>,
}

impl<Q: Body<Data = Bytes>> Intake<Q> {
    pub(super) fn new(body: Q) -> Self {
        Self {
            body: Box::pin(body),
            chunks: Vec::new(),
            length: 0,
            trailers: None,
        }
    }

    /// The whole body, if it is one message.
    ///
    /// A client that streams may say no more before it is answered, so it is not waited for long.
    pub(super) async fn message(mut self) -> Result<Bytes, Unread<Q>> {
        let read = timeout(PATIENCE, self.read()).await;
        match read.unwrap_or(Err(Bypass::NotUnary)) {
            Ok(()) => Ok(joined(self.chunks)),
            Err(reason) => Err(Unread {
                reason,
                body: self.rewound(),
            }),
        }
    }

    async fn read(&mut self) -> Result<(), Bypass> {
        if self.body.size_hint().lower() > LIMIT as u64 {
            return Err(Bypass::MessageTooLong);
        }
        while !self.body.is_end_stream() {
            let Some(frame) = poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await else {
                break;
            };
            // Whoever reads on sees the error again, or a message that is not whole.
            self.keep(frame.map_err(|_| Bypass::NotUnary)?)?;
        }
        if frame::expected(&self.chunks) == Some(self.length) {
            Ok(())
        } else {
            Err(Bypass::NotUnary)
        }
    }

    fn keep(&mut self, frame: Frame<Bytes>) -> Result<(), Bypass> {
        match frame.into_data() {
            Ok(data) => {
                self.length = self.length.saturating_add(data.len());
                if !data.is_empty() {
                    self.chunks.push(data);
                }
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                return Err(Bypass::NotUnary);
            }
        }
        let expected = frame::expected(&self.chunks);
        if self.length.max(expected.unwrap_or_default()) > LIMIT {
            return Err(Bypass::MessageTooLong);
        }
        if expected.is_some_and(|expected| self.length > expected) {
            return Err(Bypass::NotUnary);
        }
        Ok(())
    }

    /// The body as it came.
    fn rewound(self) -> RequestBody<Q> {
        if self.trailers.is_some() {
            // They are the end of it.
            return RequestBody::buffered(joined(self.chunks), self.trailers);
        }
        RequestBody::resumed(self.chunks, self.body)
    }
}

fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() <= 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::new();
    for chunk in chunks {
        joined.extend_from_slice(&chunk);
    }
    joined.freeze()
}

/// How long a message is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest body of a call, with the frame.
const LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http::{HeaderName, HeaderValue};
    use http_body_util::{BodyExt as _, Collected, Full, StreamBody};

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    #[expect(
        clippy::unnecessary_wraps,
        reason = "beside errors, it is what a stream of frames is made of"
    )]
    fn data(bytes: &'static [u8]) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(bytes)))
    }

    async fn read(
        frames: Frames,
    ) -> Result<Bytes, (Bypass, Result<Collected<Bytes>, &'static str>)> {
        let body = StreamBody::new(stream::iter(frames));
        match Intake::new(body).message().await {
            Ok(message) => Ok(message),
            Err(Unread { reason, body }) => Err((reason, body.collect().await)),
        }
    }

    #[tokio::test]
    async fn one_message_is_read_whole() {
        let frames = vec![data(b"\0\0\0"), data(b"\0\x02a"), data(b"b")];
        let message = read(frames).await.map_err(|(reason, _)| reason);
        assert_eq!(message.unwrap(), &b"\0\0\0\0\x02ab"[..]);
    }

    #[tokio::test]
    async fn what_is_not_one_message_is_passed_from_its_beginning() {
        for frames in [
            vec![],
            vec![data(b"\0\0\0")],
            vec![data(b"\0\0\0\0\x02a")],
            vec![data(b"\0\0\0\0\x01a"), data(b"\0\0\0\0\x01b")],
        ] {
            let sent: Vec<u8> = frames
                .iter()
                .flat_map(|frame| frame.as_ref().unwrap().data_ref().unwrap().to_vec())
                .collect();
            let (reason, passed) = read(frames).await.unwrap_err();
            assert_eq!(reason, Bypass::NotUnary);
            assert_eq!(passed.unwrap().to_bytes(), sent);
        }
    }

    #[tokio::test]
    async fn trailers_of_a_request_are_passed() {
        let name = HeaderName::from_static("a");
        let trailers = HeaderMap::from_iter([(name, HeaderValue::from_static("b"))]);
        let frames = vec![data(b"\0\0\0\0\0"), Ok(Frame::trailers(trailers.clone()))];
        let (reason, passed) = read(frames).await.unwrap_err();
        assert_eq!(reason, Bypass::NotUnary);
        let passed = passed.unwrap();
        assert_eq!(passed.trailers(), Some(&trailers));
        assert_eq!(passed.to_bytes(), &b"\0\0\0\0\0"[..]);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_not_waited_for() {
        let announced = vec![data(b"\0\0\x01\0\0"), data(b"a")];
        let (reason, passed) = read(announced).await.unwrap_err();
        assert_eq!(reason, Bypass::MessageTooLong);
        assert_eq!(passed.unwrap().to_bytes(), &b"\0\0\x01\0\0a"[..]);

        let long = Full::new(Bytes::from(vec![0; LIMIT + 1]));
        let unread = Intake::new(long)
            .message()
            .await
            .map(drop)
            .map_err(|it| it.reason);
        assert_eq!(unread, Err(Bypass::MessageTooLong));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_no_more_is_passed() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        sender
            .send(Bytes::from_static(b"\0\0\0\0\x01a"))
            .await
            .unwrap();
        let frames = stream::unfold(receiver, |mut receiver| async {
            let data = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(data)), receiver))
        });
        let unread = Intake::new(StreamBody::new(frames)).message().await;
        let Err(Unread { reason, body }) = unread else {
            panic!("it was taken for whole");
        };
        assert_eq!(reason, Bypass::NotUnary);
        sender.send(Bytes::from_static(b"b")).await.unwrap();
        drop(sender);
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(body, &b"\0\0\0\0\x01ab"[..]);
    }
}
