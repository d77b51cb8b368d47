//! In the stacks that people build, over real sockets.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, OriginalUri, State},
    response::IntoResponse,
    routing::get,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CACHE_CONTROL};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::Layer as _;
use tower_stash::{
    backend::MemoryBackend,
    cache::{CacheLayer, CacheTags, RequestBody},
    policy::Routes,
};

use crate::fixture::rule;

fn layer() -> CacheLayer {
    CacheLayer::new(MemoryBackend::new(), rule()).unwrap()
}

const FRESH: [(http::HeaderName, &str); 1] = [(CACHE_CONTROL, "max-age=60")];

type Calls = Arc<AtomicUsize>;

async fn count(State(calls): State<Calls>) -> impl IntoResponse {
    let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
    (CacheTags::new(["pages"]), FRESH, format!("call {call}"))
}

/// An app on a socket.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    server
}

/// A service on a socket, as hyper serves it.
async fn serve_raw<F>(
    handler: impl Fn(Request<RequestBody<Incoming>>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let handler = tower::service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let service = layer().layer(handler);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                connection
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    server
}

async fn ask(server: SocketAddr, method: &str, path: &str) -> (http::response::Parts, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{server}{path}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.to_vec()).unwrap())
}

/// Until what was sent is also stored.
async fn stored(server: SocketAddr, path: &str) {
    for _ in 0..100 {
        let (head, _) = ask(server, "HEAD", path).await;
        if head.headers.get("age").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} is not stored");
}

#[tokio::test]
async fn around_nested_routers_urls_are_those_that_were_asked_for() {
    let inner = |name: &'static str| {
        Router::new().route(
            "/same",
            get(async move |OriginalUri(uri): OriginalUri| (FRESH, format!("{name} {uri}"))),
        )
    };
    let app = Router::new()
        .nest("/one", inner("one").layer(layer()))
        .nest("/two", inner("two"))
        .layer(layer());
    let server = serve(app).await;
    for path in ["/one/same", "/two/same"] {
        for _ in 0..2 {
            let (head, body) = ask(server, "GET", path).await;
            assert_eq!(head.status, 200);
            let name = path.split('/').nth(1).unwrap();
            assert_eq!(body, format!("{name} {path}"));
            stored(server, path).await;
        }
    }
}

