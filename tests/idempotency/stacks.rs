//! In the stacks that people build, over real sockets.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Extension, Router, body::Body, extract::State, routing::post};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
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
use tower::{Layer as _, ServiceExt as _};
use tower_stash::{
    backend::MemoryBackend,
    idempotency::{Execution, IdempotencyLayer, IdempotencyRule, RequestBody},
    policy::{KeyExtractor as _, Policy, Routes, header},
    respond::GrpcStatus,
};

use crate::fixture::{Answer, post as posted, refused, rule};

fn layer(policy: impl Policy<IdempotencyRule>) -> IdempotencyLayer {
    let scope = header("x-user").or_shared();
    IdempotencyLayer::new(MemoryBackend::new(), scope, policy).unwrap()
}

async fn count(
    State(runs): State<Arc<AtomicUsize>>,
    Extension(run): Extension<Execution>,
    text: String,
) -> (StatusCode, String) {
    let runs = runs.fetch_add(1, Ordering::SeqCst) + 1;
    (
        StatusCode::CREATED,
        format!("{runs} {} {text}", run.attempt()),
    )
}

async fn ask(app: &Router, request: Request<Body>) -> Answer {
    Answer::read(app.clone().oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn as_a_layer_of_routes_it_does_not_touch_others() {
    let app = Router::new()
        .route("/orders", post(count))
        .route_layer(layer(rule()))
        .route("/free", post(async || "free"))
        .with_state(Arc::default());
    for is_replay in [false, true] {
        let answer = ask(&app, posted("a", "apple")).await;
        assert_eq!((answer.status(), &*answer.body), (201, "1 1 apple"));
        assert_eq!(answer.is_replay(), is_replay);
    }
    let mut free = posted("a", "apple");
    *free.uri_mut() = "/free".parse().unwrap();
    assert_eq!(ask(&app, free).await.body, "free");
    let mut missing = posted("a", "apple");
    *missing.uri_mut() = "/missing".parse().unwrap();
    assert_eq!(ask(&app, missing).await.status(), 404);
}

#[tokio::test]
async fn around_nested_routers_its_routes_are_those_that_were_asked_for() {
    let inner = Router::new()
        .route("/orders", post(count))
        .route("/free", post(async || "free"))
        .with_state(Arc::default());
    let routes = Routes::new().post("/api/v1/orders", rule());
    let app = Router::new()
        .nest("/api", Router::new().nest("/v1", inner))
        .layer(layer(routes));
    let mut orders = posted("a", "apple");
    *orders.uri_mut() = "/api/v1/orders".parse().unwrap();
    ask(&app, orders).await;
    let mut orders = posted("a", "apple");
    *orders.uri_mut() = "/api/v1/orders".parse().unwrap();
    assert!(ask(&app, orders).await.is_replay());
    for _ in 0..2 {
        let mut free = posted("a", "apple");
        *free.uri_mut() = "/api/v1/free".parse().unwrap();
        assert!(!ask(&app, free).await.is_replay());
    }
}

#[tokio::test]
async fn around_a_route_twice_the_inner_one_passes_by() {
    let layer = layer(rule());
    let app = Router::new()
        .route("/orders", post(count))
        .layer(layer.clone())
        .layer(layer)
        .with_state(Arc::default());
    for is_replay in [false, true] {
        let answer = ask(&app, posted("a", "apple")).await;
        assert_eq!((answer.status(), &*answer.body), (201, "1 1 apple"));
        assert_eq!(answer.is_replay(), is_replay);
    }
}

#[tokio::test]
async fn another_layer_inside_claims_for_itself() {
    let key = http::HeaderName::from_static("x-other-key");
    let inner = layer(rule().with_header(key));
    let app = Router::new()
        .route("/orders", post(count))
        .layer(inner)
        .layer(layer(rule()))
        .with_state(Arc::default());
    let answer = ask(&app, posted("a", "apple")).await;
    assert_eq!(answer.refusal(), refused(400, "key-missing"));
}

/// A service behind hyper, with HTTP/1.1 and HTTP/2, whose answer has trailers.
async fn serve_with_trailers() -> SocketAddr {
    async fn hello(
        request: Request<RequestBody<Incoming>>,
    ) -> Result<Response<axum::body::Body>, Infallible> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(7))]);
        let frames = [
            Ok::<_, Infallible>(Frame::data(body)),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(Body::new(body));
        let announced = HeaderValue::from_static("x-sum");
        response.headers_mut().insert("trailer", announced);
        Ok(response)
    }
    let service = layer(rule()).layer(tower::service_fn(hello));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    server
}

