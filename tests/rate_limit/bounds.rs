//! What axum and tonic need of the types.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use tower::Service;
use tower_stash::rate_limit::{
    GrpcRefund, GrpcRefundBody, GrpcRefundLayer, RateLimit, RateLimitLayer, RateLimitRule,
};

type Inner = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Future = <RateLimit<Inner> as Service<Request<Body>>>::Future;

#[test]
fn layer_service_and_future_are_as_free_as_axum_and_tonic_need() {
    fn free<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + 'static>() {}
    free::<RateLimitLayer>();
    free::<RateLimit<Inner>>();
    free::<RateLimitRule>();
    sendable::<Future>();
    free::<GrpcRefundLayer>();
    free::<GrpcRefund<Inner>>();
    sendable::<GrpcRefundBody<Body>>();
}

#[test]
fn the_error_is_the_inner_services() {
    fn same<E, S: Service<Request<Body>, Error = E>>() {}
    same::<Infallible, RateLimit<Inner>>();
}
