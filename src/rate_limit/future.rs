//! The response future: deciding, then serving or answering.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{HeaderStyle, Outage, Outcome, RateLimitRule, rejection};
use crate::{
    backend::{BackendError, Call, Decision},
    observe::WarnSite,
    respond::{Rejection, Respond},
};

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the decision, the request did not run and may or may not be counted; dropped
    /// after it, the inner service's future is dropped and the request stays counted.
    pub struct ResponseFuture<S, RequestBody, ResponseBody, R>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        state: State<S, RequestBody, ResponseBody, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, RequestBody, ResponseBody, R>
    where
        S: Service<Request<RequestBody>>,
    {
        /// No rule applies.
        Passing { #[pin] response: S::Future },
        /// The backend is asked; the request waits.
        Asking { decision: Call<Decision>, waiting: Option<Waiting<S, Request<RequestBody>, R>> },
        /// The request runs; its response will say where the limits stand.
        Serving { #[pin] response: S::Future, standing: Option<Standing> },
        /// The request does not run.
        Answering { response: Option<Response<ResponseBody>> },
    }
}

/// What is needed once the decision is there.
struct Waiting<S, Q, R> {
    rule: RateLimitRule,
    headers: HeaderStyle,
    ready: S,
    request: Q,
    respond: Arc<R>,
}

/// Where a rule's limits stand.
struct Standing {
    rule: RateLimitRule,
    headers: HeaderStyle,
    decision: Decision,
}

impl<S, RequestBody, ResponseBody, R> ResponseFuture<S, RequestBody, ResponseBody, R>
where
    S: Service<Request<RequestBody>>,
{
    pub(super) fn passing(response: S::Future) -> Self {
        Self {
            state: State::Passing { response },
        }
    }

    pub(super) fn answering(response: Response<ResponseBody>) -> Self {
        Self {
            state: State::Answering {
                response: Some(response),
            },
        }
    }

    pub(super) fn asking(
        decision: Call<Decision>,
        rule: RateLimitRule,
        headers: HeaderStyle,
        ready: S,
        request: Request<RequestBody>,
        respond: Arc<R>,
    ) -> Self {
        let waiting = Some(Waiting {
            rule,
            headers,
            ready,
            request,
            respond,
        });
        Self {
            state: State::Asking { decision, waiting },
        }
    }
}

impl<S, RequestBody, ResponseBody, R> Future for ResponseFuture<S, RequestBody, ResponseBody, R>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    R: Respond<ResponseBody>,
{
    type Output = Result<Response<ResponseBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Passing { response } => return response.poll(cx),
                StateProjection::Asking { decision, waiting } => {
                    let decision = ready!(decision.as_mut().poll(cx));
                    match waiting.take() {
                        Some(waiting) => waiting.proceed(decision),
                        None => return Poll::Pending,
                    }
                }
                StateProjection::Serving { response, standing } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(standing) = standing.take() {
                        standing.tell(&mut response);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Answering { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    None => return Poll::Pending,
                },
            };
            state.set(next);
        }
    }
}

impl<S, RequestBody, R> Waiting<S, Request<RequestBody>, R>
where
    S: Service<Request<RequestBody>>,
{
    /// Runs the request or answers it, as was decided.
    fn proceed<ResponseBody>(
        self,
        decision: Result<Decision, BackendError>,
    ) -> State<S, RequestBody, ResponseBody, R>
    where
        R: Respond<ResponseBody>,
    {
        let rule = self.rule.clone();
        match decision {
            Ok(decision) if decision.admitted => {
                Outcome::Allowed.record(&rule);
                self.serve(Some(decision))
            }
            Ok(decision) => {
                Outcome::Denied.record(&rule);
                let rejection = rejection::denied(&rule, &decision);
                let standing = Standing {
                    rule: rule.clone(),
                    headers: self.headers,
                    decision,
                };
                self.reject(rejection, Some(standing))
            }
            Err(error) => {
                Outcome::Outage.record(&rule);
                UNCOUNTED.warn(&error);
                match rule.outage() {
                    Outage::Allow => self.serve(None),
                    Outage::Deny => self.reject(rejection::outage(&rule), None),
                }
            }
        }
    }

    fn serve<ResponseBody>(
        mut self,
        decision: Option<Decision>,
    ) -> State<S, RequestBody, ResponseBody, R> {
        let response = self.ready.call(self.request);
        let Self { rule, headers, .. } = self;
        let standing = decision.map(|decision| Standing {
            rule,
            headers,
            decision,
        });
        State::Serving { response, standing }
    }

    fn reject<ResponseBody>(
        self,
        rejection: Rejection,
        standing: Option<Standing>,
    ) -> State<S, RequestBody, ResponseBody, R>
    where
        R: Respond<ResponseBody>,
    {
        let (request, _) = self.request.into_parts();
        let mut response = rejection.answer(&*self.respond, &request);
        if let Some(standing) = standing {
            standing.tell(&mut response);
        }
        State::Answering {
            response: Some(response),
        }
    }
}

impl Standing {
    fn tell<B>(&self, response: &mut Response<B>) {
        self.headers
            .append(response.headers_mut(), &self.rule, &self.decision);
    }
}

impl<S, RequestBody, ResponseBody, R> fmt::Debug for ResponseFuture<S, RequestBody, ResponseBody, R>
where
    S: Service<Request<RequestBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Where requests go uncounted, or unserved, because the backend does not answer.
static UNCOUNTED: WarnSite = WarnSite::new("rate_limit: acquire");
