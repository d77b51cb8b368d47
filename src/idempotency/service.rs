//! The service: sees whether a request is to run once, and reads what it needs of it.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{CONTENT_LENGTH, UPGRADE},
    request::Parts,
};
use http_body::Body;
use tower_service::Service;

use super::{
    answer::ResponseBody,
    execution::Execution,
    future::ResponseFuture,
    intake::IdempotencyKey,
    pending::Pending,
    problem::Problem,
    rule::{IdempotencyRule, KeyPresence, PROTECTABLE},
    shared::Shared,
    tally::Tally,
};
use crate::{
    body::RequestBody,
    key::KeyParts,
    observe::WarnSite,
    respond::{ProblemDetails, Respond},
};

/// A service whose requests run once; made by [`IdempotencyLayer`](super::IdempotencyLayer).
pub struct Idempotency<S, R = ProblemDetails> {
    inner: S,
    shared: Arc<Shared>,
    respond: Arc<R>,
}

/// What is to become of a request.
enum Call {
    /// It is not the layer's business.
    Pass,
    /// It is to run once.
    Protect(IdempotencyRule, IdempotencyKey, KeyParts),
    Reject(IdempotencyRule, Problem),
}

impl<S, R> Idempotency<S, R> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, respond: Arc<R>) -> Self {
        Self {
            inner,
            shared,
            respond,
        }
    }

    /// What is to become of a request with this head, and at least so many bytes.
    fn decide(&self, request: &Parts, length: u64) -> Call {
        let Some(rule) = self.shared.policy.rule(request) else {
            return Call::Pass;
        };
        let shape = rule.shape();
        if !shape.protects(&request.method) {
            if request.headers.contains_key(&shape.header) && PROTECTABLE.contains(&request.method)
            {
                UNPROTECTED.warn(&"a request with a key has a method that its rule leaves out; write with_methods(..)");
            }
            return Call::Pass;
        }
        if self.is_inside(request) {
            return Call::Pass;
        }
        let key = match shape.syntax.read(&request.headers, &shape.header) {
            Ok(Some(key)) => key,
            Ok(None) if shape.presence == KeyPresence::Optional => return Call::Pass,
            Ok(None) => return Call::Reject(rule, Problem::KeyMissing),
            Err(problem) => return Call::Reject(rule, Problem::KeyInvalid(problem.as_str())),
        };
        if let Some(check) = &shape.key_check
            && !check(key.as_str())
        {
            return Call::Reject(
                rule,
                Problem::KeyInvalid("it is not of the form that is wanted"),
            );
        }
        if asks_for_another_protocol(request) {
            return Call::Reject(rule, Problem::Streaming);
        }
        let length = declared_length(request).unwrap_or(length);
        if usize::try_from(length).map_or(true, |length| length > shape.body_limit) {
            return Call::Reject(rule, Problem::BodyTooLarge);
        }
        if self.shared.core.tracker.is_draining() {
            return Call::Reject(rule, Problem::Unavailable);
        }
        let Some(scope) = self.shared.scope(request) else {
            UNSCOPED.warn(&"a request does not say whose key it has; what tells it must be outside this layer");
            return Call::Reject(rule, Problem::ScopeMissing);
        };
        Call::Protect(rule, key, scope)
    }

    /// Whether this layer has claimed a key for this request already, further outside.
    fn is_inside(&self, request: &Parts) -> bool {
        let outer = request.extensions.get::<Execution>();
        outer.is_some_and(|outer| outer.is_of(&self.shared.core))
    }
}

impl<S: Clone, R> Idempotency<S, R> {
    /// The inner service that was polled ready, with the permits it may hold; a clone, which is not
    /// ready, stays in its place.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, R, Q, B> Service<Request<Q>> for Idempotency<S, R>
where
    S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body<Data = Bytes> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    R: Respond<B>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Q, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.decide(&parts, body.size_hint().lower()) {
            Call::Pass => {
                let request = Request::from_parts(parts, RequestBody::passed(body));
                ResponseFuture::passing(self.inner.call(request))
            }
            Call::Reject(rule, problem) => {
                // It is not called, so the permit that it may hold is free.
                drop(self.take_ready());
                Tally::of_problem(&problem).record(&rule);
                let shared = &self.shared;
                ResponseFuture::answering(shared.rejection(problem, &rule, &*self.respond, &parts))
            }
            Call::Protect(rule, key, scope) => {
                let pending = Pending {
                    ready: self.take_ready(),
                    parts,
                    rule,
                    key,
                    scope,
                    shared: Arc::clone(&self.shared),
                    respond: Arc::clone(&self.respond),
                };
                ResponseFuture::reading(pending, body)
            }
        }
    }
}

impl<S: Clone, R> Clone for Idempotency<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
        }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Idempotency<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Whether the request is to become something that is no request, such as a WebSocket. An offer of
/// HTTP/2, which some clients make with each request over HTTP/1.1, is none: a server may ignore it
/// (RFC 9110 §7.8), and those behind this layer do.
fn asks_for_another_protocol(request: &Parts) -> bool {
    let offers = request.headers.get_all(UPGRADE).iter();
    offers
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|protocol| !protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

fn declared_length(request: &Parts) -> Option<u64> {
    let length = request.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Where requests with a key run as if there were no rule.
static UNPROTECTED: WarnSite = WarnSite::new("idempotency: method");

/// Where nobody says whose a key is.
static UNSCOPED: WarnSite = WarnSite::new("idempotency: scope");
