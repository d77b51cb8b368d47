//! Running a handler to the end of its answer.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE, response::Parts};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower_service::Service;

use super::{catch_panic::CatchPanic, gather::Gathered};

/// How a handler ended.
pub(super) enum Ended<B, E> {
    /// With an answer that is small enough to be kept.
    Whole(Parts, Bytes, Option<HeaderMap>),
    /// With one that is not, of which some was read.
    TooLarge(Parts, Vec<Bytes>, Pin<Box<B>>),
    /// With one whose body failed.
    Broken,
    /// Without an answer.
    Failed(E),
    Panicked,
}

/// Calls the service, which was polled ready, and reads its answer up to this limit.
pub(super) async fn run<S, Q, B>(
    mut ready: S,
    request: Request<Q>,
    limit: usize,
) -> Ended<B, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let running = async move {
        match ready.call(request).await {
            Ok(response) => collect(response, limit).await,
            Err(error) => Ended::Failed(error),
        }
    };
    CatchPanic::new(running).await.unwrap_or(Ended::Panicked)
}

async fn collect<B: Body<Data = Bytes>, E>(response: Response<B>, limit: usize) -> Ended<B, E> {
    let (head, body) = response.into_parts();
    let mut body = Box::pin(body);
    let too_long = |length: u64| usize::try_from(length).map_or(true, |length| length > limit);
    if is_event_stream(&head.headers) || too_long(body.size_hint().lower()) {
        return Ended::TooLarge(head, Vec::new(), body);
    }
    let mut gathered = Gathered::up_to(limit);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Ended::Broken;
        };
        if !gathered.take(frame) {
            return Ended::TooLarge(head, gathered.into_chunks(), body);
        }
    }
    let (data, trailers) = gathered.into_whole();
    Ended::Whole(head, data, trailers)
}

/// Its end is nothing to wait for (WHATWG HTML §9.2, "Server-sent events").
fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}
