//! A gRPC service with a limit for each client, and a client that reads when to come back.
//!
//! ```sh
//! cargo run --example rate_limit_tonic --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example rate_limit_tonic --features full
//! ```
//!
//! The service is gRPC's own health check, so that nothing has to be generated.

use std::{env, error::Error, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tonic::transport::{
    Endpoint, Server,
    server::{TcpConnectInfo, TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use tower::util::MapRequestLayer;
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    policy::{KeyExtractor as _, PeerAddr, Routes, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    respond::GrpcStatus,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match env::var("REDIS_URL") {
        Ok(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        Err(_) => AnyBackend::new(MemoryBackend::new()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, backend));
    call_until_denied(address).await
}

async fn serve(
    listener: TcpListener,
    backend: AnyBackend,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let five_in_ten_seconds = Quota::sliding(5, Duration::from_secs(10));
    let rule = RateLimitRule::new(
        "check",
        peer_ip().or_reject(),
        [("burst", five_in_ten_seconds)],
    )?;
    let methods = Routes::new().grpc("/grpc.health.v1.Health/Check", rule);
    let limits = RateLimitLayer::new(backend, methods)?.with_respond(GrpcStatus);

    let (_, health) = tonic_health::server::health_reporter();
    // The first layer is the outermost: it says who calls before the limits ask.
    let server = Server::builder()
        .layer(MapRequestLayer::new(with_peer))
        .layer(limits)
        .add_service(health);
    server
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

/// Tells the limits what tonic knows of the connection.
fn with_peer(mut request: http::Request<tonic::body::Body>) -> http::Request<tonic::body::Body> {
    let info = request.extensions().get::<TcpConnectInfo>();
    if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

async fn call_until_denied(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::try_from(format!("http://{address}"))?;
    let mut client = HealthClient::new(endpoint.connect().await?);
    loop {
        match client.check(HealthCheckRequest::default()).await {
            Ok(response) => {
                let limit = response.metadata().get("ratelimit");
                println!("served; ratelimit: {limit:?}");
            }
            Err(status) => {
                println!("{:?}: {}", status.code(), status.message());
                let retry = status
                    .get_details_retry_info()
                    .and_then(|info| info.retry_delay);
                println!("to be tried again in {retry:?}");
                return Ok(());
            }
        }
    }
}
