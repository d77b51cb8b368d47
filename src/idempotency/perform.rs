//! The task in which a handler runs: whoever waits for it, it goes on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, response::Parts};
use http_body::Body;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout_at},
};
use tower_service::Service;

use super::{
    answer::{IDEMPOTENCY_STORED, RequestBody, ResponseBody, StoredAnswer},
    engine::{Claim, Lost, Renewed, Unwritten},
    execution::Execution,
    handler::{self, Ended},
    outcome::Outcome,
    problem::Problem,
    protocol::{Flags, Loss, Record},
    rule::{IdempotencyRule, Recovery, Shape, Unrecorded},
    shared::Shared,
    tally::Tally,
    tracker::Running,
};
use crate::{
    clock::{Monotonic, monotonic_now},
    observe::WarnSite,
};

/// What becomes of a request that ran.
pub(super) enum Answer<B, E> {
    /// The handler's answer.
    Own(Response<ResponseBody<B>>),
    /// The inner service's error.
    Failed(E),
    /// That of somebody else, who has the key now.
    Theirs(Arc<Record>),
    /// Somebody else is at work on it.
    AtWork,
    Problem(Problem),
}

/// A request that is to run.
pub(super) struct Work<S, Q> {
    pub(super) ready: S,
    pub(super) request: Request<RequestBody<Q>>,
    pub(super) execution: Execution,
    pub(super) rule: IdempotencyRule,
    pub(super) shared: Arc<Shared>,
    pub(super) running: Running,
    pub(super) renewed: Renewed,
}

/// Whoever waits for the answer.
struct Caller<B, E> {
    answer: Option<oneshot::Sender<Answer<B, E>>>,
    rule: IdempotencyRule,
}

/// Runs the handler and records what it answers, before anybody gets to see it.
pub(super) async fn perform<S, Q, B>(work: Work<S, Q>, answer: oneshot::Sender<Answer<B, S::Error>>)
where
    S: Service<Request<RequestBody<Q>>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let Work {
        ready,
        mut request,
        execution,
        rule,
        shared,
        running: _running,
        renewed,
    } = work;
    let claim = Arc::clone(execution.claim());
    let mut caller = Caller {
        answer: Some(answer),
        rule: rule.clone(),
    };
    if let Err(unwritten) = prepare(&claim, rule.shape()).await {
        let problem = match unwritten {
            Unwritten::Lost(lost) => Problem::of_loss(lost.loss),
            Unwritten::Unconfirmed(error) => {
                UNRECORDED.warn(&error);
                claim.withdraw();
                Problem::Unavailable
            }
        };
        return caller.tell(Tally::of_problem(&problem), Answer::Problem(problem));
    }
    let ends = monotonic_now() + rule.shape().max_execution + claim.lease();
    request.extensions_mut().insert(execution.clone());
    let mut handler = Box::pin(handler::run(ready, request, rule.shape().answer_limit));
    let ended = match timeout_at(ends, &mut handler).await {
        Ok(ended) => ended,
        Err(_) => {
            caller.tell(Tally::Unknown, Answer::Problem(Problem::OutcomeUnknown));
            handler.await
        }
    };
    drop(renewed);

    let (writing, answer) = judge(ended, rule.shape(), execution.outcome());
    let settled = settle(&claim, &writing).await;
    match settled {
        Settled::Recorded => {
            if shared.desk.rooms.is_awaited(claim.key())
                && let Some(record) = claim.answer().await
            {
                shared.desk.rooms.announce(claim.key(), &record);
            }
            caller.tell(Tally::Ran, answer);
        }
        Settled::Lost(Lost { loss, record }) => caller.tell(
            Tally::Lost,
            match loss {
                Loss::Answered => Answer::Theirs(record),
                Loss::AtWork => Answer::AtWork,
                loss => Answer::Problem(Problem::of_loss(loss)),
            },
        ),
        Settled::Unconfirmed => {
            caller.tell(Tally::Unrecorded, unrecorded(answer, rule.shape().recovery));
            keep_trying(&claim, &writing).await;
        }
    }
}

impl<B, E> Caller<B, E> {
    /// Answers, unless that was done; also counts when nobody waits any more.
    fn tell(&mut self, tally: Tally, answer: Answer<B, E>) {
        if let Some(caller) = self.answer.take() {
            tally.record(&self.rule);
            _ = caller.send(answer);
        }
    }
}

/// Makes sure that the key is this request's for a while, and that the handler may begin.
async fn prepare(claim: &Claim, rule: &Shape) -> Result<(), Unwritten> {
    if matches!(rule.recovery, Recovery::Never(_)) {
        return claim.start().await;
    }
    if claim.is_due() {
        return claim.renew().await;
    }
    Ok(())
}

/// What is to be written of a run.
enum Writing {
    Complete(Bytes, Flags),
    Fail,
    Release,
}

