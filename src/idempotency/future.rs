//! The response future: reading the request, claiming its key, waiting for its answer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    admission::Admission,
    answer::{ResponseBody, mark_unrecorded},
    asker::Asker,
    conduct::Told,
    gather::Reading,
    judge::Answer,
    pending::{Claiming, Pending},
    problem::Problem,
    protocol::Record,
};
use crate::{body::RequestBody, respond::Respond};

pin_project! {
    /// The response of an [`Idempotency`](super::Idempotency) service.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it reads the request, it leaves nothing; while it claims the key, at most a
    /// claim that is taken back in the background. Dropped later, the handler goes on, and its
    /// answer is recorded for whoever asks next.
    pub struct ResponseFuture<S, Q, B, R>
    where
        S: Service<Request<RequestBody<Q>>>,
        Q: Body,
    {
        #[pin]
        state: State<S, Q, B, R>,
    }
}

pub(super) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// How far a response is.
    #[project = StateProjection]
    pub(super) enum State<S, Q, B, R>
    where
        S: Service<Request<RequestBody<Q>>>,
        Q: Body,
    {
        /// It is not the layer's business.
        Passing { #[pin] response: S::Future },
        /// The body is read.
        Reading { #[pin] body: Reading<Q>, pending: Option<Pending<S, R>> },
        /// The key is claimed.
        Claiming { admission: Waiting<Admission>, claiming: Option<Claiming<S, R>> },
        /// The handler runs, in a task of its own.
        Running { #[pin] told: oneshot::Receiver<Told<Answer<B, S::Error>>>, asker: Option<Asker<R>> },
        /// Another one does, and has the key.
        Awaiting { answer: Waiting<Option<Arc<Record>>>, asker: Asker<R> },
        /// The handler runs as if there were no rule.
        Bypassing { #[pin] response: S::Future },
        /// There is an answer.
        Answering { response: Option<Response<ResponseBody<B>>> },
    }
}

impl<S, Q, B, R> ResponseFuture<S, Q, B, R>
where
    S: Service<Request<RequestBody<Q>>>,
    Q: Body,
{
    pub(super) fn passing(response: S::Future) -> Self {
        Self {
            state: State::Passing { response },
        }
    }

    /// The request does not run.
    pub(super) fn answering(response: Response<ResponseBody<B>>) -> Self {
        Self {
            state: State::answering(response),
        }
    }

    pub(super) fn reading(pending: Pending<S, R>, body: Q) -> Self {
        let shape = pending.rule.shape();
        let body = Reading::new(body, shape.body_limit, shape.body_timeout);
        Self {
            state: State::Reading {
                body,
                pending: Some(pending),
            },
        }
    }
}

impl<S, Q, B, R> Future for ResponseFuture<S, Q, B, R>
where
    S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body<Data = Bytes> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    R: Respond<B>,
{
    type Output = Result<Response<ResponseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Passing { response } => {
                    let response = ready!(response.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::passed)));
                }
                StateProjection::Reading { body, pending } => {
                    let read = ready!(body.poll(cx));
                    match pending.take() {
                        Some(pending) => pending.claim(read),
                        None => return Poll::Pending,
                    }
                }
                StateProjection::Claiming {
                    admission,
                    claiming,
                } => {
                    let admission = ready!(admission.as_mut().poll(cx));
                    match claiming.take() {
                        Some(claiming) => claiming.proceed(admission),
                        None => return Poll::Pending,
                    }
                }
                StateProjection::Running { told, asker } => {
                    let told = ready!(told.poll(cx)).ok();
                    let Some(asker) = asker.take() else {
                        return Poll::Pending;
                    };
                    if let Some(answer) = asker.hear(told) {
                        return Poll::Ready(answer);
                    }
                    State::Awaiting {
                        answer: asker.await_answer(),
                        asker,
                    }
                }
                StateProjection::Awaiting { answer, asker } => {
                    let replayed = match ready!(answer.as_mut().poll(cx)) {
                        Some(record) => asker.replay(&record),
                        None => Err(Problem::in_progress()),
                    };
                    State::answering(replayed.unwrap_or_else(|problem| asker.reject(problem)))
                }
                StateProjection::Bypassing { response } => {
                    let mut response = ready!(response.poll(cx))?;
                    mark_unrecorded(&mut response);
                    return Poll::Ready(Ok(response.map(ResponseBody::passed)));
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

impl<S, Q, B, R> State<S, Q, B, R>
where
    S: Service<Request<RequestBody<Q>>>,
    Q: Body,
{
    pub(super) fn answering(response: Response<ResponseBody<B>>) -> Self {
        Self::Answering {
            response: Some(response),
        }
    }
}

impl<S, Q, B, R> fmt::Debug for ResponseFuture<S, Q, B, R>
where
    S: Service<Request<RequestBody<Q>>>,
    Q: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
