//! The response future: asking for a slot, then serving or answering.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ConcurrencyLimitRule, Outage, Outcome,
    body::ResponseBody,
    rejection,
    slot::{Answer, Asking, Slot},
};
use crate::{
    backend::Hold,
    observe::WarnSite,
    respond::{Rejection, Respond},
};

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has a slot, the request did not run, and a slot that is on its way is
    /// released when it comes; dropped after that, the inner service's future is
    /// dropped and the slot released.
    pub struct ResponseFuture<S, RequestBody, B, R>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        state: State<S, RequestBody, B, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, RequestBody, B, R>
    where
        S: Service<Request<RequestBody>>,
    {
        /// The backend is asked; the request waits.
        Asking { asking: Asking, waiting: Option<Waiting<S, Request<RequestBody>, R>> },
        /// The request runs; its response will hold the slot, if it has one.
        Serving { #[pin] response: S::Future, slot: Option<Slot> },
        /// The request does not run.
        Answering { response: Option<Response<B>> },
    }
}

/// What is needed once it is known whether there is a slot.
struct Waiting<S, Q, R> {
    rule: ConcurrencyLimitRule,
    ready: S,
    request: Q,
    respond: Arc<R>,
}

impl<S, RequestBody, B, R> ResponseFuture<S, RequestBody, B, R>
where
    S: Service<Request<RequestBody>>,
{
    pub(super) fn passing(response: S::Future) -> Self {
        Self {
            state: State::Serving {
                response,
                slot: None,
            },
        }
    }

    pub(super) fn answering(response: Response<B>) -> Self {
        Self {
            state: State::Answering {
                response: Some(response),
            },
        }
    }

    pub(super) fn asking(
        asking: Asking,
        rule: ConcurrencyLimitRule,
        ready: S,
        request: Request<RequestBody>,
        respond: Arc<R>,
    ) -> Self {
        let waiting = Some(Waiting {
            rule,
            ready,
            request,
            respond,
        });
        Self {
            state: State::Asking { asking, waiting },
        }
    }
}

impl<S, RequestBody, B, R> Future for ResponseFuture<S, RequestBody, B, R>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    B: Body,
    R: Respond<B>,
{
    type Output = Result<Response<ResponseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Asking { asking, waiting } => {
                    let answer = ready!(Pin::new(asking).poll(cx));
                    match waiting.take() {
                        Some(waiting) => waiting.proceed(answer),
                        None => return Poll::Pending,
                    }
                }
                StateProjection::Serving { response, slot } => {
                    let response = ready!(response.poll(cx));
                    let slot = slot.take();
                    return Poll::Ready(
                        response.map(|response| response.map(|body| ResponseBody::new(body, slot))),
                    );
                }
                StateProjection::Answering { response } => match response.take() {
                    Some(response) => {
                        return Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, None))));
                    }
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
    /// Runs the request or answers it, as the backend and the rule say.
    fn proceed<B>(self, answer: Answer) -> State<S, RequestBody, B, R>
    where
        R: Respond<B>,
    {
        let rule = self.rule.clone();
        let Answer { hold, seat } = answer;
        match hold {
            Ok(Hold::Held { .. }) => {
                Outcome::Allowed.record(&rule);
                self.serve(seat.take())
            }
            Ok(Hold::Full { .. }) => {
                Outcome::Denied.record(&rule);
                self.reject(rejection::denied(&rule))
            }
            Err(error) => {
                Outcome::Outage.record(&rule);
                UNCOUNTED.warn(&error);
                match rule.outage() {
                    // It asks for its slot again when slots are renewed.
                    Outage::Allow => self.serve(seat.take()),
                    Outage::Deny => {
                        if error.may_have_applied() {
                            drop(seat.take());
                        }
                        self.reject(rejection::outage(&rule))
                    }
                }
            }
        }
    }

    fn serve<B>(mut self, slot: Slot) -> State<S, RequestBody, B, R> {
        State::Serving {
            response: self.ready.call(self.request),
            slot: Some(slot),
        }
    }

    fn reject<B>(self, rejection: Rejection) -> State<S, RequestBody, B, R>
    where
        R: Respond<B>,
    {
        let (request, _) = self.request.into_parts();
        State::Answering {
            response: Some(rejection.answer(&*self.respond, &request)),
        }
    }
}

impl<S, RequestBody, B, R> fmt::Debug for ResponseFuture<S, RequestBody, B, R>
where
    S: Service<Request<RequestBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Where requests go uncounted, or unserved, because the backend does not answer.
static UNCOUNTED: WarnSite = WarnSite::new("concurrency_limit: hold");