/// What the end of a handler means for its key, and for who waits.
fn judge<B, E>(ended: Ended<B, E>, rule: &Shape, said: Option<Outcome>) -> (Writing, Answer<B, E>) {
    let kept = |head: Parts, body, trailers: Option<HeaderMap>| {
        let stored = StoredAnswer::of(
            head.status,
            &head.headers,
            trailers.as_ref(),
            Bytes::clone(&body),
            &rule.hygiene,
        );
        let stored = match stored.encode() {
            Some(stored) => (stored, Flags::default()),
            None => head_alone(&head),
        };
        let body = ResponseBody::buffered(body, trailers);
        (stored, Response::from_parts(head, body))
    };
    let (outcome, (stored, response)) = match ended {
        Ended::Whole(head, body, trailers) => (
            outcome(&head, trailers.as_ref(), rule, said),
            kept(head, body, trailers),
        ),
        Ended::TooLarge(head, prefix, rest) => {
            let stored = head_alone(&head);
            let outcome = outcome(&head, None, rule, said);
            let body = ResponseBody::resumed(prefix, rest);
            (outcome, (stored, Response::from_parts(head, body)))
        }
        Ended::Failed(error) => return (nobody_knows(rule), Answer::Failed(error)),
        Ended::Broken => {
            let problem = Problem::OutcomeUnknown;
            return (nobody_knows(rule), Answer::Problem(problem));
        }
        Ended::Panicked => {
            let problem = match rule.recovery {
                Recovery::ReExecute => Problem::HandlerPanicked,
                Recovery::Never(_) => Problem::OutcomeUnknown,
            };
            return (nobody_knows(rule), Answer::Problem(problem));
        }
    };
    let (answer, flags) = stored;
    let writing = match outcome {
        Outcome::Final => Writing::Complete(answer, flags),
        Outcome::Retryable => Writing::Fail,
        Outcome::NotExecuted => Writing::Release,
    };
    (writing, Answer::Own(response))
}

/// What the handler said, in the response or before, or else what the rule says.
fn outcome(
    head: &Parts,
    trailers: Option<&HeaderMap>,
    rule: &Shape,
    said: Option<Outcome>,
) -> Outcome {
    let said = head.extensions.get().copied().or(said);
    said.unwrap_or_else(|| Outcome::of(rule.store, head.status, &head.headers, trailers))
}

/// What is written of an answer that is not kept.
fn head_alone(head: &Parts) -> (Bytes, Flags) {
    let stored = StoredAnswer::head_only(head.status, &head.headers);
    let flags = Flags {
        is_not_replayable: true,
        ..Flags::default()
    };
    (stored.encode().unwrap_or_default(), flags)
}

/// What is written where a handler ended without an answer: it may have done anything.
fn nobody_knows(rule: &Shape) -> Writing {
    match rule.recovery {
        Recovery::ReExecute => Writing::Fail,
        Recovery::Never(_) => {
            let flags = Flags {
                is_unknown: true,
                ..Flags::default()
            };
            Writing::Complete(Bytes::new(), flags)
        }
    }
}

/// What who waits is told when nothing could be recorded in time.
fn unrecorded<B, E>(answer: Answer<B, E>, recovery: Recovery) -> Answer<B, E> {
    match (answer, recovery) {
        (Answer::Own(mut response), Recovery::Never(Unrecorded::Answer)) => {
            let no = HeaderValue::from_static("?0");
            response.headers_mut().insert(IDEMPOTENCY_STORED, no);
            Answer::Own(response)
        }
        (Answer::Failed(error), _) => Answer::Failed(error),
        _ => Answer::Problem(Problem::OutcomeUnknown),
    }
}

/// What became of what was to be written.
enum Settled {
    Recorded,
    Lost(Lost),
    Unconfirmed,
}

/// Writes, again and again, until nobody can be sure any more that the key is still ours.
async fn settle(claim: &Claim, writing: &Writing) -> Settled {
    let own_until = *claim.own_until().borrow();
    // Who took longer than that has a chance all the same.
    let until = own_until.max(monotonic_now() + LEAST);
    try_until(claim, writing, until).await
}

/// Nobody waits any more; under its version the write harms nobody.
async fn keep_trying(claim: &Claim, writing: &Writing) {
    let until = monotonic_now() + LONGEST;
    if !matches!(try_until(claim, writing, until).await, Settled::Recorded) {
        UNRECORDED.warn(&"what a handler answered is not recorded");
    }
}

async fn try_until(claim: &Claim, writing: &Writing, until: Monotonic) -> Settled {
    let mut pause = FIRST_PAUSE;
    loop {
        match timeout_at(until, writing.write(claim)).await {
            Ok(Ok(())) => return Settled::Recorded,
            Ok(Err(Unwritten::Lost(lost))) => return Settled::Lost(lost),
            Ok(Err(Unwritten::Unconfirmed(error))) => UNRECORDED.warn(&error),
            Err(_) => return Settled::Unconfirmed,
        }
        if monotonic_now() + pause >= until {
            return Settled::Unconfirmed;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Writing {
    async fn write(&self, claim: &Claim) -> Result<(), Unwritten> {
        match self {
            Self::Complete(answer, flags) => claim.complete(answer.clone(), *flags).await,
            Self::Fail => claim.fail().await,
            Self::Release => claim.release().await,
        }
    }
}

/// Where what became of a request is not recorded.
static UNRECORDED: WarnSite = WarnSite::new("idempotency: record");

/// The least time in which an answer is tried to be recorded.
const LEAST: Duration = Duration::from_millis(500);

/// How long it is tried after nobody waits any more.
const LONGEST: Duration = Duration::from_secs(60);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
