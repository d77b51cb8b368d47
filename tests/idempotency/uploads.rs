//! Bodies of requests, which are read before anything is claimed.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tower_stash::{backend::MemoryBackend, idempotency::IdempotencyRule, testing::FaultBackend};

use crate::fixture::{Bed, faulty, refused, request, rule, settled, sleep};

/// A service that says how long the body was.
fn measuring(rule: IdempotencyRule) -> (Bed, FaultBackend<MemoryBackend>) {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule, |request| async move {
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().map_or(0, HeaderMap::len);
        let length = body.to_bytes().len();
        format!("{length} and {trailers}").into_response()
    });
    (bed, backend)
}

fn keyed(body: Body) -> Request<Body> {
    request().header("idempotency-key", "a").body(body).unwrap()
}

/// A body of these chunks, whose length nobody knows before.
fn chunked(chunks: &'static [&'static str]) -> Body {
    let chunks = stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(Bytes::from(*chunk)));
    Body::from_stream(chunks)
}

fn untouched(bed: &Bed, backend: &FaultBackend<MemoryBackend>) -> bool {
    (bed.runs(), backend.total_calls()) == (0, 0)
}

#[tokio::test]
async fn a_body_of_a_declared_length_above_the_limit_is_refused_unread() {
    let (bed, backend) = measuring(rule().with_body_limit(5));
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let mut request = keyed(never);
    let length = HeaderValue::from(6);
    request.headers_mut().insert("content-length", length);
    let answer = bed.send(request).await;
    assert_eq!(answer.refusal(), refused(413, "body-too-large"));
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("bytes"), "{detail}");
    assert!(untouched(&bed, &backend));
}

#[tokio::test]
async fn a_chunked_body_is_refused_when_it_comes_over_the_limit() {
    let (bed, backend) = measuring(rule().with_body_limit(5));
    let endless = stream::iter(["123", "456"]).map(|chunk| Ok(Bytes::from(chunk)));
    let endless = endless.chain(stream::pending::<Result<Bytes, Infallible>>());
    let answer = bed.send(keyed(Body::from_stream(endless))).await;
    assert_eq!(answer.refusal(), refused(413, "body-too-large"));
    assert!(untouched(&bed, &backend));
}

#[tokio::test]
async fn a_body_at_the_limit_reaches_the_handler_whole() {
    let (bed, _) = measuring(rule().with_body_limit(5));
    let answer = bed.send(keyed(chunked(&["12", "", "345"]))).await;
    assert_eq!(answer.body, "5 and 0");
    // However it is cut.
    assert!(bed.send(keyed("12345".into())).await.is_replay());
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_handler() {
    let (bed, _) = measuring(rule());
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(3))]);
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from("abc"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    assert_eq!(bed.send(keyed(body)).await.body, "3 and 1");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_in_time_is_refused() {
    let (bed, backend) = measuring(rule().with_body_timeout(Duration::from_secs(3)));
    // Something comes each second, and no end.
    let slow = stream::unfold((), async |()| {
        sleep(1).await;
        Some((Ok::<_, Infallible>(Bytes::from("a")), ()))
    });
    let answer = bed.send(keyed(Body::from_stream(slow))).await;
    assert_eq!(answer.refusal(), refused(408, "body-incomplete"));
    assert!(untouched(&bed, &backend));
}

#[tokio::test(start_paused = true)]
async fn a_broken_upload_is_refused_and_claims_nothing() {
    let (bed, backend) = measuring(rule());
    let broken = stream::iter([Ok(Bytes::from("12")), Err(std::io::Error::other("reset"))]);
    let answer = bed.send(keyed(Body::from_stream(broken))).await;
    assert_eq!(answer.refusal(), refused(400, "body-incomplete"));
    assert!(untouched(&bed, &backend));
    // So that the same key may come again, whole.
    assert_eq!(bed.send(keyed("1234".into())).await.body, "4 and 0");
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_client_has_gone_claims_nothing() {
    let (bed, backend) = measuring(rule());
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let sent = bed.sending(keyed(never)).await;
    sent.abort();
    settled().await;
    assert!(untouched(&bed, &backend));
}

#[tokio::test]
async fn a_request_that_wants_another_protocol_is_refused() {
    let (bed, backend) = measuring(rule());
    let mut request = keyed("".into());
    let websocket = HeaderValue::from_static("websocket");
    request.headers_mut().insert("upgrade", websocket);
    let answer = bed.send(request).await;
    assert_eq!(answer.refusal(), refused(501, "streaming"));
    assert!(untouched(&bed, &backend));
}

/// A gRPC call with this body; the code of its answer.
async fn grpc(bed: &Bed, body: &'static [u8]) -> String {
    let request = request().header("idempotency-key", "a");
    let request = request.header("content-type", "application/grpc+proto");
    let answer = bed.send(request.body(body.into()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    answer.header("grpc-status").unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_grpc_call_of_other_than_one_message_is_refused() {
    let (bed, backend) = measuring(rule());
    let streams: [&'static [u8]; 4] = [
        b"",
        b"\0\0\0\0\x01a\0\0\0\0\x01b",
        b"\0\0\0\0\x02a",
        b"\0\0\0\0",
    ];
    for body in streams {
        assert_eq!(grpc(&bed, body).await, "12", "{body:?}");
    }
    assert!(untouched(&bed, &backend));
    assert_eq!(grpc(&bed, b"\0\0\0\0\x01a").await, "none");
    assert_eq!(bed.runs(), 1);
}
