//! What is promised, and who sees it broken.

use stateright::Property;

use crate::{
    protocol::{Claim, Entry, OnClaim, Purpose, Recovery, State},
    world::{Answer, Case, Request, Verdict, World, Wrong},
};

impl World {
    pub(crate) fn blame(&mut self, wrong: Wrong) {
        self.seen.wrong.get_or_insert(wrong);
    }

    /// A call is applied.
    pub(crate) fn judge_write(&mut self) {
        let there = self.slot.map(|entry| entry.record.state);
        if matches!(there, Some(State::Completed(_))) && !self.seen.lost_writes {
            self.blame(Wrong::AnswerChanged);
        }
    }

    /// A request sends the result of this owner's handler.
    pub(crate) fn judge_result(&mut self, case: &Case, who: usize, owner: usize) {
        let theirs = case.requests.get(owner);
        if theirs.is_some_and(|(_, fingerprint)| *fingerprint != case.requests[who].1) {
            self.blame(Wrong::AnswerOfAnother);
        }
        self.seen.results.insert(owner);
        if self.seen.results.len() > 1 && !self.seen.lost_writes {
            self.blame(Wrong::AnsweredTwice);
        }
    }

    /// A handler begins.
    pub(crate) fn judge_begin(&mut self, case: &Case, who: usize, claim: Claim) {
        let is_never = |who: usize| case.requests[who].0.is_never();
        let others = (0..self.requests.len()).filter(|&other| other != who);
        let mut wrong = None;
        for other in others {
            let it = &self.requests[other];
            let Some((epoch, attempt)) = it.begun else {
                continue;
            };
            if epoch == claim.epoch {
                wrong = Some(Wrong::BegunTwiceInAnEpoch);
            }
            if it.is_of_the_past || self.requests[who].is_of_the_past || self.seen.lost_writes {
                continue;
            }
            let excused = matches!(it.verdict, Some(Verdict::Retryable | Verdict::NotExecuted));
            if epoch < claim.epoch {
                if it.verdict != Some(Verdict::NotExecuted) && attempt >= claim.attempt {
                    wrong = wrong.or(Some(Wrong::AttemptTooLow));
                }
                if is_never(other) && !excused {
                    wrong = wrong.or(Some(Wrong::BegunAgainUnderNever));
                }
            } else if is_never(who) && is_never(other) && !excused {
                wrong = wrong.or(Some(Wrong::BegunAgainUnderNever));
            }
        }
        if let Some(wrong) = wrong {
            self.blame(wrong);
        }
    }

    /// A write counts as done because of what is there instead.
    pub(crate) fn judge_done(&mut self, who: usize, purpose: Purpose) {
        let there = self.slot.map(|entry| entry.record);
        let wrong = match (purpose, there) {
            (Purpose::Complete, Some(it)) => it.owner != who || it.state != State::Completed(who),
            (Purpose::Fail, Some(it)) => it.owner != who || it.state != State::Failed,
            _ => false,
        };
        if wrong {
            self.blame(Wrong::DoneOnAnotherEnd);
        }
    }

    /// Somebody is told that nobody knows.
    pub(crate) fn judge_unknown(&mut self) {
        let Some(Entry { record, .. }) = self.slot else {
            return;
        };
        let owner = &self.requests[record.owner];
        let has_said = matches!(owner.answer, Some(Answer::Retryable | Answer::NotExecuted));
        if self.seen.lost_writes || owner.is_forgotten {
            return;
        }
        if has_said {
            self.blame(Wrong::UnknownAfterAnswer);
        } else if record.never && !owner.start_sent {
            self.blame(Wrong::UnknownWithoutStart);
        }
    }

    fn lacks(&self, wrong: Wrong) -> bool {
        self.seen.wrong != Some(wrong)
    }

    fn any(&self, is: impl Fn(&Request) -> bool) -> bool {
        self.requests.iter().any(is)
    }

    fn any_answer(&self, answer: Answer) -> bool {
        self.any(|request| request.answer == Some(answer))
    }
}

/// Whether all who may be sure to have the key have it.
fn is_exclusive(_: &Case, world: &World) -> bool {
    let has = |who| world.slot.is_some_and(|entry| entry.record.owner == who);
    world.seen.lost_writes
        || (0..world.requests.len()).all(|who| !world.requests[who].is_sure || has(who))
}

/// Whether a clean request settles, of each kind, when all are dead and a lease has passed.
fn settles(case: &Case, world: &World) -> bool {
    let Some(mut entry) = world.slot else {
        return true;
    };
    entry.lease_over = true;
    let kinds = [Recovery::ReExecute, Recovery::Withhold];
    kinds.into_iter().all(|recovery| {
        let mut me = case.me(0);
        me.token = world.requests.len();
        me.recovery = recovery;
        me.fingerprint = entry.record.fingerprint;
        !matches!(
            me.on_claim(Some(entry), case.change),
            OnClaim::Busy | OnClaim::Mismatch
        )
    })
}

