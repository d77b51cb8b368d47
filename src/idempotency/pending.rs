//! What is done between the states of a response future.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    admission::Admission,
    answer::{RequestBody, ResponseBody, StoredAnswer},
    conduct::{Run, Told},
    engine::Claim,
    future::Waiting,
    handler,
    intake::{IdempotencyKey, is_one_message},
    judge::{Answer, judge},
    problem::Problem,
    protocol::{Fingerprint, Record},
    rule::{IdempotencyRule, InProgress, Recovery},
    shared::Shared,
    tally::Tally,
};
use crate::{
    excerpt::Excerpt,
    grpc::is_grpc,
    key::{Key, KeyParts},
    observe::in_current_span,
    respond::Respond,
};

/// A request that is to run once, without its body.
pub(super) struct Pending<S, R> {
    pub(super) ready: S,
    pub(super) parts: Parts,
    pub(super) rule: IdempotencyRule,
    pub(super) key: IdempotencyKey,
    pub(super) scope: KeyParts,
    pub(super) shared: Arc<Shared>,
    pub(super) respond: Arc<R>,
}

/// A request that was read, and whose key is being claimed.
pub(super) struct Claiming<S, R> {
    pending: Pending<S, R>,
    data: Bytes,
    trailers: Option<HeaderMap>,
    key: Key,
    fingerprint: Fingerprint,
}

/// What is kept of a request that has gone into its handler, to answer it.
pub(super) struct Asker<R> {
    excerpt: Excerpt,
    rule: IdempotencyRule,
    shared: Arc<Shared>,
    respond: Arc<R>,
    key: Key,
    fingerprint: Fingerprint,
}

/// What follows when the body was read.
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, and a box is an allocation for each"
)]
pub(super) enum Begun<S, B, R> {
    /// The key is claimed.
    Claim(Waiting<Admission>, Claiming<S, R>),
    Answer(Response<ResponseBody<B>>),
}

/// What follows an admission.
pub(super) enum Next<F, B, E, R> {
    /// The handler runs.
    Wait {
        answer: oneshot::Receiver<Told<Answer<B, E>>>,
        asker: Asker<R>,
    },
    /// It runs as if there were no rule.
    Bypass {
        response: F,
    },
    Answer(Response<ResponseBody<B>>),
}

impl<S, R> Pending<S, R> {
    /// Claims the key, or says why this request has none to claim.
    pub(super) fn claim<B>(
        self,
        read: Result<(Bytes, Option<HeaderMap>), Problem>,
    ) -> Begun<S, B, R>
    where
        R: Respond<B>,
    {
        let (data, trailers) = match read {
            Ok((data, _)) if is_grpc(&self.parts.headers) && !is_one_message(&data) => {
                return Begun::Answer(self.reject(Problem::Streaming));
            }
            Ok(body) => body,
            Err(problem) => return Begun::Answer(self.reject(problem)),
        };
        let shape = self.rule.shape();
        let key = self.shared.key(&self.scope, self.key.as_str());
        let fingerprint = shape.recipe.fingerprint(
            &self.shared.core.digester,
            &self.scope,
            &self.key,
            &self.parts,
            &data,
        );
        let (desk, rule) = (self.shared.core.desk.clone(), self.rule.clone());
        let claimed = key.clone();
        let admission =
            Box::pin(async move { desk.admit(&claimed, &fingerprint, rule.shape()).await });
        let claiming = Claiming {
            pending: self,
            data,
            trailers,
            key,
            fingerprint,
        };
        Begun::Claim(admission, claiming)
    }

    fn reject<B>(&self, problem: Problem) -> Response<ResponseBody<B>>
    where
        R: Respond<B>,
    {
        Tally::of_problem(&problem).record(&self.rule);
        answer(
            problem,
            &self.rule,
            &self.shared,
            &*self.respond,
            &self.parts,
        )
    }
}

