//! Whatever a server writes as `grpc-status`, it is one of the 17 codes, and
//! its own where it is one.
#![no_main]

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{GrpcRefundLayer, Quota, RateLimitLayer, RateLimitRule},
    respond::{GrpcCode, GrpcStatus},
};

fuzz_target!(|status: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(status) else {
        return;
    };
    let seen = Arc::new(Mutex::new(None));
    let refunds = GrpcRefundLayer::new({
        let seen = Arc::clone(&seen);
        move |code| {
            *seen.lock().expect("no panic") = Some(code);
            false
        }
    });
    let service = refunds.layer(service_fn(move |_: Request<()>| {
        let mut response = Response::new(String::new());
        response.headers_mut().insert("grpc-status", value.clone());
        ready(Ok::<_, Infallible>(response))
    }));
    let rule = RateLimitRule::new(
        "calls",
        header("x-key").or_shared(),
        [("minute", Quota::per_minute(9))],
    );
    let rule = rule.expect("a rule").with_permit();
    let limits = RateLimitLayer::new(MemoryBackend::new(), rule).expect("a layer");
    let service = limits.with_respond(GrpcStatus).layer(service);
    drop(at_once(service.oneshot(Request::new(()))));

    let seen = seen.lock().expect("no panic").take();
    let code = seen.expect("a status in the head is the call's");
    let known = (0..=16_u8).find(|known| known.to_string().as_bytes() == status);
    assert!(code.as_u8() <= GrpcCode::UNAUTHENTICATED.as_u8());
    if let Some(known) = known {
        assert_eq!(code.as_u8(), known);
    }
});

/// The result of a future that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("memory never waits"),
    }
}