pub(crate) fn promises() -> Vec<Property<Case>> {
    vec![
        Property::always(ONE_START, |_, world: &World| {
            world.lacks(Wrong::BegunTwiceInAnEpoch)
        }),
        Property::always(EXCLUSION, is_exclusive),
        Property::always(IMMUTABLE, |_, world: &World| {
            world.lacks(Wrong::AnswerChanged)
        }),
        Property::always(ONE_ANSWER, |_, world: &World| {
            world.lacks(Wrong::AnsweredTwice)
        }),
        Property::always(OWN_ANSWER, |_, world: &World| {
            world.lacks(Wrong::AnswerOfAnother)
        }),
        Property::always(EPOCHS_RISE, |_, world: &World| {
            world.lacks(Wrong::EpochFell)
        }),
        Property::always(ATTEMPTS_RISE, |_, world: &World| {
            world.lacks(Wrong::AttemptTooLow)
        }),
        Property::always(ONCE_UNDER_NEVER, |_, world: &World| {
            world.lacks(Wrong::BegunAgainUnderNever)
        }),
        Property::always(DONE_IS_DONE, |_, world: &World| {
            world.lacks(Wrong::DoneOnAnotherEnd)
        }),
        Property::always(KNOWN_STAYS_KNOWN, |_, world: &World| {
            world.lacks(Wrong::UnknownAfterAnswer)
        }),
        Property::always(UNKNOWN_HAS_CAUSE, |_, world: &World| {
            world.lacks(Wrong::UnknownWithoutStart)
        }),
        Property::always(SETTLES, settles),
    ]
}

/// What must be possible, in the cases that say so.
pub(crate) fn examples() -> Vec<Property<Case>> {
    vec![
        Property::sometimes(ALL_ANSWERED, |_, world: &World| {
            world
                .requests
                .iter()
                .all(|request| matches!(request.answer, Some(Answer::Result(_))))
        }),
        Property::sometimes(RECOGNISED, |case: &Case, world: &World| {
            world.left.time_outs < case.budget.time_outs
                && world
                    .requests
                    .iter()
                    .all(|request| matches!(request.answer, Some(Answer::Result(_))))
        }),
        Property::sometimes(TAKEN_OVER, |_, world: &World| world.seen.taken_over),
        Property::sometimes(ALL_BEGUN, |_, world: &World| {
            world.requests.iter().all(|request| request.begun.is_some())
        }),
        Property::sometimes(MISMATCH, |_, world: &World| {
            world.any_answer(Answer::Mismatch)
        }),
        Property::sometimes(UNKNOWN, |_, world: &World| {
            world.any(|it| {
                it.answer == Some(Answer::Unknown) && it.claim.is_none() && it.begun.is_none()
            })
        }),
        Property::sometimes(UNAVAILABLE, |_, world: &World| {
            world.any_answer(Answer::Unavailable)
        }),
        Property::sometimes(UNRECORDED, |_, world: &World| {
            world.any_answer(Answer::Unrecorded)
        }),
        Property::sometimes(LOST, |_, world: &World| {
            world.any_answer(Answer::LostToAnother)
        }),
        Property::sometimes(ZOMBIE_REPLAYS, |_, world: &World| {
            (0..world.requests.len()).any(|who| {
                let it = &world.requests[who];
                it.begun.is_some()
                    && matches!(it.answer, Some(Answer::Result(owner)) if owner != who)
            })
        }),
    ]
}

pub(crate) const ONE_START: &str = "S1: at most one start in an epoch";
pub(crate) const EXCLUSION: &str = "S2: who may be sure to have the key has it";
pub(crate) const IMMUTABLE: &str = "S3: a stored answer is not written over";
pub(crate) const ONE_ANSWER: &str = "S3: one answer leaves";
pub(crate) const OWN_ANSWER: &str = "S4: no result of another fingerprint leaves";
pub(crate) const EPOCHS_RISE: &str = "S5: epochs rise";
pub(crate) const ATTEMPTS_RISE: &str = "S6: who begins after another has a higher attempt";
pub(crate) const ONCE_UNDER_NEVER: &str = "S7: under Never a handler begins once";
pub(crate) const DONE_IS_DONE: &str = "what counts as done is what is there";
pub(crate) const KNOWN_STAYS_KNOWN: &str = "what was answered does not become unknown";
pub(crate) const UNKNOWN_HAS_CAUSE: &str = "under Never only what a start was sent of is unknown";
pub(crate) const SETTLES: &str = "L1: a clean request settles after a lease";

pub(crate) const ALL_ANSWERED: &str = "all have the answer";
pub(crate) const RECOGNISED: &str = "all have the answer though a call timed out";
pub(crate) const TAKEN_OVER: &str = "a claim is taken over";
pub(crate) const ALL_BEGUN: &str = "all handlers begin";
pub(crate) const MISMATCH: &str = "somebody has another fingerprint";
pub(crate) const UNKNOWN: &str = "somebody is told that nobody knows";
pub(crate) const UNAVAILABLE: &str = "somebody gives up before the start";
pub(crate) const UNRECORDED: &str = "an answer leaves without a record";
pub(crate) const LOST: &str = "somebody loses the key to who failed";
pub(crate) const ZOMBIE_REPLAYS: &str = "a zombie sends the answer of another";
