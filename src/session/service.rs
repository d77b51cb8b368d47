//! The service: gives a request its session, and writes what becomes of it.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tower_service::Service;

use super::{
    Main, Session, future::ResponseFuture, outcome::Outcome, rejection, shared::Shared,
    visit::Visit,
};
use crate::{
    marks::SessionAccessed,
    observe::WarnSite,
    respond::{ProblemDetails, Respond},
};

/// A service whose requests have sessions; made by [`SessionLayer`](super::SessionLayer).
pub struct SessionService<S, M = Main, R = ProblemDetails> {
    inner: S,
    shared: Arc<Shared>,
    respond: Arc<R>,
    marker: PhantomData<fn() -> M>,
}

impl<S, M, R> SessionService<S, M, R> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, respond: Arc<R>) -> Self {
        Self {
            inner,
            shared,
            respond,
            marker: PhantomData,
        }
    }
}

impl<S: Clone, M, R> SessionService<S, M, R> {
    /// The inner service that was polled ready, with the permits it may hold; a clone, which is not
    /// ready, stays in its place.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, M: 'static, R> SessionService<S, M, R> {
    /// Gives a request its session; `None` if no rule is for it, or this layer has done so already,
    /// further outside.
    ///
    /// Another layer's session of the same marker is no reason to pass: its rule may ask for less.
    fn begin(&self, request: &mut Parts) -> Option<Arc<Visit>> {
        let rule = self.shared.policy.rule(request)?;
        let known = request.extensions.get::<Session<M>>();
        if known.is_some_and(|known| Arc::ptr_eq(&known.visit().shared, &self.shared)) {
            return None;
        }
        // Another session layer's mark is a mark for both.
        let outer = request.extensions.get::<SessionAccessed>().cloned();
        let is_marked = outer.is_some();
        let shared = Arc::clone(&self.shared);
        let visit = Arc::new(Visit::new(shared, rule, request, outer));
        if !is_marked {
            request.extensions.insert(visit.accessed());
        }
        let session = Session::<M>::new(Arc::clone(&visit));
        request.extensions.insert(session);
        Some(visit)
    }
}

impl<S, M, R, RequestBody, B> Service<Request<RequestBody>> for SessionService<S, M, R>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    M: 'static,
    R: Respond<B>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S, RequestBody, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let Some(visit) = self.begin(&mut parts) else {
            return ResponseFuture::passing(self.inner.call(Request::from_parts(parts, body)));
        };
        let respond = Arc::clone(&self.respond);
        if !visit.rule.family().is_same(&self.shared.family) {
            FOREIGN.warn(&"a policy gave a rule that is not of its layer's family");
            let rejection = rejection::foreign(&visit.rule);
            return ResponseFuture::answering(rejection.answer(&*respond, &parts));
        }
        if !visit.rule.route().admits(&parts) {
            Outcome::CrossSite.record(&visit.rule);
            let rejection = rejection::cross_site(&visit.rule);
            return ResponseFuture::answering(rejection.answer(&*respond, &parts));
        }
        if visit.rule.route().needs_user {
            let ready = self.take_ready();
            let request = Request::from_parts(parts, body);
            return ResponseFuture::checking(visit, ready, request, respond);
        }
        let response = self.inner.call(Request::from_parts(parts, body));
        ResponseFuture::serving(response, visit, respond)
    }
}

impl<S: Clone, M, R> Clone for SessionService<S, M, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
            marker: PhantomData,
        }
    }
}

impl<S: fmt::Debug, M, R> fmt::Debug for SessionService<S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Where a request got a rule that its layer cannot follow.
static FOREIGN: WarnSite = WarnSite::new("session: policy");
