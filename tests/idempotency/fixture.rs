//! A service behind the layer, and requests to it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{body::Body, response::Response};
use http::Request;
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _, util::BoxCloneService};
use tower_stash::{
    backend::KeyValue,
    idempotency::{IdempotencyLayer, IdempotencyRule, Recovery, RequestBody},
    policy::{KeyExtractor as _, header},
};

/// A service that answers by a function, behind the layer.
#[derive(Clone)]
pub(crate) struct Bed {
    service: BoxCloneService<Request<Body>, Response, Infallible>,
    pub(crate) layer: IdempotencyLayer,
    runs: Arc<AtomicUsize>,
}

pub(crate) fn rule() -> IdempotencyRule {
    IdempotencyRule::new("orders", Recovery::ReExecute).unwrap()
}

impl Bed {
    /// The handler, protected by this rule; keys belong to who `x-user` says.
    pub(crate) fn new<F>(
        backend: impl KeyValue,
        rule: IdempotencyRule,
        handler: impl Fn(Request<RequestBody<Body>>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let layer = IdempotencyLayer::new(backend, header("x-user").or_shared(), rule).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let service = tower::service_fn(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let service = layer.layer(service);
        let service = service.map_response(|response: http::Response<_>| response.map(Body::new));
        Self {
            service: BoxCloneService::new(service),
            layer,
            runs,
        }
    }

    /// How often the handler began.
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.service.clone().oneshot(request).await.unwrap();
        Answer::read(response).await
    }

    /// POST /orders with this key and body.
    pub(crate) async fn post(&self, key: &str, body: &'static str) -> Answer {
        self.send(post(key, body)).await
    }
}

pub(crate) fn post(key: &str, body: &'static str) -> Request<Body> {
    Request::post("/orders")
        .header("idempotency-key", key)
        .body(Body::from(body))
        .unwrap()
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: String,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self { head, body }
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.head.headers.contains_key("idempotent-replayed")
    }

    /// The last word of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let problem = problem["type"].as_str().unwrap();
        problem.rsplit('#').next().unwrap().to_owned()
    }
}
