//! What most tests of this folder need: a rule, a backend that is watched,
//! and a service behind them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::task::yield_now;
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};
use tower_stash::{
    backend::{MemoryBackend, Op},
    policy::{KeyExtractor as _, Policy, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule, RateLimiter},
    respond::Respond,
    testing::{FaultBackend, ManualClock},
};

use crate::http_client::request;

/// A rule for whoever `x-key` names, which has one limit, `minute`.
pub(crate) fn rule(name: &str, quota: Quota) -> RateLimitRule {
    rule_by("x-key", name, quota)
}

/// A rule for whoever this header names, which has one limit, `minute`.
pub(crate) fn rule_by(named_in: &'static str, name: &str, quota: Quota) -> RateLimitRule {
    RateLimitRule::new(name, header(named_in).or_reject(), [("minute", quota)]).unwrap()
}

/// A GET in this name.
pub(crate) fn keyed(key: &str) -> Request<Body> {
    with(request(Method::GET, "/"), "x-key", key)
}

/// The same request with one more header.
pub(crate) fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = HeaderValue::from_str(value).unwrap();
    request.headers_mut().insert(name, value);
    request
}

/// What a header of this name says, as a number.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// How many calls are left of the one limit that a response tells of.
pub(crate) fn left(response: &Response<Body>) -> u64 {
    let told = response.headers()["ratelimit"].to_str().unwrap();
    let (_, left) = told.split_once(";r=").unwrap();
    let digits = left.split(';').next().unwrap();
    digits.parse().unwrap()
}

/// A backend in memory that counts its calls and fails on demand, on a clock that stands still.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) backend: FaultBackend<MemoryBackend>,
    pub(crate) clock: ManualClock,
}

impl Store {
    /// One in this process.
    pub(crate) fn local() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryBackend::new().with_clock(clock.clone());
        let backend = FaultBackend::new(memory);
        Self { backend, clock }
    }

    /// One that seems to be reached over a network.
    pub(crate) fn remote() -> Self {
        let local = Self::local();
        Self {
            backend: local.backend.seen_as_remote(),
            ..local
        }
    }

    pub(crate) fn layer(&self, policy: impl Policy<RateLimitRule>) -> RateLimitLayer {
        RateLimitLayer::new(self.backend.clone(), policy).unwrap()
    }

    pub(crate) fn limiter(&self, rule: RateLimitRule) -> RateLimiter {
        RateLimiter::new(self.backend.clone(), rule).unwrap()
    }

    /// How often it was asked so far.
    pub(crate) fn asked(&self) -> u64 {
        self.backend.calls(Op::Acquire)
    }

    /// How often something was given back so far, once all that is under way has ended.
    pub(crate) async fn refunds(&self) -> u64 {
        settle().await;
        self.backend.calls(Op::Refund)
    }

    /// Moves its clock, and this process's with it, which the test has paused.
    pub(crate) async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
    }
}

/// Lets what was spawned run until it waits for time or has ended.
pub(crate) async fn settle() {
    for _ in 0..64 {
        yield_now().await;
    }
}

/// A service behind a layer.
#[derive(Clone)]
pub(crate) struct App {
    service: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
    ran: Arc<AtomicUsize>,
}

impl App {
    /// It answers with the status that a request has in `x-status`, and without one with 200.
    pub(crate) fn behind<R: Respond<Body>>(layer: &RateLimitLayer<R>) -> Self {
        Self::running(layer, async |request| {
            let mut response = Response::new(Body::from("hello"));
            if let Some(status) = request.headers().get("x-status") {
                *response.status_mut() = status.as_bytes().try_into().unwrap();
            }
            response
        })
    }

    /// It answers as this handler does.
    pub(crate) fn running<R, H, F>(layer: &RateLimitLayer<R>, handler: H) -> Self
    where
        R: Respond<Body>,
        H: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let ran = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ran);
        let inner = service_fn(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            let response = handler(request);
            async { Ok::<_, Infallible>(response.await) }
        });
        let service = BoxCloneSyncService::new(layer.layer(inner));
        Self { service, ran }
    }

    /// How many requests the service has seen.
    pub(crate) fn ran(&self) -> usize {
        self.ran.load(Ordering::Relaxed)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.service.clone().oneshot(request).await;
        response
    }

    /// The response to a GET in this name.
    pub(crate) async fn get(&self, key: &str) -> Response<Body> {
        self.send(keyed(key)).await
    }

    /// The status of the response to a GET in this name.
    pub(crate) async fn status(&self, key: &str) -> u16 {
        self.get(key).await.status().as_u16()
    }

    /// The statuses of so many GETs in this name, one after the other.
    pub(crate) async fn statuses(&self, key: &str, requests: usize) -> Vec<u16> {
        let mut statuses = Vec::with_capacity(requests);
        for _ in 0..requests {
            statuses.push(self.status(key).await);
        }
        statuses
    }
}