impl<S, R> Claiming<S, R> {
    /// Does what was decided on the claim.
    pub(super) fn proceed<Q, B>(self, admission: Admission) -> Next<S::Future, B, S::Error, R>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Body<Data = Bytes> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        R: Respond<B>,
    {
        match admission {
            Admission::Run(claim) => self.run(&claim),
            Admission::Replay(record) => {
                let Pending { parts, .. } = &self.pending;
                let excerpt = Excerpt::of(parts);
                let asker = self.asker(excerpt);
                let replayed = asker.replay(&record);
                let tally = replayed.as_ref().err();
                tally
                    .map_or(Tally::Replayed, Tally::of_problem)
                    .record(&asker.rule);
                Next::Answer(replayed.unwrap_or_else(|problem| asker.reject(problem)))
            }
            Admission::Reject(problem) => Next::Answer(self.pending.reject(problem)),
            Admission::Bypass => {
                Tally::Bypassed.record(&self.pending.rule);
                let body = RequestBody::buffered(self.data, self.trailers);
                let request = Request::from_parts(self.pending.parts, body);
                let mut ready = self.pending.ready;
                Next::Bypass {
                    response: ready.call(request),
                }
            }
        }
    }

    fn run<Q, B>(self, claim: &Arc<Claim>) -> Next<S::Future, B, S::Error, R>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Body<Data = Bytes> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        R: Respond<B>,
    {
        let Pending {
            ready,
            parts,
            rule,
            key,
            shared,
            respond,
            ..
        } = self.pending;
        let Some(run) = Run::begin(&shared.core, &rule, claim, key.as_str()) else {
            let problem = Problem::Unavailable;
            Tally::of_problem(&problem).record(&rule);
            return Next::Answer(answer(problem, &rule, &shared, &*respond, &parts));
        };
        let asker = Asker {
            excerpt: Excerpt::of(&parts),
            rule,
            shared,
            respond,
            key: self.key,
            fingerprint: self.fingerprint,
        };
        let limit = asker.rule.shape().answer_limit;
        let mut request =
            Request::from_parts(parts, RequestBody::buffered(self.data, self.trailers));
        request.extensions_mut().insert(run.execution.clone());
        let handler = handler::run(ready, request, limit);
        let (sender, answer) = oneshot::channel();
        tokio::spawn(in_current_span(run.conduct(handler, judge, sender)));
        Next::Wait { answer, asker }
    }

    fn asker(self, excerpt: Excerpt) -> Asker<R> {
        Asker {
            excerpt,
            rule: self.pending.rule,
            shared: self.pending.shared,
            respond: self.pending.respond,
            key: self.key,
            fingerprint: self.fingerprint,
        }
    }
}

impl<R> Asker<R> {
    /// The stored answer, or why it cannot be given.
    pub(super) fn replay<B>(&self, record: &Record) -> Result<Response<ResponseBody<B>>, Problem> {
        if record.flags.is_unknown {
            return Err(Problem::OutcomeUnknown);
        }
        let answer = self.shared.core.desk.store.sealing.open(&self.key, record);
        let Some(stored) = answer.and_then(StoredAnswer::decode) else {
            return Err(Problem::RecordUnreadable);
        };
        if record.flags.is_not_replayable {
            return Err(Problem::not_replayable(&stored));
        }
        let (mut head, replay) = stored.into_response().into_parts();
        if let Some(rewrite) = &self.rule.shape().on_replay {
            rewrite(&mut head);
        }
        Ok(Response::from_parts(head, replay.into_body()))
    }

    pub(super) fn reject<B>(&self, problem: Problem) -> Response<ResponseBody<B>>
    where
        R: Respond<B>,
    {
        let parts = self.excerpt.to_parts();
        answer(problem, &self.rule, &self.shared, &*self.respond, &parts)
    }

    pub(super) fn recovery(&self) -> Recovery {
        self.rule.shape().recovery
    }

    /// Waits for whoever has the key now, if the rule lets requests wait.
    pub(super) fn await_answer(&self) -> Waiting<Option<Arc<Record>>> {
        let desk = self.shared.core.desk.clone();
        let (key, fingerprint) = (self.key.clone(), self.fingerprint);
        let in_progress = self.rule.shape().in_progress;
        Box::pin(async move {
            let InProgress::Wait(budget) = in_progress else {
                return None;
            };
            desk.await_answer(&key, &fingerprint, budget).await
        })
    }
}

fn answer<B, R: Respond<B>>(
    problem: Problem,
    rule: &IdempotencyRule,
    shared: &Shared,
    respond: &R,
    parts: &Parts,
) -> Response<ResponseBody<B>> {
    let rejection = problem.rejection(rule, &shared.problem_base);
    rejection.answer(respond, parts).map(ResponseBody::passed)
}
