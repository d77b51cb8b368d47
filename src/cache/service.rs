//! The service: sees what a request is to the cache.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE},
    request::Parts,
};
use http_body::Body;
use tower_service::Service;

use super::{
    Bypass, CacheRule,
    answer::{Note, forwarded},
    ask::{self, Ask},
    body::ResponseBody,
    case::Case,
    future::{Handover, ResponseFuture},
    invalidation::Invalidation,
    outcome::CacheOutcome,
    semantics::{invalidate, status::Forward},
    shared::Shared,
    unary::{self, Unary},
    url::{Target, UrlKey},
    visit::Visit,
};
use crate::{body::RequestBody, grpc, key::Digester};

/// A service whose responses are stored; made by [`CacheLayer`](super::CacheLayer).
pub struct Cache<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What a request is to the cache.
enum Call {
    /// Not its business.
    Pass,
    /// The handler answers it, for this reason, which the client is told.
    Bypass(CacheRule, Bypass),
    /// It may be answered from the store.
    Look(CacheRule, UrlKey),
    /// It is a gRPC call, and may be answered from the store if it has one message.
    Ask(CacheRule, UrlKey),
    /// It may change what is stored.
    Change(CacheRule),
}

impl<S> Cache<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    fn decide(&self, request: &mut Parts, has_body: bool) -> Call {
        let method = request.method.clone();
        if method == Method::GET || method == Method::HEAD {
            let Some(rule) = self.shared.policy.rule(request) else {
                return Call::Pass;
            };
            return match keyed(&rule, request, has_body, &self.shared.core.digester) {
                Ok(url) => Call::Look(rule, url),
                Err(bypass) => Call::Bypass(rule, bypass),
            };
        }
        if invalidate::is_safe(&method) {
            return Call::Pass;
        }
        if method == Method::POST && grpc::is_grpc(&request.headers) {
            return self.decide_call(request);
        }
        // What is stored of its URL is what a GET is answered.
        request.method = Method::GET;
        let rule = self.shared.policy.rule(request);
        request.method = method;
        rule.map_or(Call::Pass, Call::Change)
    }
}

impl<S> Cache<S> {
    /// Whether a call changes anything is said by its trailers if at all, so none purges its URL,
    /// under which nothing is stored: what is known by messages is purged by tags.
    fn decide_call(&self, request: &Parts) -> Call {
        let rule = self.shared.policy.rule(request);
        let rule = rule.filter(|rule| rule.shape().grpc.is_some());
        let Some(rule) = rule.filter(|_| unary::is_call(&request.headers)) else {
            return Call::Pass;
        };
        match keyed_call(&rule, request, &self.shared.core.digester) {
            Ok(url) => Call::Ask(rule, url),
            Err(bypass) => Call::Bypass(rule, bypass),
        }
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
        match self.decide(&mut parts, !body.is_end_stream()) {
            Call::Pass => {
                let request = Request::from_parts(parts, RequestBody::passed(body));
                ResponseFuture::passing(self.inner.call(request), None)
            }
            Call::Bypass(rule, bypass) => {
                let outcome = CacheOutcome::passed(bypass);
                let note = Note {
                    rule,
                    name: self.shared.settings.name.clone(),
                    status: forwarded(Forward::Bypass, &outcome),
                    outcome,
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

/// What stands for the URL of a GET or HEAD, if it may be answered from the store.
pub(super) fn keyed(
    rule: &CacheRule,
    request: &Parts,
    has_body: bool,
    digester: &Digester,
) -> Result<UrlKey, Bypass> {
    let headers = &request.headers;
    if headers.contains_key(UPGRADE) {
        return Err(Bypass::Upgrade);
    }
    if has_body {
        return Err(Bypass::RequestBody);
    }
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(Bypass::Precondition);
    }
    url_of(rule, request, digester)
}

/// What stands for the URL of a gRPC call, if it may be answered from the store. What an answer says
/// of who may share it means nothing to those who write such services, so credentials pass.
fn keyed_call(rule: &CacheRule, request: &Parts, digester: &Digester) -> Result<UrlKey, Bypass> {
    if ask::has_credentials(rule.shape(), &request.headers) {
        return Err(Bypass::Credentials);
    }
    url_of(rule, request, digester)
}

fn url_of(rule: &CacheRule, request: &Parts, digester: &Digester) -> Result<UrlKey, Bypass> {
    let shape = rule.shape();
    let condition = shape.condition.as_ref();
    if condition.is_some_and(|condition| !condition.holds(request)) {
        return Err(Bypass::Condition);
    }
    let target = Target::of(request, shape)?;
    Ok(UrlKey::of(&target, digester))
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
