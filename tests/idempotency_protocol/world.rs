//! The backend and the requests, and all that can happen next.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::{
    promises,
    protocol::{Call, Change, Claim, Entry, Me, Precondition, Purpose, Record, Recovery, State},
};

/// Requests with one key.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) change: Change,
    /// Under which rule each is made, and its fingerprint.
    pub(crate) requests: Vec<(Recovery, u8)>,
    pub(crate) budget: Budget,
    /// Whether a renewal may be under way while the owner writes something else.
    pub(crate) overlaps: bool,
    /// What this case is made for: `sometimes` properties that must be met.
    pub(crate) reaches: &'static [&'static str],
}

/// How often each may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) time_outs: u8,
    pub(crate) renewals: u8,
    /// Records that expire, are forgotten by an operator, or evicted.
    pub(crate) ends: u8,
    /// Failovers that lose the last write.
    pub(crate) failovers: u8,
    /// Answers that an operator gives to what nobody knows.
    pub(crate) settlements: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) slot: Option<Entry>,
    /// What was there before the last write, as long as a failover may bring it back.
    pub(crate) before: Option<Entry>,
    /// Of the last write.
    pub(crate) version: u8,
    pub(crate) requests: Vec<Request>,
    /// Calls that timed out and may yet arrive.
    pub(crate) late: Vec<(usize, Call)>,
    pub(crate) left: Budget,
    pub(crate) seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what an observer notes of it, each by itself"
)]
pub(crate) struct Request {
    pub(crate) stage: Stage,
    /// A renewal that is under way beside what the stage says.
    pub(crate) renewal: Option<Call>,
    pub(crate) claim: Option<Claim>,
    /// Its own deadline is not over.
    pub(crate) is_sure: bool,
    /// A start of it was sent.
    pub(crate) start_sent: bool,
    /// With this epoch and attempt.
    pub(crate) begun: Option<(u8, u8)>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) answer: Option<Answer>,
    /// A put of it where nothing was timed out.
    pub(crate) is_followed: bool,
    /// It claimed what has ended since.
    pub(crate) is_of_the_past: bool,
    /// What it left has ended since it answered.
    pub(crate) is_forgotten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Claiming {
        call: Call,
        timed_out: bool,
    },
    /// It has the key, and all is confirmed that must be before the handler begins.
    Ready,
    Running,
    Writing {
        purpose: Purpose,
        call: Call,
        timed_out: bool,
    },
    /// Its delete found another version.
    Looking,
    /// It lost the key to another and waits for their answer.
    Awaiting,
    CleaningUp(Option<Call>),
    Over,
}

/// What the handler says of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    Final,
    Retryable,
    NotExecuted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// The result of this request's handler.
    Result(usize),
    Unrecorded,
    Retryable,
    NotExecuted,
    Mismatch,
    Unknown,
    Unavailable,
    LostToAnother,
}

/// What an observer knows who sees everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// Whose results were sent since the key last was new.
    pub(crate) results: BTreeSet<usize>,
    /// The latest epoch that anyone was told.
    pub(crate) epoch: u8,
    pub(crate) wrong: Option<Wrong>,
    pub(crate) taken_over: bool,
    pub(crate) lost_writes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    BegunTwiceInAnEpoch,
    AnswerChanged,
    AnsweredTwice,
    AnswerOfAnother,
    EpochFell,
    AttemptTooLow,
    BegunAgainUnderNever,
    DoneOnAnotherEnd,
    UnknownAfterAnswer,
    UnknownWithoutStart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The call arrives and is answered.
    Arrive(usize),
    /// The request hears nothing, and the call stays under way.
    TimeOut(usize),
    ArriveLate(usize, Call),
    /// A request stops to wait for an answer of the backend; it may go on in the background.
    GiveUp(usize),
    Begin(usize),
    Finish(usize, Verdict),
    Renew(usize),
    RenewalArrives(usize),
    RenewalTimesOut(usize),
    /// A read, by who waits, cleans up, or asks why nothing was deleted.
    Look(usize),
    LeaseEnds,
    RecordEnds,
    FailOver,
    Settle,
}