#[tokio::test]
async fn one_layer_inside_two_nests_does_not_mix_them() {
    let cache = layer();
    let inner = |name: &'static str| {
        let routes = Router::new().route("/same", get(async move || (FRESH, name)));
        routes.layer(cache.clone())
    };
    let app = Router::new()
        .nest("/one", inner("one"))
        .nest("/two", inner("two"));
    let server = serve(app).await;
    for _ in 0..3 {
        assert_eq!(ask(server, "GET", "/one/same").await.1, "one");
        assert_eq!(ask(server, "GET", "/two/same").await.1, "two");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn head_over_a_socket_says_how_long_the_body_is() {
    let calls = Calls::default();
    let app = Router::new()
        .route("/a", get(count))
        .with_state(Arc::clone(&calls))
        .layer(layer());
    let server = serve(app).await;
    assert_eq!(ask(server, "GET", "/a").await.1, "call 1");
    stored(server, "/a").await;
    let (head, body) = ask(server, "HEAD", "/a").await;
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), &*body),
        ("6", "")
    );
    let (head, body) = ask(server, "GET", "/a").await;
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), &*body),
        ("6", "call 1")
    );
    assert_eq!(head.headers.get_all("date").iter().count(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn handlers_see_what_axum_tells_them() {
    let app = Router::new()
        .route(
            "/peer",
            get(
                async |ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap| {
                    assert!(peer.ip().is_loopback());
                    (FRESH, Json(headers.len() > 0))
                },
            ),
        )
        .layer(layer());
    let server = serve(app).await;
    let (head, body) = ask(server, "GET", "/peer").await;
    assert_eq!((head.status, &*body), (StatusCode::OK, "true"));
    stored(server, "/peer").await;
}

#[tokio::test]
async fn as_a_layer_of_some_routes_it_does_not_touch_others() {
    let calls = Calls::default();
    let app = Router::new()
        .route("/cached", get(count))
        .route_layer(
            CacheLayer::new(MemoryBackend::new(), Routes::new().get("/cached", rule())).unwrap(),
        )
        .route("/free", get(count))
        .with_state(calls);
    let server = serve(app).await;
    ask(server, "GET", "/cached").await;
    stored(server, "/cached").await;
    for _ in 0..2 {
        let (head, _) = ask(server, "GET", "/free").await;
        assert!(!head.headers.contains_key("cache-status"));
    }
    assert_eq!(ask(server, "GET", "/missing").await.0.status, 404);
}

#[tokio::test]
async fn a_connection_is_kept_alive_over_hits_and_misses() {
    let app = Router::new()
        .route("/a", get(count))
        .with_state(Calls::default())
        .layer(layer());
    let server = serve(app).await;
    let mut stream = TcpStream::connect(server).await.unwrap();
    for _ in 0..5 {
        let request = format!("GET /a HTTP/1.1\r\nhost: {server}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"call 1") {
            let mut some = [0; 1_000];
            let count = timeout(SOON, stream.read(&mut some))
                .await
                .unwrap()
                .unwrap();
            assert!(
                count > 0,
                "the connection is closed: {}",
                String::from_utf8_lossy(&read)
            );
            read.extend_from_slice(&some[..count]);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_first_bytes_reach_the_client_before_the_last_are_made() {
    let (feed, frames) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let frames = Arc::new(std::sync::Mutex::new(Some(frames)));
    let server = serve_raw(move |_| {
        let mut frames = frames.lock().unwrap().take().unwrap();
        let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
        let mut response = Response::new(Body::new(StreamBody::new(stream)));
        let fresh = HeaderValue::from_static("max-age=60");
        response.headers_mut().insert(CACHE_CONTROL, fresh);
        async move { response }
    })
    .await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{server}/a"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let mut body = timeout(SOON, client.request(request))
        .await
        .unwrap()
        .unwrap()
        .into_body();
    for text in ["first", "second"] {
        feed.send(Ok(Frame::data(Bytes::from(text)))).unwrap();
        let frame = timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(feed);
    assert!(timeout(SOON, body.frame()).await.unwrap().is_none());
    stored(server, "/a").await;
    assert_eq!(ask(server, "GET", "/a").await.1, "firstsecond");
}

#[tokio::test]
async fn trailers_pass_over_a_socket() {
    let server = serve_raw(|_| async {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(7))]);
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from("body"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(Body::new(body));
        let headers = response.headers_mut();
        headers.insert("trailer", HeaderValue::from_static("x-sum"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        response
    })
    .await;
    for is_http2 in [false, true] {
        let mut client = Client::builder(TokioExecutor::new());
        let client = client.http2_only(is_http2).build_http();
        let request = Request::get(format!("http://{server}/a"))
            .header("te", "trailers")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = client.request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7", "{is_http2}");
        assert_eq!(body.to_bytes(), "body");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_over_a_socket_is_not_whole_and_not_stored() {
    let calls = Calls::default();
    let server = serve_raw(move |_| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        let broken = [
            Ok(Frame::data(Bytes::from("ha"))),
            Err(std::io::Error::other("broken")),
        ];
        let whole = [
            Ok(Frame::data(Bytes::from("wh"))),
            Ok(Frame::data(Bytes::from("ole"))),
        ];
        let frames = if is_first { broken } else { whole };
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(Body::new(body));
        let fresh = HeaderValue::from_static("max-age=60");
        response.headers_mut().insert(CACHE_CONTROL, fresh);
        async move { response }
    })
    .await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{server}/a"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let failed = match client.request(request).await {
        Ok(response) => response.into_body().collect().await.is_err(),
        Err(_) => true,
    };
    assert!(failed, "the client sees that it is not whole");
    assert_eq!(ask(server, "GET", "/a").await.1, "whole");
}

#[tokio::test]
async fn events_go_through_one_by_one_and_are_not_kept() {
    let (feed, frames) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let frames = Arc::new(std::sync::Mutex::new(Some(frames)));
    let server = serve_raw(move |_| {
        let frames = frames.lock().unwrap().take();
        let body = frames.map_or_else(Body::empty, |mut frames| {
            let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
            Body::new(StreamBody::new(stream))
        });
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(
            "content-type",
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        async move { response }
    })
    .await;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{server}/a"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = timeout(SOON, client.request(request))
        .await
        .unwrap()
        .unwrap();
    let told = response.headers()["cache-status"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(told.ends_with("detail=event_stream"), "{told}");
    let mut body = response.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        feed.send(Ok(Frame::data(Bytes::from(event)))).unwrap();
        let frame = timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
}

#[tokio::test]
async fn a_connection_can_be_upgraded_through_the_cache() {
    let server = serve_raw(|mut request| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let mut word = [0; 4];
            io.read_exact(&mut word).await.unwrap();
            word.reverse();
            io.write_all(&word).await.unwrap();
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("echo"));
        response
    })
    .await;
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request = format!(
            "GET /a HTTP/1.1\r\nhost: {server}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(SOON, stream.read_u8()).await.unwrap().unwrap();
            head.push(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        stream.write_all(b"abcd").await.unwrap();
        let mut word = [0; 4];
        timeout(SOON, stream.read_exact(&mut word))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&word, b"dcba");
    }
}

const SOON: Duration = Duration::from_secs(20);
