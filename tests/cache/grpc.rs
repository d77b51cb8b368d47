//! Unary gRPC calls: in frames, and between a tonic client and a tonic service.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    Code, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    cache::{Bypass, CacheLayer, CacheOutcome, CacheRule, NotStored, OutcomeKind},
    policy::{Policy, Routes, header},
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a handler answers.
#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// A response as a client sees it.
struct Seen {
    outcome: Option<CacheOutcome>,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Seen {
    fn kind(&self) -> OutcomeKind {
        self.outcome.unwrap().kind
    }
}

fn rule() -> CacheRule {
    CacheRule::new("call").unwrap()
}

fn cached() -> CacheRule {
    rule().with_grpc(Duration::from_secs(60))
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn framed(message: &str) -> Bytes {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message.as_bytes());
    frame.into()
}

fn well() -> Answer {
    Answer {
        headers: map(&[("content-type", "application/grpc")]),
        frames: vec![framed("answer")],
        trailers: Some(map(&[("grpc-status", "0"), ("x-cost", "7")])),
    }
}

fn call() -> http::request::Builder {
    Request::post("http://shop.example/shop.Orders/Find")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A cache around a handler that answers so, and how often that was called.
fn cache(
    policy: impl Policy<CacheRule>,
    answer: Answer,
) -> (
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = Infallible>>,
        Error = Infallible,
        Future: Send,
    > + Clone,
    Arc<AtomicUsize>,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = service_fn(move |request: Request<_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer = answer.clone();
        async move {
            // As a handler does: it reads all of the call.
            let read: http_body_util::Collected<Bytes> = read(request.into_body()).await;
            assert!(!read.to_bytes().is_empty());
            let data = answer.frames.into_iter().map(Frame::data);
            let trailers = answer.trailers.into_iter().map(Frame::trailers);
            let frames: Vec<Result<_, Infallible>> = data.chain(trailers).map(Ok).collect();
            let body = Body::new(StreamBody::new(stream::iter(frames)));
            let mut response = Response::new(body);
            *response.headers_mut() = answer.headers;
            Ok::<_, Infallible>(response)
        }
    });
    let layer = CacheLayer::new(MemoryBackend::new(), policy).unwrap();
    (layer.layer(handler), calls)
}

async fn read<B: http_body::Body<Data = Bytes, Error = Infallible>>(
    body: B,
) -> http_body_util::Collected<Bytes> {
    body.collect().await.unwrap()
}

async fn ask<S, B>(service: &S, request: http::request::Builder, body: Bytes) -> Seen
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let request = request.body(Full::new(body)).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (parts, body) = response.into_parts();
    let body = read(body).await;
    // What is stored is stored in the background.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Seen {
        outcome: parts.extensions.get::<CacheOutcome>().copied(),
        headers: parts.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    }
}

