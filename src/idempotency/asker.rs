//! Whoever sent a request that has gone into its handler, and what they are answered.

use std::sync::Arc;

use http::Response;

use super::{
    answer::ResponseBody,
    conduct::Told,
    future::Waiting,
    judge::{Answer, unrecorded},
    problem::Problem,
    protocol::{Fingerprint, Record},
    rule::{IdempotencyRule, InProgress},
    shared::Shared,
};
use crate::{excerpt::Excerpt, key::Key, respond::Respond};

/// What is kept of a request that has gone into its handler, to answer it.
pub(super) struct Asker<R> {
    pub(super) excerpt: Excerpt,
    pub(super) rule: IdempotencyRule,
    pub(super) shared: Arc<Shared>,
    pub(super) respond: Arc<R>,
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
}

impl<R> Asker<R> {
    /// What is answered to what was told of the run, or to silence; `None` if somebody else is at
    /// work on it.
    pub(super) fn hear<B, E>(
        &self,
        told: Option<Told<Answer<B, E>>>,
    ) -> Option<Result<Response<ResponseBody<B>>, E>>
    where
        R: Respond<B>,
    {
        let answer = match told {
            Some(Told::Own(answer)) => answer,
            Some(Told::Unrecorded(answer)) => unrecorded(answer, self.rule.shape().recovery),
            Some(Told::Theirs(record)) => self
                .replay(&record)
                .map_or_else(Answer::Problem, Answer::Response),
            Some(Told::AtWork) => return None,
            Some(Told::Problem(problem)) => Answer::Problem(problem),
            // The runtime is gone, and the handler with it.
            None => Answer::Problem(Problem::OutcomeUnknown),
        };
        Some(match answer {
            Answer::Response(response) => Ok(response),
            Answer::Failed(error) => Err(error),
            Answer::Problem(problem) => Ok(self.reject(problem)),
        })
    }

    /// The stored answer, or why it cannot be given.
    pub(super) fn replay<B>(&self, record: &Record) -> Result<Response<ResponseBody<B>>, Problem> {
        self.shared.replay(&self.key, record, &self.rule)
    }

    pub(super) fn reject<B>(&self, problem: Problem) -> Response<ResponseBody<B>>
    where
        R: Respond<B>,
    {
        let parts = self.excerpt.to_parts();
        self.shared
            .rejection(problem, &self.rule, &*self.respond, &parts)
    }

    /// Waits for whoever has the key now, if the rule lets requests wait.
    pub(super) fn await_answer(&self) -> Waiting<Option<Arc<Record>>> {
        let shared = Arc::clone(&self.shared);
        let (key, fingerprint) = (self.key.clone(), self.fingerprint);
        let in_progress = self.rule.shape().in_progress;
        Box::pin(async move {
            let InProgress::Wait(budget) = in_progress else {
                return None;
            };
            let core = &shared.core;
            core.await_answer(&key, &fingerprint, budget).await
        })
    }
}
