use std::convert::Infallible;

use http::{HeaderName, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

fn answer(headers: &HeaderMap, trailers: Option<&HeaderMap>, body: &'static [u8]) -> StoredAnswer {
    StoredAnswer::of(
        StatusCode::CREATED,
        headers,
        trailers,
        Bytes::from_static(body),
        Hygiene::default(),
    )
}

fn replay(answer: StoredAnswer) -> Response<ResponseBody<Empty<Bytes>>> {
    answer.into_response().map(Replay::into_body)
}

/// What a client reads whose request a hyper server answers with this replay, over HTTP/1.1.
async fn over_http_1(answer: StoredAnswer) -> String {
    let (mut client, server) = tokio::io::duplex(4096);
    let service = service_fn(move |_: Request<Incoming>| {
        let answer = answer.clone();
        async { Ok::<_, Infallible>(replay(answer)) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let client = async move {
        let request = b"POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    };
    let (end, text) = tokio::join!(connection, client);
    end.unwrap();
    text
}

#[tokio::test]
async fn a_replay_says_what_the_first_answer_said_and_that_it_is_one() {
    let first = headers(&[
        ("location", "/p/1"),
        ("link", "a"),
        ("link", "b"),
        ("date", "now"),
    ]);
    let response = replay(answer(&first, None, b"paid"));
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.version(), http::Version::default());
    assert!(response.extensions().get::<Replayed>().is_some());
    let said = headers(&[
        ("location", "/p/1"),
        ("link", "a"),
        ("link", "b"),
        ("idempotent-replayed", "true"),
    ]);
    assert_eq!(response.headers(), &said);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), None);
    assert_eq!(body.to_bytes(), "paid");
}

#[test]
fn what_no_answer_may_say_is_not_replayed_from_the_store_either() {
    let lines = headers(&[
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("idempotent-replayed", "?0"),
        ("etag", "\"1\""),
    ]);
    let lines: Fields = lines
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let stored = StoredAnswer {
        status: StatusCode::OK,
        headers: lines.clone(),
        trailers: Some(lines),
        body: Bytes::new(),
    };
    let response = stored.into_response();
    let said = headers(&[("etag", "\"1\""), ("idempotent-replayed", "true")]);
    assert_eq!(response.headers(), &said);
    let trailers = headers(&[("etag", "\"1\"")]);
    assert_eq!(response.into_body().trailers, Some(trailers));
}

#[test]
fn of_what_is_too_large_status_and_location_are_kept() {
    let first = headers(&[
        ("etag", "\"1\""),
        ("location", "/p/1"),
        ("location", "/p/2"),
    ]);
    let head = StoredAnswer::head_only(StatusCode::CREATED, &first);
    assert_eq!(head.status, StatusCode::CREATED);
    assert_eq!(head.headers, [(LOCATION, HeaderValue::from_static("/p/1"))]);
    assert_eq!((head.trailers.as_ref(), head.body.len()), (None, 0));
    assert_eq!(head.location().unwrap(), "/p/1");
}

#[test]
fn an_answer_without_location_has_none() {
    let first = headers(&[("etag", "\"1\"")]);
    assert_eq!(StoredAnswer::head_only(StatusCode::OK, &first).headers, []);
    assert_eq!(answer(&first, None, b"").location(), None);
}

#[test]
fn trailers_are_chosen_as_headers_are() {
    let trailers = headers(&[("server-timing", "db"), ("etag", "\"1\"")]);
    let answer = answer(&HeaderMap::new(), Some(&trailers), b"");
    let etag = (http::header::ETAG, HeaderValue::from_static("\"1\""));
    assert_eq!(answer.trailers, Some(vec![etag]));
}

#[tokio::test]
async fn the_status_of_a_grpc_call_survives_the_store() {
    let trailers = headers(&[("grpc-status", "5"), ("grpc-message", "no such order")]);
    let frames = [
        Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi")),
        Frame::trailers(trailers.clone()),
    ];
    let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
    let first = StreamBody::new(frames).collect().await.unwrap();
    let collected = first.trailers().cloned();
    let stored = StoredAnswer::of(
        StatusCode::OK,
        &headers(&[("content-type", "application/grpc")]),
        collected.as_ref(),
        first.to_bytes(),
        Hygiene::default(),
    );
    let read = StoredAnswer::decode(stored.encode().unwrap()).unwrap();

    let response = replay(read);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "\0\0\0\0\x02hi");
}

#[tokio::test]
async fn trailers_of_a_replay_leave_over_http_1() {
    let head = headers(&[("trailer", "x-checksum")]);
    let trailers = headers(&[("x-checksum", "7")]);
    let read = over_http_1(answer(&head, Some(&trailers), b"paid")).await;
    assert!(read.contains("transfer-encoding: chunked\r\n"), "{read}");
    assert!(
        read.ends_with("\r\n4\r\npaid\r\n0\r\nx-checksum: 7\r\n\r\n"),
        "{read}"
    );
}

#[tokio::test]
async fn a_replay_without_trailers_has_a_length_over_http_1() {
    let head = headers(&[("content-length", "99")]);
    let read = over_http_1(answer(&head, None, b"paid")).await;
    assert!(read.contains("content-length: 4\r\n"), "{read}");
    assert!(read.ends_with("\r\n\r\npaid"), "{read}");
}