#[tokio::test]
async fn behind_hyper_trailers_come_again_over_http_1_and_http_2() {
    let server = serve_with_trailers().await;
    for is_http2 in [false, true] {
        let mut client = Client::builder(TokioExecutor::new());
        let client = client.http2_only(is_http2).build_http();
        for is_replay in [false, true] {
            let request = Request::post(format!("http://{server}/orders"))
                .header("te", "trailers")
                .header("idempotency-key", format!("key-{is_http2}"))
                .body(Full::new(Bytes::from("hello")))
                .unwrap();
            let response = client.request(request).await.unwrap();
            let replayed = response.headers().contains_key("idempotent-replayed");
            assert_eq!(replayed, is_replay);
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "7", "{is_http2}");
            assert_eq!(body.to_bytes(), "hello");
        }
    }
}

#[tokio::test]
async fn over_a_socket_a_body_that_is_too_large_is_told() {
    let server = serve_with_trailers().await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{server}/orders"))
        .header("idempotency-key", "a")
        .body(Full::new(Bytes::from(vec![0; 2 * 1024 * 1024])))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// A service that counts its calls, and fails where it is told to.
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
        match &*request.into_inner().service {
            "missing" => return Err(Status::not_found("no such service")),
            "down" => return Err(Status::unavailable("not now")),
            _ => {}
        }
        // The first call is answered like no other.
        let status = match calls {
            0 => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        };
        let answer = HealthCheckResponse {
            status: status.into(),
        };
        Ok(tonic::Response::new(answer))
    }

    type WatchStream = futures_util::stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn a_grpc_call_has_its_key_in_its_metadata() {
    let routes = Routes::new().grpc("/grpc.health.v1.Health/Check", rule());
    let layer = layer(routes).with_respond(GrpcStatus);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = HealthServer::new(Counting::default());
    let server = Server::builder().layer(layer).add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let connect =
        tower::service_fn(
            move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) },
        );
    let endpoint = Endpoint::from_static("http://orders.example");
    let client = HealthClient::new(endpoint.connect_with_connector(connect).await.unwrap());
    let call = async |service: &str, key: &'static str| {
        let mut request = tonic::Request::new(HealthCheckRequest {
            service: service.into(),
        });
        if !key.is_empty() {
            let key = key.parse().unwrap();
            request.metadata_mut().insert("idempotency-key", key);
        }
        client.clone().check(request).await
    };

    for is_replay in [false, true] {
        let answer = call("", "a").await.unwrap();
        let metadata = answer.metadata();
        assert_eq!(metadata.contains_key("idempotent-replayed"), is_replay);
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let reused = call("other", "a").await.unwrap_err();
    assert_eq!(reused.code(), Code::FailedPrecondition);
    let without = call("", "").await.unwrap_err();
    assert_eq!(without.code(), Code::InvalidArgument);
    for is_replay in [false, true] {
        let missing = call("missing", "b").await.unwrap_err();
        assert_eq!(
            (missing.code(), missing.message()),
            (Code::NotFound, "no such service")
        );
        let metadata = missing.metadata();
        assert_eq!(metadata.contains_key("idempotent-replayed"), is_replay);
    }
    for _ in 0..2 {
        let down = call("down", "c").await.unwrap_err();
        assert_eq!(
            (down.code(), down.message()),
            (Code::Unavailable, "not now")
        );
        assert!(!down.metadata().contains_key("idempotent-replayed"));
    }
}
