//! A run under a claim: prepared, watched, recorded. Whoever waits for it, it goes on.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout_at},
};

use super::{
    engine::{Claim, Lost, Renewed, Unwritten},
    execution::Execution,
    outcome::Outcome,
    problem::Problem,
    protocol::{Flags, Loss, Record},
    rule::{IdempotencyRule, Recovery, Shape},
    shared::Core,
    tally::Tally,
    tracker::Running,
};
use crate::{
    backend::BackendError,
    clock::{Monotonic, monotonic_now},
    observe::WarnSite,
};

/// A run that may begin.
pub(super) struct Run {
    pub(super) execution: Execution,
    rule: IdempotencyRule,
    core: Core,
    _running: Running,
    renewed: Renewed,
}

/// What is to be written of a run.
#[derive(Debug)]
pub(super) enum Writing {
    Complete(Bytes, Flags),
    Fail,
    Release,
}

/// What is told to whoever waits for a run.
pub(super) enum Told<A> {
    /// What it came to, which is recorded.
    Own(A),
    /// What it came to, which is not.
    Unrecorded(A),
    /// The answer of somebody else, who has the key now.
    Theirs(Arc<Record>),
    /// Somebody else is at work on it.
    AtWork,
    Problem(Problem),
}

/// Whoever waits for a run.
struct Caller<A> {
    answer: Option<oneshot::Sender<Told<A>>>,
    rule: IdempotencyRule,
}

impl Run {
    /// The run under this claim; `None` if none may begin any more, and then the claim is taken back.
    pub(super) fn begin(
        core: &Core,
        rule: &IdempotencyRule,
        claim: &Arc<Claim>,
        key: &str,
    ) -> Option<Self> {
        let Some(running) = core.tracker.enter() else {
            claim.give_back();
            return None;
        };
        let max_execution = rule.shape().max_execution;
        let until = monotonic_now() + max_execution;
        Some(Self {
            execution: Execution::new(claim, key, core, until),
            rule: rule.clone(),
            core: core.clone(),
            _running: running,
            renewed: core.renewals.renew(claim, Some(until)),
        })
    }

    /// Runs the handler and records what `judge` makes of it, before anybody gets to see it.
    pub(super) async fn conduct<T, A>(
        self,
        handler: impl Future<Output = T>,
        judge: impl FnOnce(T, &Shape, &Execution) -> (Writing, A),
        answer: oneshot::Sender<Told<A>>,
    ) {
        let rule = self.rule.shape();
        let claim = Arc::clone(self.execution.claim());
        let mut caller = Caller {
            answer: Some(answer),
            rule: self.rule.clone(),
        };
        if let Err(unwritten) = prepare(&claim, rule).await {
            return caller.refuse(why_not_begun(&claim, unwritten));
        }
        let mut handler = pin!(handler);
        let overdue = monotonic_now() + rule.max_execution + claim.lease();
        let ended = if let Ok(ended) = timeout_at(overdue, &mut handler).await {
            ended
        } else {
            caller.refuse(Problem::OutcomeUnknown);
            handler.await
        };
        drop(self.renewed);
        let (writing, answer) = judge(ended, rule, &self.execution);
        match settle(&claim, &writing).await {
            Settled::Recorded => {
                self.core.announce(&claim).await;
                if writing.is_of_unknown_outcome() {
                    UNKNOWN.warn(&"nobody knows what a handler did; its key is to be settled");
                    caller.tell(Tally::Unknown, Told::Own(answer));
                } else {
                    caller.tell(Tally::Ran, Told::Own(answer));
                }
            }
            Settled::Lost(Lost { loss, record }) => caller.tell(
                Tally::Lost,
                match loss {
                    Loss::Answered => Told::Theirs(record),
                    Loss::AtWork => Told::AtWork,
                    loss => Told::Problem(Problem::of_loss(loss)),
                },
            ),
            Settled::Unconfirmed => {
                caller.tell(Tally::Unrecorded, Told::Unrecorded(answer));
                keep_trying(&claim, &writing).await;
            }
        }
    }
}

