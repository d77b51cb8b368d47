//! Policies, subjects and conditions where they stand: around services and in axum's routers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocations;
mod combining;
mod routes;
mod subjects;

use axum::{body::Body, extract::Request};
use http::request::Parts;

async fn ok() {}

fn request(method: &str, uri: &str) -> Request {
    let request = Request::builder().method(method).uri(uri);
    request.body(Body::empty()).unwrap()
}

fn parts(request: Request) -> Parts {
    request.into_parts().0
}
