//! A plain HTTP client, and a request that goes straight into a service.

use std::net::SocketAddr;

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("a readable header");
        assert!(values.next().is_none(), "{name} is there twice");
        Some(value)
    }
}

/// Sends a GET over a socket.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Answer {
    send(Request::get(format!("http://{server}{path}"))).await
}

/// Sends a request without a body over a socket.
pub(crate) async fn send(request: http::request::Builder) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .expect("a valid request");
    let response = client.request(request).await.expect("the server answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("text");
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// A request without a body, for calling a service directly.
pub(crate) fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .expect("a valid request")
}

/// The whole text of a response.
pub(crate) async fn text(response: Response<Body>) -> String {
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}
