//! The service: sees what a request is to the cache.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    answer::{Note, forwarded},
    ask::Ask,
    body::ResponseBody,
    call::Call,
    case::Case,
    future::{Handover, ResponseFuture},
    invalidation::Invalidation,
    outcome::CacheOutcome,
    semantics::status::Forward,
    shared::Shared,
    unary::Unary,
    visit::Visit,
};
use crate::body::RequestBody;

/// A service whose responses are stored; made by [`CacheLayer`](super::CacheLayer).
pub struct Cache<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Cache<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone> Cache<S> {
    /// The inner service that was polled ready, with the permits it may hold; a clone, which is not
    /// ready, stays in its place.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, Q, B> Service<Request<Q>> for Cache<S>
where
    S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body<Data = Bytes> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match Call::of(&self.shared, &mut parts, !body.is_end_stream()) {
            Call::Pass => {
                let request = Request::from_parts(parts, RequestBody::passed(body));
                ResponseFuture::passing(self.inner.call(request), None)
            }
            Call::Bypass(rule, bypass) => {
                let outcome = CacheOutcome::passed(bypass);
                let note = Note {
                    rule,
                    name: self.shared.settings.name.clone(),
                    status: forwarded(Forward::Bypass, outcome),
                    outcome,
                    is_counted: true,
                };
                let request = Request::from_parts(parts, RequestBody::passed(body));
                ResponseFuture::passing(self.inner.call(request), Some(note))
            }
            Call::Look(rule, url) => {
                let handover = Arc::<Handover>::default();
                let ask = Ask::new(rule, url, parts, &self.shared.core.digester);
                let visit = Visit {
                    inner: self.take_ready(),
                    is_ready: true,
                    case: Case {
                        shared: Arc::clone(&self.shared),
                        ask: Arc::new(ask),
                        has_client: true,
                    },
                    handover: Arc::clone(&handover),
                };
                ResponseFuture::visiting(Box::pin(visit.answer()), handover)
            }
            Call::Ask(rule, url) => {
                let handover = Arc::<Handover>::default();
                let unary = Unary {
                    inner: self.take_ready(),
                    rule,
                    url,
                    parts,
                    body,
                    shared: Arc::clone(&self.shared),
                    handover: Arc::clone(&handover),
                };
                ResponseFuture::visiting(Box::pin(unary.answer()), handover)
            }
            Call::Change(rule) => {
                let invalidation = Invalidation::new(rule, &parts, &self.shared);
                let request = Request::from_parts(parts, RequestBody::passed(body));
                let response = self.inner.call(request);
                let answer = Box::pin(invalidation.after(response));
                ResponseFuture::visiting(answer, Arc::default())
            }
        }
    }
}

impl<S: Clone> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
