//! Before a plain hyper server.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, PeerAddr, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

use crate::http_client::{get, send};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[tokio::test]
async fn a_hyper_server_is_limited_by_the_peer_it_names() {
    let quota = Quota::fixed(2, Duration::from_secs(60));
    let rule = RateLimitRule::new("hyper", peer_ip().or_reject(), [("minute", quota)]).unwrap();
    let limited = RateLimitLayer::new(MemoryBackend::new(), rule)
        .unwrap()
        .layer(tower::service_fn(hello));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.expect("a connection");
            let service = limited
                .clone()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    request
                });
            tokio::spawn(async move {
                let connection = auto::Builder::new(TokioExecutor::new());
                connection
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                    .await
            });
        }
    });

    assert_eq!(get(server, "/").await.body, "hello");
    assert_eq!(get(server, "/").await.status, StatusCode::OK);
    let denied = get(server, "/").await;
    assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        denied.header("ratelimit-policy"),
        Some("\"hyper.minute\";q=2;w=60")
    );
    let head = send(Request::head(format!("http://{server}/"))).await;
    assert_eq!((head.status, &*head.body), (denied.status, ""));
    assert_eq!(
        head.header("content-length"),
        denied.header("content-length")
    );
}