impl Writing {
    /// What is written of an answer that says this of its key; `kept` is what is kept of it.
    pub(super) fn of(outcome: Outcome, kept: impl FnOnce() -> (Bytes, Flags)) -> Self {
        match outcome {
            Outcome::Final => {
                let (answer, flags) = kept();
                Self::Complete(answer, flags)
            }
            Outcome::Retryable => Self::Fail,
            Outcome::NotExecuted => Self::Release,
        }
    }

    /// What is written where a handler ended without an answer: it may have done anything, unless
    /// it said what it did.
    pub(super) fn of_no_answer(rule: &Shape, said: Option<Outcome>) -> Self {
        match (said, rule.recovery) {
            (Some(Outcome::NotExecuted), _) => Self::Release,
            (Some(Outcome::Retryable), _) | (_, Recovery::ReExecute) => Self::Fail,
            (_, Recovery::Never(_)) => {
                let flags = Flags {
                    is_unknown: true,
                    ..Flags::default()
                };
                Self::Complete(Bytes::new(), flags)
            }
        }
    }

    /// Whether it is for an operator to find out what the handler did.
    fn is_of_unknown_outcome(&self) -> bool {
        matches!(self, Self::Complete(_, flags) if flags.is_unknown)
    }

    async fn write(&self, claim: &Claim) -> Result<(), Unwritten> {
        match self {
            Self::Complete(answer, flags) => claim.complete(answer.clone(), *flags).await,
            Self::Fail => claim.fail().await,
            Self::Release => claim.release().await,
        }
    }
}

impl<A> Caller<A> {
    /// Answers, unless that was done; also counts when nobody waits any more.
    fn tell(&mut self, tally: Tally, told: Told<A>) {
        if let Some(caller) = self.answer.take() {
            tally.record(&self.rule);
            _ = caller.send(told);
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.tell(Tally::of_problem(&problem), Told::Problem(problem));
    }
}

/// Makes sure that the key is this run's for a while, and that the handler may begin.
async fn prepare(claim: &Claim, rule: &Shape) -> Result<(), Unwritten> {
    if matches!(rule.recovery, Recovery::Never(_)) {
        return claim.start().await;
    }
    // What is confirmed late, be it a renewal, protects no longer than what is not.
    for _ in 0..MAX_RENEWALS {
        if !claim.is_due() {
            return Ok(());
        }
        claim.renew().await?;
    }
    if claim.is_due() {
        return Err(Unwritten::Unconfirmed(BackendError::contended()));
    }
    Ok(())
}

fn why_not_begun(claim: &Claim, unwritten: Unwritten) -> Problem {
    match unwritten {
        Unwritten::Over => Problem::in_progress(),
        Unwritten::Lost(lost) => Problem::of_loss(lost.loss),
        Unwritten::Unconfirmed(error) => {
            UNRECORDED.warn(&error);
            claim.withdraw();
            Problem::Unavailable
        }
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
    // Who took longer than that has a chance all the same.
    let until = claim.own_until().max(monotonic_now() + LEAST);
    try_until(claim, writing, until).await
}

/// Nobody waits any more; under its version the write harms nobody.
async fn keep_trying(claim: &Claim, writing: &Writing) {
    let is_recorded = match claim.background_permit() {
        Some(_permit) => {
            let until = monotonic_now() + LONGEST;
            matches!(try_until(claim, writing, until).await, Settled::Recorded)
        }
        None => false,
    };
    if !is_recorded {
        UNRECORDED.warn(&"what a handler answered is not recorded");
    }
}

async fn try_until(claim: &Claim, writing: &Writing, until: Monotonic) -> Settled {
    let mut pause = FIRST_PAUSE;
    loop {
        match timeout_at(until, writing.write(claim)).await {
            Ok(Ok(()) | Err(Unwritten::Over)) => return Settled::Recorded,
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

/// Where it is recorded that nobody knows.
static UNKNOWN: WarnSite = WarnSite::new("idempotency: unknown");

/// Where what became of a request is not recorded.
static UNRECORDED: WarnSite = WarnSite::new("idempotency: record");

/// A backend that answers so late so often does not answer.
const MAX_RENEWALS: u32 = 3;

/// The least time in which an answer is tried to be recorded.
const LEAST: Duration = Duration::from_millis(500);

/// How long it is tried after nobody waits any more.
const LONGEST: Duration = Duration::from_secs(60);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