impl Model for Case {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let requests = 0..self.requests.len();
        vec![World {
            slot: None,
            before: None,
            version: 0,
            requests: requests
                .map(|who| Request {
                    stage: Stage::Claiming {
                        call: self.me(who).claim(self.change),
                        timed_out: false,
                    },
                    renewal: None,
                    claim: None,
                    is_sure: false,
                    start_sent: false,
                    begun: None,
                    verdict: None,
                    answer: None,
                    is_followed: false,
                    is_of_the_past: false,
                    is_forgotten: false,
                })
                .collect(),
            late: Vec::new(),
            left: self.budget,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.seen.wrong.is_some() {
            return;
        }
        for (who, request) in world.requests.iter().enumerate() {
            if !self.is_like_the_one_before(world, who) {
                self.actions_of(world, who, request, steps);
            }
        }
        for (at, (by, call)) in world.late.iter().enumerate() {
            if at == 0 || world.late[at - 1] != (*by, *call) {
                steps.push(Step::ArriveLate(*by, *call));
            }
        }
        match world.slot {
            Some(entry) if entry.record.state == State::InProgress && !entry.lease_over => {
                steps.push(Step::LeaseEnds);
            }
            _ => {}
        }
        if world.slot.is_some() && world.left.ends > 0 {
            steps.push(Step::RecordEnds);
        }
        if world.left.failovers > 0 && world.before != world.slot {
            steps.push(Step::FailOver);
        }
        let is_unknown = |entry: Entry| {
            let Record {
                state,
                started,
                never,
                ..
            } = entry.record;
            state == State::InProgress && started && never && entry.lease_over
        };
        if world.left.settlements > 0 && world.slot.is_some_and(is_unknown) {
            steps.push(Step::Settle);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::Arrive(who) => self.arrive(&mut world, who),
            Step::TimeOut(who) => self.time_out(&mut world, who),
            Step::ArriveLate(by, call) => {
                let at = world.late.iter().position(|late| *late == (by, call));
                world.late.remove(at.expect("it is under way"));
                world.apply(call);
            }
            Step::GiveUp(who) => self.give_up(&mut world, who),
            Step::Begin(who) => self.begin(&mut world, who),
            Step::Finish(who, verdict) => self.finish(&mut world, who, verdict),
            Step::Renew(who) => {
                world.left.renewals -= 1;
                let claim = world.claim(who);
                let call = self.me(who).write(claim, Purpose::Renew, self.change);
                world.requests[who].renewal = Some(call);
            }
            Step::RenewalArrives(who) => self.renewal_arrives(&mut world, who),
            Step::RenewalTimesOut(who) => {
                // Sent again or not: the next one is the same unless the claim has moved.
                world.left.time_outs -= 1;
                let call = world.requests[who].renewal.expect("it is under way");
                world.late.push((who, call));
                let request = &mut world.requests[who];
                request.is_followed |= call.precondition == Precondition::Absent;
                if !self.overlaps {
                    request.renewal = None;
                }
            }
            Step::Look(who) => self.look(&mut world, who),
            Step::LeaseEnds => {
                let entry = world.slot.as_mut().expect("there is a lease");
                entry.lease_over = true;
                let owner = entry.record.owner;
                world.requests[owner].is_sure = false;
            }
            Step::RecordEnds => {
                world.left.ends -= 1;
                world.slot = None;
                world.begin_anew();
            }
            Step::FailOver => {
                world.left.failovers -= 1;
                world.slot = world.before.take();
                world.begin_anew();
                world.seen.lost_writes = true;
            }
            Step::Settle => {
                world.left.settlements -= 1;
                let entry = world.slot.expect("there is something to settle");
                let operator = self.requests.len();
                let record = Record {
                    state: State::Completed(operator),
                    owner: match self.change {
                        Change::SettlesAsTheOwner => entry.record.owner,
                        _ => operator,
                    },
                    ..entry.record
                };
                world.apply(Call {
                    writes: Some(record),
                    precondition: Precondition::Matches(entry.version),
                });
            }
        }
        world.normalise(self.forgets_passed_versions());
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let reaches = |property: &Property<_>| self.reaches.contains(&property.name);
        let examples = promises::examples().into_iter().filter(reaches);
        promises::promises().into_iter().chain(examples).collect()
    }
}

impl Case {
    pub(crate) fn me(&self, who: usize) -> Me {
        let (recovery, fingerprint) = self.requests[who];
        Me {
            token: who,
            fingerprint,
            recovery,
        }
    }

    /// Whether a version that is not there any more never comes back.
    fn forgets_passed_versions(&self) -> bool {
        self.budget.failovers == 0
    }

    /// Of requests that differ in nothing and have done nothing, the first goes first.
    fn is_like_the_one_before(&self, world: &World, who: usize) -> bool {
        who > 0
            && self.requests[who] == self.requests[who - 1]
            && self.is_untouched(world, who - 1)
            && self.is_untouched(world, who)
    }

    fn is_untouched(&self, world: &World, who: usize) -> bool {
        let first = Stage::Claiming {
            call: self.me(who).claim(self.change),
            timed_out: false,
        };
        let owns = |slot: Option<Entry>| slot.is_some_and(|entry| entry.record.owner == who);
        world.requests[who].stage == first
            && world.late.iter().all(|(by, _)| *by != who)
            && !owns(world.slot)
            && !owns(world.before)
    }

    fn actions_of(&self, world: &World, who: usize, request: &Request, steps: &mut Vec<Step>) {
        let may_time_out = world.left.time_outs > 0;
        match request.stage {
            Stage::Claiming { .. } | Stage::CleaningUp(Some(_)) => {
                steps.push(Step::Arrive(who));
                if may_time_out {
                    steps.push(Step::TimeOut(who));
                }
            }
            Stage::Writing { timed_out, .. } => {
                steps.push(Step::Arrive(who));
                if may_time_out {
                    steps.push(Step::TimeOut(who));
                }
                if timed_out && request.answer.is_none() {
                    steps.push(Step::GiveUp(who));
                }
            }
            Stage::Ready => steps.push(Step::Begin(who)),
            Stage::Running if request.renewal.is_none() || self.overlaps => {
                let verdicts = [Verdict::Final, Verdict::Retryable, Verdict::NotExecuted];
                steps.extend(verdicts.map(|verdict| Step::Finish(who, verdict)));
            }
            Stage::Awaiting => {
                if world
                    .slot
                    .is_some_and(|it| matches!(it.record.state, State::Completed(_)))
                {
                    steps.push(Step::Look(who));
                }
            }
            Stage::CleaningUp(None) => {
                if self.me(who).clean_up(world.slot, self.change).is_some() {
                    steps.push(Step::Look(who));
                }
            }
            Stage::Looking => steps.push(Step::Look(who)),
            Stage::Running | Stage::Over => {}
        }
        if request.renewal.is_some() {
            steps.push(Step::RenewalArrives(who));
            if may_time_out {
                steps.push(Step::RenewalTimesOut(who));
            }
        } else if request.stage == Stage::Running && world.left.renewals > 0 {
            steps.push(Step::Renew(who));
        }
    }
}
