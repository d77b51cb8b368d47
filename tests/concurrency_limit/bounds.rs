//! What axum and tonic need of the types, and what a request costs that no rule names.

use std::{
    convert::Infallible,
    future::{Future as _, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use axum::body::Body;
use http::{Method, Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    concurrency_limit::{
        ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimitRule, ResponseBody,
    },
    policy::Routes,
};

use crate::{endless::rule, http_client::request};

type Inner = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Future = <ConcurrencyLimit<Inner> as Service<Request<Body>>>::Future;

#[test]
fn layer_service_future_and_body_are_as_free_as_axum_and_tonic_need() {
    fn free<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn sendable<T: Send + 'static>() {}
    free::<ConcurrencyLimitLayer>();
    free::<ConcurrencyLimit<Inner>>();
    free::<ConcurrencyLimitRule>();
    sendable::<Future>();
    sendable::<ResponseBody<Body>>();
}

#[test]
fn the_error_is_the_inner_services() {
    fn same<E, S: Service<Request<Body>, Error = E>>() {}
    same::<Infallible, ConcurrencyLimit<Inner>>();
}

#[test]
fn a_request_that_no_rule_names_allocates_nothing() {
    let routes = Routes::new()
        .post("/login", rule(1))
        .any("/api/{*rest}", rule(1));
    let layer = ConcurrencyLimitLayer::new(MemoryBackend::new(), routes).unwrap();
    let mut service = layer.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let request = request(Method::GET, "/users/7");
    let counted = allocation_counter::measure(|| {
        let mut response = pin!(service.call(request));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut cx) else {
            panic!("nothing to wait for")
        };
        std::mem::forget(response);
    });
    assert_eq!(counted.count_total, 0);
}
