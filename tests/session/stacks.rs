//! In the stacks that people build, over real sockets.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Router,
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
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
use tower::Layer as _;
use tower_stash::{
    policy::Routes,
    respond::GrpcStatus,
    session::{HeaderTransport, Session, SessionError, SessionRule, Sessions},
};

use crate::{
    fixture::{Bed, Browser, web},
    http_client::send,
};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn count(session: Session) -> Result<String, SessionError> {
    Ok(session.incr("n", 1).await?.to_string())
}

/// Sends it with this cookie; gives the status, the text and the cookie from then on.
async fn ask(server: SocketAddr, path: &str, cookie: &str) -> (StatusCode, String, String) {
    let request = Request::post(format!("http://{server}{path}")).header("cookie", cookie);
    let answer = send(request).await;
    let set = answer.header("set-cookie").map(|line| {
        let (pair, _) = line.split_once(';').unwrap();
        pair.to_owned()
    });
    (
        answer.status,
        answer.body,
        set.unwrap_or_else(|| cookie.to_owned()),
    )
}

#[tokio::test]
async fn nested_routers_share_one_session_by_the_path_that_was_asked_for() {
    let bed = Bed::new();
    let routes = Routes::new()
        .post("/api/v1/count", web())
        .post("/api/v1/guarded", web().with_required_user());
    let inner = Router::new()
        .route("/count", post(count))
        .route("/guarded", post(async || "in"))
        .route(
            "/other",
            post(async |session: Option<Session>| session.is_some().to_string()),
        );
    let app = Router::new()
        .nest("/api", Router::new().nest("/v1", inner))
        .layer(bed.layer(routes));
    let server = serve(app).await;
    let (status, text, cookie) = ask(server, "/api/v1/count", "").await;
    assert_eq!((status, &*text), (StatusCode::OK, "1"));
    assert!(cookie.starts_with("__Host-id="));
    let (_, text, again) = ask(server, "/api/v1/count", &cookie).await;
    assert_eq!((&*text, &again), ("2", &cookie));
    assert_eq!(
        ask(server, "/api/v1/guarded", &cookie).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(ask(server, "/api/v1/other", &cookie).await.1, "false");
}

#[tokio::test]
async fn one_layer_in_several_routers_is_one_family() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let one = Router::new()
        .route("/one", post(count))
        .layer(layer.clone());
    let two = Router::new().route("/two", post(count)).route_layer(layer);
    let server = serve(one.merge(two)).await;
    let (_, _, cookie) = ask(server, "/one", "").await;
    assert_eq!(ask(server, "/two", &cookie).await.1, "2");
    assert_eq!(
        ask(server, "/three", &cookie).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn without_the_layer_a_handler_that_needs_it_is_500() {
    let app = Router::new()
        .route("/", get(async |_: Session| "never"))
        .route(
            "/maybe",
            get(async |session: Option<Session>| session.is_none().to_string()),
        );
    let browser = Browser::new(&app);
    assert_eq!(
        browser.get("/").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(browser.get("/maybe").await.text, "true");
}

#[tokio::test]
async fn a_hyper_service_finds_the_session_in_the_extensions() {
    async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let session = request.extensions().get::<Session>().unwrap();
        let sum = session.incr("n", 1).await.unwrap();
        Ok(Response::new(Full::from(sum.to_string())))
    }
    let bed = Bed::new();
    let service = bed.layer(web()).layer(tower::service_fn(hello));
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
    let (_, text, cookie) = ask(server, "/", "").await;
    assert_eq!(text, "1");
    assert_eq!(ask(server, "/", &cookie).await.1, "2");
}

/// A service that logs in whoever asks for a name, and otherwise says whether somebody is.
struct Door {
    sessions: Sessions,
}

#[tonic::async_trait]
impl Health for Door {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let internal = |error: SessionError| Status::unavailable(error.to_string());
        let session = request.extensions().get::<Session>().unwrap().clone();
        let name = request.into_inner().service;
        if !name.is_empty() {
            let ticket = self.sessions.begin_login(&name).await.map_err(internal)?;
            session.login(ticket).await.map_err(internal)?;
            if name == "failing" {
                return Err(Status::internal("after the login"));
            }
        }
        let user = session.user().await.map_err(internal)?;
        let status = if user.is_some() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(tonic::Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = tokio_stream_of_nothing::Nothing;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

mod tokio_stream_of_nothing {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures_util::Stream;
    use tonic::Status;
    use tonic_health::pb::HealthCheckResponse;

    pub(super) struct Nothing;

    impl Stream for Nothing {
        type Item = Result<HealthCheckResponse, Status>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(None)
        }
    }
}

#[tokio::test]
async fn a_grpc_client_carries_its_token_in_metadata() {
    let bed = Bed::new();
    let rule = SessionRule::new("grpc").unwrap();
    let rule = rule
        .with_header_transport(HeaderTransport::default())
        .unwrap();
    let routes = Routes::new()
        .grpc("/grpc.health.v1.Health/Check", rule.clone())
        .grpc("/grpc.health.v1.Health/Watch", rule.with_required_user());
    let layer = bed.layer(routes).with_respond(GrpcStatus);
    let door = HealthServer::new(Door {
        sessions: layer.handle(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().layer(layer).add_service(door);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let connect =
        tower::service_fn(
            move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) },
        );
    let endpoint = Endpoint::from_static("http://session.example");
    let mut client = HealthClient::new(endpoint.connect_with_connector(connect).await.unwrap());
    let call = |service: &str, token: Option<&str>| {
        let mut request = tonic::Request::new(HealthCheckRequest {
            service: service.into(),
        });
        if let Some(token) = token {
            request
                .metadata_mut()
                .insert("x-session", token.parse().unwrap());
        }
        request
    };

    let login = client.check(call("ada", None)).await.unwrap();
    let token = login.metadata().get("x-session-set").unwrap();
    let token = token.to_str().unwrap().to_owned();
    let known = client.check(call("", Some(&token))).await.unwrap();
    assert!(known.metadata().get("x-session-set").is_none());
    assert_eq!(known.into_inner().status(), ServingStatus::Serving);
    let unknown = client.check(call("", None)).await.unwrap();
    assert_eq!(unknown.into_inner().status(), ServingStatus::NotServing);

    let failed = client.check(call("failing", None)).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(
        failed.metadata().get("x-session-set").is_none(),
        "it did not log in"
    );

    let turned_away = client.watch(call("", None)).await.unwrap_err();
    assert_eq!(turned_away.code(), Code::Unauthenticated);
    let let_in = client.watch(call("", Some(&token))).await.unwrap_err();
    assert_eq!(let_in.code(), Code::Unimplemented);

    bed.backend.go_down();
    let outage = client.watch(call("", Some(&token))).await.unwrap_err();
    assert_eq!(outage.code(), Code::Unavailable);
}
