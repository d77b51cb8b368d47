//! A caching reverse proxy before one origin, for clients of HTTP/1.1 and HTTP/2. With `--redis`, as
//! many of them as there are share what they cache.
//!
//! ```sh
//! cargo run --example caching_proxy --features full -- --origin http://127.0.0.1:8000 \
//!     [--listen 127.0.0.1:8080] [--profile compliance] [--redis redis://127.0.0.1:6379]
//! ```

use std::{env, error::Error, mem, net::SocketAddr, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, HOST, VIA},
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    signal::{self, unix::SignalKind},
    time::{sleep, timeout},
};
use tower::{BoxError, Layer as _, ServiceBuilder, service_fn};
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    cache::{CacheLayer, CacheRule, Profile, RequestBody},
};

type ResponseBody = UnsyncBoxBody<Bytes, hyper::Error>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin: Uri = option("--origin").ok_or("--origin is missing")?.parse()?;
    let origin = origin.into_parts().authority.ok_or("--origin is no URL")?;
    let client = Client::builder(TokioExecutor::new())
        // Origins that close idle connections do so later, most of them.
        .pool_idle_timeout(Duration::from_secs(3))
        .pool_timer(TokioTimer::new())
        .build_http();
    let forward = service_fn(move |request| forward(client.clone(), origin.clone(), request));

    let backend = match option("--redis") {
        Some(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        None => AnyBackend::new(MemoryBackend::new()),
    };
    let profile = match option("--profile").as_deref() {
        Some("compliance") => Profile::compliance(),
        _ => Profile::safe(),
    };
    let rule = CacheRule::new("proxy")?.with_profile(profile);
    let proxy = CacheLayer::new(backend, rule)?.layer(forward);

    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    let mut terminated = signal::unix::signal(SignalKind::terminate())?;
    let listener =
        TcpListener::bind(option("--listen").as_deref().unwrap_or("127.0.0.1:8080")).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminated.recv() => break,
            _ = signal::ctrl_c() => break,
        };
        let Ok((stream, client)) = accepted else {
            sleep(Duration::from_millis(10)).await; // no file handle is left, say
            continue;
        };
        let service = ServiceBuilder::new()
            .map_request(move |request| from_client(request, client))
            .service(proxy.clone());
        let connection = server
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        tokio::spawn(connections.watch(connection));
    }
    _ = timeout(Duration::from_secs(30), connections.shutdown()).await;
    Ok(())
}

fn option(name: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != name).nth(1)
}

/// The request without the connection it came on, and with what this proxy knows of the client,
/// whatever the client says.
fn from_client(mut request: Request<Incoming>, client: SocketAddr) -> Request<Incoming> {
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().map(Authority::as_str);
    let authority = authority.and_then(|host| host.parse().ok());
    let headers = request.headers_mut();
    drop_hop_by_hop(headers);
    let host = authority.or_else(|| headers.get(HOST).cloned());
    let known = [
        ("host", host.clone()),
        ("forwarded", None),
        ("x-forwarded-host", host),
        ("x-forwarded-proto", "http".parse().ok()),
        ("x-forwarded-for", client.ip().to_string().parse().ok()),
    ];
    for (name, value) in known {
        headers.remove(name);
        value.map(|value| headers.insert(name, value));
    }
    request
}

async fn forward(
    client: Client<HttpConnector, RequestBody<Incoming>>,
    origin: Authority,
    mut request: Request<RequestBody<Incoming>>,
) -> Result<Response<ResponseBody>, BoxError> {
    let mut url = mem::take(request.uri_mut()).into_parts();
    url.scheme = Some(Scheme::HTTP);
    url.authority = Some(origin);
    let Ok(url) = Uri::from_parts(url) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    headers.append(VIA, HeaderValue::from_static("1.1 proxy"));
    let Ok(mut response) = client.request(request).await else {
        return Ok(empty(StatusCode::BAD_GATEWAY));
    };
    drop_hop_by_hop(response.headers_mut());
    Ok(response.map(BodyExt::boxed_unsync))
}

/// Drops what is said to the next hop only (RFC 9110 §7.6.1).
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let listed: Vec<HeaderName> = names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in listed.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn empty(status: StatusCode) -> Response<ResponseBody> {
    let body = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

#[rustfmt::skip]
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