#[tokio::test]
async fn a_call_is_answered_from_the_store_with_its_trailers() {
    let (service, calls) = cache(cached(), well());
    for kind in [OutcomeKind::Miss, OutcomeKind::Hit] {
        let seen = ask(&service, call(), framed("a")).await;
        assert_eq!(seen.kind(), kind);
        assert_eq!(seen.body, framed("answer"));
        assert_eq!(seen.trailers, well().trailers);
        assert_eq!(seen.headers["content-type"], "application/grpc");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_a_rule_for_calls_none_is_cached_and_none_purges() {
    let (service, calls) = cache(rule().with_ttl(Duration::from_secs(60)), well());
    for _ in 0..2 {
        let seen = ask(&service, call(), framed("a")).await;
        assert_eq!(seen.outcome, None);
        assert!(!seen.headers.contains_key("cache-status"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn other_messages_and_encodings_are_other_calls() {
    let (service, calls) = cache(cached(), well());
    for (message, accepted) in [("a", "identity"), ("b", "identity"), ("a", "gzip")] {
        for kind in [OutcomeKind::Miss, OutcomeKind::Hit] {
            let request = call().header("grpc-accept-encoding", accepted);
            assert_eq!(ask(&service, request, framed(message)).await.kind(), kind);
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let with_timeout = call()
        .header("grpc-accept-encoding", "gzip")
        .header("grpc-timeout", "5S");
    let seen = ask(&service, with_timeout, framed("a")).await;
    assert_eq!(seen.kind(), OutcomeKind::Hit);
}

#[tokio::test]
async fn parts_of_the_key_tell_calls_apart() {
    let rule = cached().with_key_part("tenant", header("x-tenant"));
    let (service, calls) = cache(rule, well());
    for tenant in ["a", "b"] {
        for kind in [OutcomeKind::Miss, OutcomeKind::Hit] {
            let request = call().header("x-tenant", tenant);
            assert_eq!(ask(&service, request, framed("a")).await.kind(), kind);
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_with_credentials_passes_unless_they_are_covered() {
    let authorized = || call().header("authorization", "Bearer a");
    let (service, calls) = cache(cached(), well());
    for _ in 0..2 {
        let seen = ask(&service, authorized(), framed("a")).await;
        assert_eq!(seen.outcome.unwrap().bypass, Some(Bypass::Credentials));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    let rule = cached()
        .with_key_part("user", header("authorization"))
        .with_credentials_covered();
    let (service, _) = cache(rule, well());
    for kind in [OutcomeKind::Miss, OutcomeKind::Hit] {
        let seen = ask(&service, authorized(), framed("a")).await;
        assert_eq!(seen.kind(), kind);
    }
}

#[tokio::test]
async fn calls_that_fail_are_not_stored() {
    let failed = map(&[("grpc-status", "5")]);
    let in_trailers = Answer {
        trailers: Some(failed.clone()),
        ..well()
    };
    let mut headers = well().headers;
    headers.extend(failed);
    let in_head = Answer {
        headers,
        frames: Vec::new(),
        trailers: None,
    };
    let without = Answer {
        trailers: None,
        ..well()
    };
    for answer in [in_trailers, in_head, without] {
        let (service, calls) = cache(cached(), answer);
        for _ in 0..2 {
            let seen = ask(&service, call(), framed("a")).await;
            assert_eq!(seen.kind(), OutcomeKind::Miss);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn what_is_not_one_message_is_not_stored() {
    for frames in [
        vec![framed("a"), framed("b")],
        vec![],
        vec![framed("answer").slice(..7)],
    ] {
        let (service, calls) = cache(cached(), Answer { frames, ..well() });
        for _ in 0..2 {
            ask(&service, call(), framed("a")).await;
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn what_an_answer_says_of_itself_counts() {
    let says = |directives| {
        let mut answer = well();
        let value = HeaderValue::from_static(directives);
        answer.headers.insert("cache-control", value);
        answer
    };
    for (directives, reason) in [
        ("no-store", NotStored::NoStore),
        ("private", NotStored::Private),
    ] {
        let (service, calls) = cache(cached(), says(directives));
        let seen = ask(&service, call(), framed("a")).await;
        assert_eq!(seen.outcome.unwrap().not_stored, Some(reason));
        ask(&service, call(), framed("a")).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
    let (service, _) = cache(cached(), says("max-age=600"));
    ask(&service, call(), framed("a")).await;
    let seen = ask(&service, call(), framed("a")).await;
    assert_eq!(seen.headers["cache-status"], "tower-stash; hit; ttl=599");
}

#[tokio::test]
async fn a_call_that_streams_passes_whole() {
    let (service, calls) = cache(cached(), well());
    let two = [framed("a"), framed("b")].concat();
    for _ in 0..2 {
        let seen = ask(&service, call(), two.clone().into()).await;
        assert_eq!(seen.outcome.unwrap().bypass, Some(Bypass::NotUnary));
    }
    let long = framed(&"a".repeat(64 * 1024));
    let seen = ask(&service, call(), long).await;
    assert_eq!(seen.outcome.unwrap().bypass, Some(Bypass::MessageTooLong));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_handler_that_is_shown_little_is_shown_the_protocol() {
    let layer =
        CacheLayer::new(MemoryBackend::new(), cached().with_narrow([])).expect("a valid layer");
    let service = layer.layer(service_fn(|request: Request<_>| async move {
        let mut names: Vec<_> = request
            .headers()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "grpc-encoding", "te"]);
        drop(request);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    }));
    let request = call()
        .header("grpc-encoding", "gzip")
        .header("x-user", "me")
        .body(Full::new(framed("a")));
    service.oneshot(request.unwrap()).await.unwrap();
}

/// A service that counts its calls.
#[derive(Default)]
struct Counting {
    calls: AtomicUsize,
}

#[tonic::async_trait]
impl Health for Counting {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        if request.into_inner().service == "missing" {
            return Err(Status::not_found("no such service"));
        }
        let mut answer = tonic::Response::new(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        });
        answer.metadata_mut().insert("x-calls", calls.into());
        Ok(answer)
    }

    type WatchStream = stream::Iter<std::vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        };
        let answers = vec![Ok(answer), Ok(answer)];
        Ok(tonic::Response::new(stream::iter(answers)))
    }
}

#[tokio::test]
async fn a_tonic_service_is_cached_where_a_rule_says_so() {
    let routes = Routes::new()
        .grpc("/grpc.health.v1.Health/Check", cached())
        .grpc("/grpc.health.v1.Health/Watch", cached());
    let layer = CacheLayer::new(MemoryBackend::new(), routes).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = HealthServer::new(Counting::default());
    let server = Server::builder().layer(layer).add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let connect =
        tower::service_fn(
            move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) },
        );
    let endpoint = Endpoint::from_static("http://shop.example");
    let mut client = HealthClient::new(endpoint.connect_with_connector(connect).await.unwrap());
    let request = |service: &str| HealthCheckRequest {
        service: service.into(),
    };

    for _ in 0..2 {
        let missing = client.check(request("missing")).await.unwrap_err();
        assert_eq!(
            (missing.code(), missing.message()),
            (Code::NotFound, "no such service")
        );
    }
    for (service, calls) in [("a", "2"), ("a", "2"), ("b", "3"), ("b", "3")] {
        let answer = client.check(request(service)).await.unwrap();
        assert_eq!(answer.metadata().get("x-calls").unwrap(), calls);
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        let mut watched = client.watch(request("a")).await.unwrap().into_inner();
        for _ in 0..2 {
            assert!(watched.message().await.unwrap().is_some());
        }
        assert!(watched.message().await.unwrap().is_none());
    }
    let answer = client.check(request("c")).await.unwrap();
    assert_eq!(answer.metadata().get("x-calls").unwrap(), "6");
}
