//! Answers that are not kept: too large, or without an end.

use std::convert::Infallible;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use tower_stash::{backend::MemoryBackend, idempotency::IdempotencyRule};

use crate::fixture::{Answer, Bed, Gate, memory, post, refused, rule, settled};

fn answering(response: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Bed {
    Bed::new(MemoryBackend::new(), small(), move |_| {
        let response = response();
        async move { response }
    })
}

/// Answers of more than ten bytes are not kept.
fn small() -> IdempotencyRule {
    rule().with_answer_limit(10)
}

fn chunked(chunks: &'static [&'static str]) -> Body {
    let chunks = stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(Bytes::from(*chunk)));
    Body::from_stream(chunks)
}

fn made_at(place: &'static str, body: Body) -> Response {
    (StatusCode::CREATED, [("location", place)], body).into_response()
}

async fn is_told_where_it_is(bed: &Bed) {
    let again = bed.post("a", "1 apple").await;
    assert_eq!(again.refusal(), refused(409, "not-replayable"));
    assert_eq!(again.json()["original_status"], 201);
    assert_eq!(again.json()["location"], "/orders/1");
    assert_eq!(again.header("retry-after"), None);
    assert_eq!(bed.runs(), 1);
}

#[tokio::test]
async fn an_answer_of_a_known_length_above_the_limit_passes_whole() {
    let bed = answering(|| made_at("/orders/1", "12345678901".into()));
    let first = bed.post("a", "1 apple").await;
    assert_eq!((first.status(), &*first.body), (201, "12345678901"));
    is_told_where_it_is(&bed).await;
}

#[tokio::test]
async fn an_answer_that_comes_over_the_limit_passes_whole() {
    let bed = answering(|| made_at("/orders/1", chunked(&["12345", "67890", "12", "345"])));
    let first = bed.post("a", "1 apple").await;
    assert_eq!((first.status(), &*first.body), (201, "123456789012345"));
    is_told_where_it_is(&bed).await;
}

#[tokio::test]
async fn an_answer_at_the_limit_is_kept() {
    let bed = answering(|| made_at("/orders/1", chunked(&["12345", "67890"])));
    bed.post("a", "1 apple").await;
    let again = bed.post("a", "1 apple").await;
    assert_eq!((&*again.body, again.is_replay()), ("1234567890", true));
}

#[tokio::test]
async fn an_answer_that_is_not_kept_keeps_its_trailers() {
    let bed = answering(|| {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(3))]);
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from("12345678901"))),
            Ok(Frame::trailers(trailers)),
        ];
        Response::new(Body::new(StreamBody::new(stream::iter(frames))))
    });
    let first = bed.post("a", "1 apple").await;
    assert_eq!(first.body, "12345678901");
    assert_eq!(first.trailers.unwrap()["x-sum"], "3");
}

#[tokio::test(start_paused = true)]
async fn events_leave_as_they_come_and_are_not_kept() {
    let gate = Gate::shut();
    let events = gate.clone();
    let bed = Bed::new(memory(), small(), move |_| {
        let events = stream::unfold((events.clone(), 0), async |(gate, sent)| {
            if sent == 2 {
                return None;
            }
            gate.pass().await;
            Some((
                Ok::<_, Infallible>(Bytes::from("data: 1\n\n")),
                (gate, sent + 1),
            ))
        });
        let event_stream = [("content-type", "Text/Event-Stream; charset=utf-8")];
        let response = (event_stream, Body::from_stream(events)).into_response();
        async move { response }
    });
    let mut response = bed.head(post("a", "1 apple")).await;
    gate.open();
    let first = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: 1\n\n");
    assert!(!response.body().is_end_stream());
    let again = bed.post("a", "1 apple").await;
    assert_eq!(again.refusal(), refused(409, "not-replayable"));
    assert_eq!(again.json()["original_status"], 200);
    gate.open();
    assert_eq!(Answer::read(response).await.body, "data: 1\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_leaves_when_it_is_recorded_and_not_when_it_has_ended() {
    let gate = Gate::shut();
    let rest = gate.clone();
    let bed = Bed::new(memory(), small(), move |_| {
        let rest = rest.clone();
        let rest = stream::once(async move {
            rest.pass().await;
            Ok::<_, Infallible>(Bytes::from("the end"))
        });
        let begin = stream::iter([Ok(Bytes::from("12345678901"))]);
        let response = made_at("/orders/1", Body::from_stream(begin.chain(rest)));
        async move { response }
    });
    let response = bed.head(post("a", "1 apple")).await;
    is_told_where_it_is(&bed).await;
    gate.open();
    assert_eq!(Answer::read(response).await.body, "12345678901the end");
}

/// Its status comes behind the message, and who has got a message asks no more.
#[tokio::test]
async fn a_large_grpc_answer_does_not_run_again() {
    let bed = answering(|| {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())]);
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from("\0\0\0\0\x0712345678901"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = Body::new(StreamBody::new(stream::iter(frames)));
        ([("content-type", "application/grpc")], body).into_response()
    });
    let send = async || {
        let mut request = post("a", "\0\0\0\0\x01a");
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", grpc);
        bed.send(request).await
    };
    assert_eq!(send().await.trailers.unwrap()["grpc-status"], "0");
    // ALREADY_EXISTS
    assert_eq!(send().await.header("grpc-status"), Some("6"));
    assert_eq!(bed.runs(), 1);
}

#[tokio::test]
async fn a_large_answer_that_is_no_last_word_runs_again() {
    let bed = answering(|| (StatusCode::BAD_GATEWAY, "12345678901").into_response());
    for runs in 1..3 {
        let answer = bed.post("a", "1 apple").await;
        assert_eq!((answer.status(), &*answer.body), (502, "12345678901"));
        assert_eq!(bed.runs(), runs);
    }
    settled().await;
}
