//! A request that is to run once, on its way to its handler: read, then claimed.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    admission::Admission,
    answer::ResponseBody,
    asker::Asker,
    conduct::Run,
    engine::Claim,
    future::State,
    handler,
    intake::{IdempotencyKey, is_one_message},
    judge::judge,
    problem::Problem,
    protocol::Fingerprint,
    rule::IdempotencyRule,
    shared::Shared,
    tally::Tally,
};
use crate::{
    body::RequestBody,
    excerpt::Excerpt,
    grpc::is_grpc,
    key::{Key, KeyParts},
    observe::in_current_span,
    respond::Respond,
};

/// A request that is to run once, while its body is read.
pub(super) struct Pending<S, R> {
    /// The inner service, which was polled ready for it.
    pub(super) ready: S,
    pub(super) parts: Parts,
    pub(super) rule: IdempotencyRule,
    pub(super) key: IdempotencyKey,
    pub(super) scope: KeyParts,
    pub(super) shared: Arc<Shared>,
    pub(super) respond: Arc<R>,
}

/// The same when it was read, while its key is claimed.
pub(super) struct Claiming<S, R> {
    pending: Pending<S, R>,
    data: Bytes,
    trailers: Option<HeaderMap>,
    key: Key,
    fingerprint: Fingerprint,
}

impl<S, R> Pending<S, R> {
    /// Claims the key, or says why this request has none to claim.
    pub(super) fn claim<Q, B>(
        self,
        read: Result<(Bytes, Option<HeaderMap>), Problem>,
    ) -> State<S, Q, B, R>
    where
        S: Service<Request<RequestBody<Q>>>,
        Q: Body,
        R: Respond<B>,
    {
        let (data, trailers) = match read {
            Ok((data, _)) if is_grpc(&self.parts.headers) && !is_one_message(&data) => {
                return State::answering(self.reject(Problem::Streaming));
            }
            Ok(body) => body,
            Err(problem) => return State::answering(self.reject(problem)),
        };
        let key = self.shared.key(&self.scope, self.key.as_str());
        let fingerprint = self.rule.shape().recipe.fingerprint(
            &self.shared.core.digester,
            &self.scope,
            &self.key,
            &self.parts,
            &data,
        );
        let (shared, rule) = (Arc::clone(&self.shared), self.rule.clone());
        let claimed = key.clone();
        let admission = Box::pin(async move {
            let core = &shared.core;
            core.admit(&claimed, &fingerprint, rule.shape()).await
        });
        let claiming = Claiming {
            pending: self,
            data,
            trailers,
            key,
            fingerprint,
        };
        State::Claiming {
            admission,
            claiming: Some(claiming),
        }
    }

    fn reject<B>(&self, problem: Problem) -> Response<ResponseBody<B>>
    where
        R: Respond<B>,
    {
        Tally::of_problem(&problem).record(&self.rule);
        self.shared
            .rejection(problem, &self.rule, &*self.respond, &self.parts)
    }
}

impl<S, R> Claiming<S, R> {
    /// Does what was decided on the claim.
    pub(super) fn proceed<Q, B>(self, admission: Admission) -> State<S, Q, B, R>
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
                let Pending { shared, rule, .. } = &self.pending;
                State::answering(match shared.replay(&self.key, &record, rule) {
                    Ok(response) => {
                        Tally::Replayed.record(rule);
                        response
                    }
                    Err(problem) => self.pending.reject(problem),
                })
            }
            Admission::Reject(problem) => State::answering(self.pending.reject(problem)),
            Admission::Bypass => {
                Tally::Bypassed.record(&self.pending.rule);
                let (mut ready, request, _) = self.into_request();
                let response = ready.call(request);
                State::Bypassing { response }
            }
        }
    }

    fn run<Q, B>(self, claim: &Arc<Claim>) -> State<S, Q, B, R>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Body<Data = Bytes> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        R: Respond<B>,
    {
        let Pending {
            shared, rule, key, ..
        } = &self.pending;
        let Some(run) = Run::begin(&shared.core, rule, claim, key.as_str()) else {
            return State::answering(self.pending.reject(Problem::Unavailable));
        };
        let (ready, mut request, asker) = self.into_request();
        request.extensions_mut().insert(run.execution.clone());
        let handler = handler::run(ready, request, asker.rule.shape().answer_limit);
        let (sender, told) = oneshot::channel();
        tokio::spawn(in_current_span(run.conduct(handler, judge, sender)));
        State::Running {
            told,
            asker: Some(asker),
        }
    }

    /// The service that is ready for the request, the request as its handler gets it, and what is
    /// kept to answer it.
    fn into_request<Q>(self) -> (S, Request<RequestBody<Q>>, Asker<R>) {
        let Pending {
            ready,
            parts,
            rule,
            shared,
            respond,
            ..
        } = self.pending;
        let asker = Asker {
            excerpt: Excerpt::of(&parts),
            rule,
            shared,
            respond,
            key: self.key,
            fingerprint: self.fingerprint,
        };
        let body = RequestBody::buffered(self.data, self.trailers);
        (ready, Request::from_parts(parts, body), asker)
    }
}
