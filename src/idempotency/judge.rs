//! What the end of a handler means for its key, and for who waits for it.

use bytes::Bytes;
use http::{HeaderMap, Response, response::Parts};

use super::{
    answer::{ResponseBody, StoredAnswer, mark_unrecorded},
    conduct::Writing,
    execution::Execution,
    handler::Ended,
    outcome::Outcome,
    problem::Problem,
    protocol::Flags,
    rule::{Recovery, Shape, Unrecorded},
};
use crate::observe::WarnSite;

/// What a request came to that ran.
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, and a box is an allocation for each"
)]
pub(super) enum Answer<B, E> {
    /// The handler's answer.
    Response(Response<ResponseBody<B>>),
    /// The inner service's error.
    Failed(E),
    /// It ended without either.
    Problem(Problem),
}

/// What is to be recorded of a request that ran, and what it is answered.
pub(super) fn judge<B, E>(
    ended: Ended<B, E>,
    rule: &Shape,
    execution: &Execution,
) -> (Writing, Answer<B, E>) {
    let (writing, response) = match ended {
        Ended::Whole(head, body, trailers) => {
            let outcome = said(&head, rule, execution).unwrap_or_else(|| {
                let trailers = trailers.as_ref();
                Outcome::of(rule.store, head.status, &head.headers, trailers, &body)
            });
            let kept = || whole(&head, trailers.as_ref(), &body, rule);
            (
                Writing::of(outcome, kept),
                Response::from_parts(head, ResponseBody::buffered(body, trailers)),
            )
        }
        Ended::TooLarge(head, prefix, rest) => {
            let outcome = said(&head, rule, execution)
                .unwrap_or_else(|| Outcome::of_head(rule.store, head.status, &head.headers));
            (
                Writing::of(outcome, || head_alone(&head)),
                Response::from_parts(head, ResponseBody::resumed(prefix, rest)),
            )
        }
        Ended::Failed(error) => {
            let writing = Writing::of_no_answer(rule, execution.outcome());
            return (writing, Answer::Failed(error));
        }
        Ended::Broken | Ended::Panicked => {
            let problem = match (&ended, rule.recovery) {
                (Ended::Panicked, Recovery::ReExecute) => Problem::HandlerPanicked,
                _ => Problem::OutcomeUnknown,
            };
            let writing = Writing::of_no_answer(rule, None);
            return (writing, Answer::Problem(problem));
        }
    };
    (writing, Answer::Response(response))
}

/// What who waits is answered when nothing could be recorded in time.
pub(super) fn unrecorded<B, E>(answer: Answer<B, E>, recovery: Recovery) -> Answer<B, E> {
    match (answer, recovery) {
        (Answer::Response(mut response), Recovery::Never(Unrecorded::Answer)) => {
            mark_unrecorded(&mut response);
            Answer::Response(response)
        }
        (Answer::Failed(error), _) => Answer::Failed(error),
        _ => Answer::Problem(Problem::OutcomeUnknown),
    }
}

/// What the handler said, in the response or before, or the rule of such a response.
fn said(head: &Parts, rule: &Shape, execution: &Execution) -> Option<Outcome> {
    let said = head.extensions.get().copied();
    said.or_else(|| execution.outcome())
        .or_else(|| rule.outcome_of.as_ref().and_then(|of| of(head)))
}

fn whole(head: &Parts, trailers: Option<&HeaderMap>, body: &Bytes, rule: &Shape) -> (Bytes, Flags) {
    let (status, headers) = (head.status, &head.headers);
    let stored = StoredAnswer::of(status, headers, trailers, body.clone(), rule.hygiene);
    match stored.encode() {
        Some(stored) => (stored, Flags::default()),
        None => head_alone(head),
    }
}

/// What is kept of an answer that is too large.
fn head_alone(head: &Parts) -> (Bytes, Flags) {
    NOT_KEPT.warn(&"an answer is too large to be kept; repetitions are told so");
    let stored = StoredAnswer::head_only(head.status, &head.headers);
    let flags = Flags {
        is_not_replayable: true,
        ..Flags::default()
    };
    (stored.encode().unwrap_or_default(), flags)
}

/// Where answers are given that no repetition will get.
static NOT_KEPT: WarnSite = WarnSite::new("idempotency: large answer");
