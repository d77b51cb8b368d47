//! The response future: asking, then serving or answering.

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

use super::{
    Permit,
    engine::{Answer, Answers, Asking, Engine, Taken, Verdict},
    rule::CountIf,
    teller::Teller,
};
use crate::respond::Respond;

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
        Asking { asking: Asking, waiting: Option<Waiting<S, Request<RequestBody>, R>> },
        /// The request runs; its response will say where the limits stand.
        Serving { #[pin] response: S::Future, admitted: Option<Admitted> },
        /// The request does not run.
        Answering { response: Option<Response<ResponseBody>> },
    }
}

/// What is needed once the verdict is there.
pub(super) struct Waiting<S, Q, R> {
    pub(super) engine: Arc<Engine>,
    pub(super) teller: Teller,
    pub(super) ready: S,
    pub(super) request: Q,
    pub(super) respond: Arc<R>,
}

/// What is needed once the response is there.
struct Admitted {
    answers: Answers,
    teller: Teller,
    /// What is given back if the response does not count.
    reserved: Vec<(Arc<CountIf>, Arc<Taken>)>,
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

    pub(super) fn asking(asking: Asking, waiting: Waiting<S, Request<RequestBody>, R>) -> Self {
        let waiting = Some(waiting);
        Self {
            state: State::Asking { asking, waiting },
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
                StateProjection::Asking { asking, waiting } => {
                    let verdict = ready!(Pin::new(asking).poll(cx));
                    match (waiting.take(), verdict) {
                        (Some(waiting), Verdict::Admitted(answers)) => waiting.serve(answers),
                        (Some(waiting), Verdict::Denied(answer)) => waiting.reject(&answer),
                        (None, _) => return Poll::Pending,
                    }
                }
                StateProjection::Serving { response, admitted } => {
                    let response = ready!(response.poll(cx))?;
                    return Poll::Ready(Ok(match admitted.take() {
                        Some(admitted) => admitted.finish(response),
                        None => response,
                    }));
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
    fn serve<ResponseBody>(mut self, answers: Answers) -> State<S, RequestBody, ResponseBody, R> {
        let mut reserved = Vec::new();
        let mut permitted = Vec::new();
        for answer in answers.iter() {
            let rule = &answer.question.rule;
            if !rule.gives_back() {
                continue;
            }
            let Some(taken) = answer.taken(&self.engine).map(Arc::new) else {
                continue;
            };
            if let Some(count_if) = rule.count_if() {
                reserved.push((Arc::clone(count_if), Arc::clone(&taken)));
            }
            if rule.gives_permit() {
                permitted.push(taken);
            }
        }
        if !permitted.is_empty() {
            Permit::new(permitted).put_into(self.request.extensions_mut());
        }
        State::Serving {
            response: self.ready.call(self.request),
            admitted: Some(Admitted {
                answers,
                teller: self.teller,
                reserved,
            }),
        }
    }

    fn reject<ResponseBody>(self, answer: &Answer) -> State<S, RequestBody, ResponseBody, R>
    where
        R: Respond<ResponseBody>,
    {
        let (request, _) = self.request.into_parts();
        let response = self.teller.denial(answer, &*self.respond, &request);
        State::Answering {
            response: Some(response),
        }
    }
}

impl Admitted {
    /// The response, which says where the limits stand, once it is known whether it counts.
    fn finish<B>(self, response: Response<B>) -> Response<B> {
        let (mut head, body) = response.into_parts();
        for (counts, taken) in self.reserved {
            if !counts(&head) {
                taken.give_back();
            }
        }
        self.teller.tell_around(&mut head, self.answers.iter());
        Response::from_parts(head, body)
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
