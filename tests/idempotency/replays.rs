//! What a replay has of the first answer, and what it has not.

use std::convert::Infallible;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use tower_stash::{backend::MemoryBackend, idempotency::IdempotencyRule, marks::Replayed};

use crate::fixture::{Answer, Bed, memory, post, rule, sleep};

/// The first answer of a handler, and its replay.
async fn twice(rule: IdempotencyRule, answer: fn() -> Response) -> (Answer, Answer) {
    let bed = Bed::new(MemoryBackend::new(), rule, move |_| async move { answer() });
    let first = bed.post("a", "").await;
    let second = bed.post("a", "").await;
    assert_eq!((first.is_replay(), second.is_replay()), (false, true));
    assert_eq!(bed.runs(), 1);
    (first, second)
}

/// An answer with these header lines.
fn with_lines(lines: &[(&'static str, &'static [u8])]) -> Response {
    let mut response = "done".into_response();
    response.headers_mut().clear();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).unwrap();
        response.headers_mut().append(*name, value);
    }
    response
}

fn lines(answer: &Answer) -> Vec<(&str, &[u8])> {
    let lines = answer.head.headers.iter();
    lines
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

const COOKIES: [(&str, &[u8]); 2] = [("set-cookie", b"a=1; Secure"), ("set-cookie", b"b=2")];

#[tokio::test]
async fn cookies_leave_with_the_first_answer_alone() {
    let (first, second) = twice(rule(), || with_lines(&COOKIES)).await;
    assert_eq!(lines(&first), COOKIES);
    assert_eq!(lines(&second), [("idempotent-replayed", &b"true"[..])]);
}

#[tokio::test]
async fn two_cookies_are_two_in_the_replay_where_the_rule_keeps_them() {
    let (first, second) = twice(rule().with_stored_cookies(), || with_lines(&COOKIES)).await;
    assert_eq!(lines(&first), COOKIES);
    assert_eq!(lines(&second)[..2], COOKIES);
}

#[tokio::test]
async fn values_that_are_no_text_and_the_order_of_lines_are_kept() {
    const LINES: [(&str, &[u8]); 6] = [
        ("x-name", b"J\xF6rg"),
        ("x-name", b"\xFF\xFE"),
        ("x-name", b""),
        ("location", b"/orders/1"),
        ("vary", b"accept"),
        ("vary", b"accept-language"),
    ];
    let (first, second) = twice(rule(), || with_lines(&LINES)).await;
    assert_eq!(lines(&first), LINES);
    assert_eq!(lines(&second)[..6], LINES);
}

#[tokio::test]
async fn what_is_of_one_exchange_leaves_with_the_first_answer_alone() {
    const OF_ONE: [(&str, &[u8]); 12] = [
        ("date", b"Sat, 21 Nov 2026 19:00:00 GMT"),
        ("connection", b"x-hop"),
        ("x-hop", b"1"),
        ("server-timing", b"db;dur=53"),
        ("traceparent", b"00-a-b-01"),
        ("x-request-id", b"17"),
        ("ratelimit", b"\"a\";r=1"),
        ("x-ratelimit-remaining", b"1"),
        ("access-control-allow-origin", b"*"),
        ("alt-svc", b"h3"),
        ("content-length", b"4"),
        ("idempotent-replayed", b"no"),
    ];
    let bed = Bed::new(MemoryBackend::new(), rule(), |_| async {
        with_lines(&OF_ONE)
    });
    let first = bed.post("a", "").await;
    assert_eq!(lines(&first), OF_ONE);
    let second = bed.post("a", "").await;
    assert_eq!(lines(&second), [("idempotent-replayed", &b"true"[..])]);
}

#[tokio::test]
async fn status_body_and_trailers_are_kept() {
    let (first, second) = twice(rule(), || {
        let sum = HeaderName::from_static("x-sum");
        let trailers = HeaderMap::from_iter([
            (sum.clone(), HeaderValue::from(1)),
            (sum, HeaderValue::from_bytes(b"\xFF").unwrap()),
        ]);
        let frames =
            ["one ", "two"].map(|data| Ok::<_, Infallible>(Frame::data(Bytes::from(data))));
        let frames = frames.into_iter().chain([Ok(Frame::trailers(trailers))]);
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        (StatusCode::IM_A_TEAPOT, body).into_response()
    })
    .await;
    assert_eq!((second.status(), &*second.body), (418, "one two"));
    assert_eq!(first.body, second.body);
    let trailers = second.trailers.unwrap();
    assert_eq!(Some(&trailers), first.trailers.as_ref());
    let sums: Vec<_> = trailers
        .get_all("x-sum")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(sums, [&b"1"[..], b"\xFF"]);
}

#[tokio::test]
async fn an_answer_without_a_body_is_replayed_without_one() {
    let (_, second) = twice(rule(), || StatusCode::NO_CONTENT.into_response()).await;
    assert_eq!((second.status(), &*second.body), (204, ""));
    assert!(second.trailers.is_none());
}

#[tokio::test]
async fn a_replay_says_how_long_it_is() {
    let bed = Bed::new(MemoryBackend::new(), rule(), |_| async {
        "done".into_response()
    });
    for _ in 0..2 {
        let response = bed.head(post("a", "")).await;
        assert_eq!(response.body().size_hint().exact(), Some(4));
    }
}

#[tokio::test]
async fn layers_outside_know_a_replay_by_its_extension() {
    // Also where a handler writes the header itself.
    let (first, second) = twice(rule(), || "done".into_response()).await;
    assert!(first.head.extensions.get::<Replayed>().is_none());
    assert!(second.head.extensions.get::<Replayed>().is_some());
}

#[tokio::test]
async fn extensions_of_the_first_answer_leave_with_it() {
    let (first, second) = twice(rule(), || {
        let mut response = "done".into_response();
        response.extensions_mut().insert(17_u8);
        response
    })
    .await;
    assert_eq!(first.head.extensions.get(), Some(&17_u8));
    assert_eq!(second.head.extensions.get::<u8>(), None);
}

#[tokio::test]
async fn a_hook_may_rewrite_the_replay_and_not_the_first_answer() {
    let rule = rule().with_on_replay(|head| {
        head.headers.insert(header::AGE, HeaderValue::from(3));
        head.headers.remove("idempotent-replayed");
        head.status = StatusCode::ACCEPTED;
    });
    let bed = Bed::new(MemoryBackend::new(), rule, |_| async {
        "done".into_response()
    });
    let first = bed.post("a", "").await;
    assert_eq!((first.status(), first.header("age")), (200, None));
    let second = bed.post("a", "").await;
    assert_eq!((second.status(), second.header("age")), (202, Some("3")));
    assert!(!second.is_replay());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_as_long_as_the_rule_says_and_replays_prolong_nothing() {
    const HOUR: u64 = 3_600;
    let bed = Bed::new(memory(), rule(), |_| async { "done".into_response() });
    bed.post("a", "").await;
    sleep(12 * HOUR).await;
    assert!(bed.post("a", "").await.is_replay());
    sleep(12 * HOUR - 60).await;
    assert!(bed.post("a", "").await.is_replay());
    sleep(61).await;
    assert!(!bed.post("a", "").await.is_replay());
}
