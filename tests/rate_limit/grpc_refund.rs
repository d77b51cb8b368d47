//! gRPC calls that do not count because of the status at their end.

use std::{convert::Infallible, future::ready};

use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{MemoryBackend, Op},
    policy::{KeyExtractor as _, header},
    rate_limit::{GrpcRefundBody, GrpcRefundLayer, Quota, RateLimitLayer, RateLimitRule},
    respond::{GrpcCode, GrpcStatus},
    testing::FaultBackend,
};

use crate::http_client::request;

fn rule(limit: u64) -> RateLimitRule {
    let quotas = [("minute", Quota::per_minute(limit))];
    RateLimitRule::new("login", header("x-key").or_shared(), quotas).unwrap()
}

fn only_wrong_passwords_count() -> GrpcRefundLayer {
    GrpcRefundLayer::new(|code| code != GrpcCode::UNAUTHENTICATED)
}

fn status(status: &str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
}

/// A response of one message, with a status in its head, in its trailers or nowhere.
fn response(head: Option<&str>, trailers: Option<&str>) -> Response<Body> {
    let mut frames = vec![Ok::<_, Infallible>(Frame::data(Bytes::from_static(
        b"hello",
    )))];
    frames.extend(trailers.map(|code| Ok(Frame::trailers(status(code)))));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .extend(head.map(status).unwrap_or_default());
    response
}

/// A service under a rule that ends each call like this.
fn limited(
    backend: &FaultBackend<MemoryBackend>,
    rule: RateLimitRule,
    head: Option<&'static str>,
    trailers: Option<&'static str>,
) -> impl Service<
    Request<Body>,
    Response = Response<GrpcRefundBody<Body>>,
    Error = Infallible,
    Future: Send,
> {
    let limits = RateLimitLayer::new(backend.clone(), rule).unwrap();
    ServiceBuilder::new()
        .layer(limits)
        .layer(only_wrong_passwords_count())
        .service(service_fn(move |_| ready(Ok(response(head, trailers)))))
}

/// How often the backend was told to give something back.
async fn refunds(backend: &FaultBackend<MemoryBackend>) -> u64 {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    backend.calls(Op::Refund)
}

/// How often it is told so after a call that ends like this.
async fn refunds_after(head: Option<&'static str>, trailers: Option<&'static str>) -> u64 {
    let backend = FaultBackend::new(MemoryBackend::new());
    let service = limited(&backend, rule(9).with_permit(), head, trailers);
    let Ok(response) = service.oneshot(request(Method::POST, "/")).await;
    let body = response.into_body().collect().await.unwrap();
    let seen = body
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status"));
    assert_eq!(seen.map(|status| status.to_str().unwrap()), trailers);
    assert_eq!(body.to_bytes(), "hello");
    refunds(&backend).await
}

#[tokio::test]
async fn the_status_in_the_trailers_decides() {
    assert_eq!(refunds_after(None, Some("0")).await, 1);
    assert_eq!(refunds_after(None, Some("16")).await, 0);
}

#[tokio::test]
async fn the_status_of_a_trailers_only_response_decides() {
    assert_eq!(refunds_after(Some("5"), None).await, 1);
    assert_eq!(refunds_after(Some("16"), None).await, 0);
}

#[tokio::test]
async fn a_status_that_is_no_code_is_unknown() {
    for junk in ["", "17", "-1", "256", "OK"] {
        let backend = FaultBackend::new(MemoryBackend::new());
        let limits = RateLimitLayer::new(backend.clone(), rule(9).with_permit()).unwrap();
        let service = ServiceBuilder::new()
            .layer(limits)
            .layer(GrpcRefundLayer::new(|code| code == GrpcCode::UNKNOWN))
            .service(service_fn(move |_: Request<Body>| {
                ready(Ok::<_, Infallible>(response(Some(junk), None)))
            }));
        let Ok(_) = service.oneshot(request(Method::POST, "/")).await;
        assert_eq!(refunds(&backend).await, 1, "{junk:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_status_stays_counted() {
    assert_eq!(refunds_after(None, None).await, 0);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_status_stays_counted() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let service = limited(&backend, rule(9).with_permit(), None, Some("0"));
    let Ok(response) = service.oneshot(request(Method::POST, "/")).await;
    let mut body = response.into_body();
    let message = body.frame().await.unwrap().unwrap();
    assert!(message.is_data());
    drop(body);
    assert_eq!(refunds(&backend).await, 0);
}

#[tokio::test]
async fn without_a_permit_nothing_is_given_back() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let service = limited(&backend, rule(9), None, Some("0"));
    let Ok(response) = service.oneshot(request(Method::POST, "/")).await;
    response.into_body().collect().await.unwrap();
    assert_eq!(refunds(&backend).await, 0);
}

/// tonic's own health service, whose calls count if they ask for a service that it does not know.
async fn limited_health_service(limit: u64) -> HealthClient<Channel> {
    let limits = RateLimitLayer::new(MemoryBackend::new(), rule(limit).with_permit()).unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .layer(limits.with_respond(GrpcStatus))
        .layer(GrpcRefundLayer::new(|code| code != GrpcCode::NOT_FOUND))
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn a_tonic_service_counts_only_what_fails() {
    let mut client = limited_health_service(2).await;
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for _ in 0..5 {
        client.check(ask("")).await.expect("given back each time");
    }
    for _ in 0..2 {
        let unknown = client.check(ask("nobody")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
    }
    let denied = client.check(ask("")).await.unwrap_err();
    assert_eq!(denied.code(), Code::ResourceExhausted);
}
