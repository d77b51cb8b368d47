//! The servers that the browser talks to: several host names on one port, over TLS.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header, uri::Authority};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceExt as _, service_fn};

use crate::{log::Log, trial::Result};

pub(crate) use self::{
    gate::Gate,
    identity::Identity,
    port::Port,
    puppet::{html, puppet, setting},
    shop::Shop,
};

mod checkout;
mod gate;
mod identity;
mod live;
mod port;
mod puppet;
mod shop;

/// The host of the application.
pub(crate) const APP: &str = "app.shop.test";
/// A sibling under the same registrable domain, in the hands of somebody else.
pub(crate) const EVIL: &str = "evil.shop.test";
/// Another site.
pub(crate) const OTHER: &str = "other.test";
pub(crate) const HOSTS: [&str; 3] = [APP, EVIL, OTHER];

/// A listening server, and all it was asked. Dropping it closes the listener.
#[derive(Debug)]
pub(crate) struct Site {
    port: u16,
    exchanges: Arc<Log<Exchange>>,
    listening: JoinHandle<()>,
}

impl Site {
    /// Serves the hosts' routers on a port.
    pub(crate) fn start(
        identity: &Identity,
        port: Port,
        hosts: impl IntoIterator<Item = (&'static str, Router)>,
    ) -> Self {
        let (listener, port) = port.into_parts();
        let exchanges = Arc::new(Log::default());
        let server = Server {
            hosts: hosts.into_iter().collect(),
            exchanges: Arc::clone(&exchanges),
        };
        let listening = tokio::spawn(listen(listener, identity.acceptor(), Arc::new(server)));
        Self {
            port,
            exchanges,
            listening,
        }
    }

    /// The address of a page.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// The address of a WebSocket.
    pub(crate) fn socket_url(&self, host: &str, path: &str) -> String {
        format!("wss://{host}:{}{path}", self.port)
    }

    /// The address at which a [`puppet`] sets cookies.
    pub(crate) fn url_setting(&self, host: &str, lines: &[&str]) -> String {
        self.url(host, &puppet::path_setting(lines))
    }

    /// What was answered so far at `path`, oldest first.
    pub(crate) fn exchanges(&self, path: &str) -> Vec<Exchange> {
        self.exchanges
            .collect(|exchange| (exchange.path == path).then(|| exchange.clone()))
    }

    /// The newest exchange at `path`.
    pub(crate) fn last(&self, path: &str) -> Result<Exchange> {
        let last = self.exchanges(path).pop();
        last.ok_or_else(|| format!("nobody asked for {path}").into())
    }

    /// Waits until `path` was answered.
    pub(crate) async fn answered(&self, path: &str) -> Result<Exchange> {
        self.exchanges
            .find(&format!("a request of {path}"), 0, |exchange| {
                (exchange.path == path).then(|| exchange.clone())
            })
            .await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A request, and the head of its response.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) asked: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) answered: HeaderMap,
}

impl Exchange {
    /// A header of the request, or `-`.
    pub(crate) fn asked(&self, name: &str) -> &str {
        let value = self.asked.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("-")
    }

    /// The page's origin without its port, or `-`.
    pub(crate) fn origin(&self) -> &str {
        let origin = self.asked("origin");
        match origin.rsplit_once(':') {
            Some((without, port)) if port.parse::<u16>().is_ok() => without,
            _ => origin,
        }
    }

    /// The cookies that came, as `name=value`, in order.
    pub(crate) fn cookies(&self) -> Vec<String> {
        let fields = self.asked.get_all(header::COOKIE).into_iter();
        fields
            .map(|field| String::from_utf8_lossy(field.as_bytes()))
            .flat_map(|field| field.split("; ").map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// Whether the cookie `name=value` came.
    pub(crate) fn has_cookie(&self, pair: &str) -> bool {
        self.cookies().iter().any(|cookie| cookie == pair)
    }

    /// The `Set-Cookie` fields of the response.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        let fields = self.answered.get_all(header::SET_COOKIE).into_iter();
        fields.filter_map(|field| field.to_str().ok()).collect()
    }

    /// How many `Cookie` fields the cookies came in.
    pub(crate) fn cookie_fields(&self) -> usize {
        self.asked.get_all(header::COOKIE).iter().count()
    }
}

#[derive(Debug)]
struct Server {
    hosts: HashMap<&'static str, Router>,
    exchanges: Arc<Log<Exchange>>,
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let host = host_of(&request);
        let Some(router) = self.hosts.get(host.as_str()) else {
            return not_found();
        };
        let (parts, body) = request.into_parts();
        let mut exchange = Exchange {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            version: parts.version,
            asked: parts.headers.clone(),
            status: StatusCode::OK,
            answered: HeaderMap::new(),
        };
        let Ok(response) = router
            .clone()
            .oneshot(Request::from_parts(parts, body))
            .await;
        exchange.status = response.status();
        exchange.answered = response.headers().clone();
        self.exchanges.push(exchange);
        response
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&server)));
    }
}

/// The browser opens connections that it then does not use; how such a one ends is of no interest.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, server: Arc<Server>) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request: Request<_>| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request.map(Body::new)).await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
}

/// The name without the port: HTTP/2 has it in the target, HTTP/1.1 in a field.
fn host_of(request: &Request<Body>) -> String {
    let field = request.headers().get(header::HOST);
    let field = field.and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(Authority::as_str);
    let authority = authority.or(field).unwrap_or_default();
    authority.split(':').next().unwrap_or_default().to_owned()
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
