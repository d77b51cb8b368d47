//! The response future: the inner service's response, held back until what it changed is written.

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

use super::{admission::Admission, answer::HeldResponse, job::Job, settle::Settled, visit::Visit};
use crate::respond::Respond;

pin_project! {
    /// The response of a [`SessionService`](super::SessionService).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the inner service has answered, nothing that was staged is written; dropped
    /// after that, all of it is.
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
        /// It is not the layer's business.
        Passing { #[pin] response: S::Future },
        /// Whether a user is logged in is looked up before the request may run.
        Checking { job: Job<Admission>, waiting: Option<Waiting<S, Request<RequestBody>, R>> },
        /// The request runs.
        Serving { #[pin] response: S::Future, visit: Arc<Visit>, respond: Arc<R> },
        /// It has been answered; what changed is being written.
        Settling { job: Job<Settled>, held: Option<HeldResponse<B, R>> },
        /// There is an answer.
        Answering { response: Option<Response<B>> },
    }
}

/// What is needed once it is known whether the request may run.
struct Waiting<S, Q, R> {
    visit: Arc<Visit>,
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
            state: State::Passing { response },
        }
    }

    pub(super) fn serving(response: S::Future, visit: Arc<Visit>, respond: Arc<R>) -> Self {
        Self {
            state: State::Serving {
                response,
                visit,
                respond,
            },
        }
    }

    /// The request does not run.
    pub(super) fn answering(response: Response<B>) -> Self {
        Self {
            state: State::Answering {
                response: Some(response),
            },
        }
    }

    pub(super) fn checking(
        visit: Arc<Visit>,
        ready: S,
        request: Request<RequestBody>,
        respond: Arc<R>,
    ) -> Self {
        let job = Job::inline(Admission::of(Arc::clone(&visit)));
        let waiting = Some(Waiting {
            visit,
            ready,
            request,
            respond,
        });
        Self {
            state: State::Checking { job, waiting },
        }
    }
}

impl<S, RequestBody, B, R> Future for ResponseFuture<S, RequestBody, B, R>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    R: Respond<B>,
{
    type Output = Result<Response<B>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Passing { response } => return response.poll(cx),
                StateProjection::Checking { job, waiting } => {
                    let admission = ready!(Pin::new(job).poll(cx));
                    match (admission, waiting.take()) {
                        (Some(admission), Some(waiting)) => waiting.proceed(admission),
                        _ => return Poll::Pending,
                    }
                }
                StateProjection::Serving {
                    response,
                    visit,
                    respond,
                } => {
                    let response = ready!(response.poll(cx))?;
                    let (visit, respond) = (Arc::clone(visit), Arc::clone(respond));
                    let (held, job) = HeldResponse::hold(visit, respond, response);
                    State::Settling {
                        job,
                        held: Some(held),
                    }
                }
                StateProjection::Settling { job, held } => {
                    let settled = ready!(Pin::new(job).poll(cx));
                    match held.take() {
                        Some(held) => State::Answering {
                            response: Some(held.release(settled)),
                        },
                        None => return Poll::Pending,
                    }
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
    fn proceed<B>(mut self, admission: Admission) -> State<S, RequestBody, B, R>
    where
        R: Respond<B>,
    {
        match admission.rejection(&self.visit) {
            None => State::Serving {
                response: self.ready.call(self.request),
                visit: self.visit,
                respond: self.respond,
            },
            Some(rejection) => {
                let (request, _) = self.request.into_parts();
                let response = rejection.answer(&*self.respond, &request);
                State::Answering {
                    response: Some(self.visit.mark(response)),
                }
            }
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
