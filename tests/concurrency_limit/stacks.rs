//! In axum, hyper and tonic, over real sockets.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    Code,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Layer as _;
use tower_stash::{
    backend::MemoryBackend,
    concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule},
    policy::{KeyExtractor as _, Routes, header, peer_ip},
    respond::GrpcStatus,
};

use crate::{
    endless::{layer, rule},
    http_client,
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn serve(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// A stream of events that goes on for ever.
async fn events() -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from("data: first\n\n"))]);
    Body::from_stream(first.chain(stream::pending()))
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Opens a stream, and waits for its first event.
async fn open(server: SocketAddr, path: &str) -> (u16, Response<Incoming>) {
    let uri = format!("http://{server}{path}").parse().unwrap();
    let mut response = client().get(uri).await.expect("the server answers");
    let first = response.body_mut().frame().await;
    assert!(first.is_some_and(|frame| frame.is_ok()));
    (response.status().as_u16(), response)
}

/// Asks until the answer is this status: a server learns a little later that a client has gone.
async fn eventually(server: SocketAddr, path: &str, status: u16) {
    let asking = async {
        while open(server, path).await.0 != status {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(10), asking).await;
    answered.unwrap_or_else(|_| panic!("no {status} in 10 s"));
}

#[tokio::test]
async fn in_axum_a_stream_of_events_holds_its_slot_until_its_client_goes() {
    let rule = ConcurrencyLimitRule::new("events", peer_ip().or_reject(), 2).unwrap();
    let limits = ConcurrencyLimitLayer::new(
        MemoryBackend::new(),
        Routes::new()
            .get("/events", rule.clone())
            .get("/more", rule),
    );
    let app = Router::new()
        .route("/events", get(events))
        .route("/more", get(events))
        .route("/free", get(async || "free"))
        .layer(limits.unwrap());
    let server = serve(app).await;

    let (status, first) = open(server, "/events").await;
    assert_eq!(status, 200);
    let (status, _second) = open(server, "/more").await;
    assert_eq!(status, 200);
    let (status, denied) = open(server, "/events").await;
    assert_eq!(status, 429);
    assert_eq!(denied.headers()["retry-after"], "1");
    assert_eq!(http_client::get(server, "/free").await.body, "free");

    drop(first);
    eventually(server, "/events", 200).await;
}

#[tokio::test]
async fn in_axum_one_request_after_the_other_never_meets_its_own_slot() {
    let one = ConcurrencyLimitRule::new("one", peer_ip().or_reject(), 1).unwrap();
    let app = Router::new()
        .route("/", get(async || "hello"))
        .layer(ConcurrencyLimitLayer::new(MemoryBackend::new(), one).unwrap());
    let server = serve(app).await;
    let client = client();
    for _ in 0..200 {
        let uri = format!("http://{server}/").parse().unwrap();
        let response = client.get(uri).await.expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        response.into_body().collect().await.expect("a whole body");
    }
}

#[tokio::test]
async fn in_hyper_a_slow_handler_holds_its_slot() {
    let limits = layer(MemoryBackend::new(), rule(1));
    let limited = limits.layer(tower::service_fn(async |request: Request<Incoming>| {
        if request.uri().path() == "/slow" {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }));
    let (listener, server) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service = TowerToHyperService::new(limited.clone());
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    let answer = http_client::get(server, "/").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"));
    assert_eq!(
        answer.header("content-length"),
        Some("5"),
        "its size is known"
    );
    let slow = tokio::spawn(http_client::get(server, "/slow"));
    eventually(server, "/", 429).await;
    slow.abort();
    eventually(server, "/", 200).await;
}

#[tokio::test]
async fn in_tonic_a_stream_holds_its_slot_and_a_call_above_the_limit_is_resource_exhausted() {
    let rule = ConcurrencyLimitRule::new("watch", header("x-api-key").or_shared(), 1).unwrap();
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Watch", rule);
    let limits = ConcurrencyLimitLayer::new(MemoryBackend::new(), policy)
        .unwrap()
        .with_respond(GrpcStatus);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let (listener, address) = listen().await;
    let server = Server::builder().layer(limits).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let connect =
        tower::service_fn(
            move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) },
        );
    let channel = Endpoint::from_static("http://limited.example")
        .connect_with_connector(connect)
        .await
        .expect("a connection");
    let mut client = HealthClient::new(channel);
    let whole_server = || HealthCheckRequest {
        service: String::new(),
    };

    let mut watching = client.watch(whole_server()).await.unwrap().into_inner();
    assert!(watching.message().await.unwrap().is_some());
    let status = client.watch(whole_server()).await.expect_err("one at once");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.metadata().get("grpc-retry-pushback-ms").unwrap(),
        "1000"
    );
    for _ in 0..3 {
        client
            .check(whole_server())
            .await
            .expect("it is not limited");
    }

    drop(watching);
    let freed = async {
        while client.watch(whole_server()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let freed = tokio::time::timeout(Duration::from_secs(10), freed).await;
    freed.expect("the slot of a dropped stream is free");
}
