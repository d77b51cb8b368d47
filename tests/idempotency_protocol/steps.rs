//! What each step does: a call is applied, or not heard of; a handler begins or ends; a request looks.

use crate::{
    protocol::{
        Call, Change, Claim, Entry, Lost, OnClaim, OnConflict, Precondition, Purpose, State,
    },
    world::{Answer, Case, Stage, Verdict, World, Wrong},
};

pub(crate) enum Reply {
    Stored(u8),
    Deleted(bool),
    Conflict(Option<Entry>),
}

impl Case {
    pub(crate) fn arrive(&self, world: &mut World, who: usize) {
        match world.requests[who].stage {
            Stage::Claiming { call, .. } => match world.apply(call) {
                Reply::Stored(version) => {
                    world.requests[who].is_sure = true;
                    self.acquire(world, who, call.claim(version), false);
                }
                Reply::Conflict(found) => self.on_claim(world, who, found),
                Reply::Deleted(_) => panic!("a claim is a put"),
            },
            Stage::Writing {
                purpose,
                call,
                timed_out,
            } => match world.apply(call) {
                Reply::Stored(version) => {
                    world.claim_mut(who).version = version;
                    world.requests[who].is_sure = true;
                    self.confirmed(world, who, purpose);
                }
                Reply::Conflict(found) => {
                    let means = self.me(who).on_conflict(purpose, found, self.change);
                    self.on_conflict(world, who, purpose, call, timed_out, means);
                }
                Reply::Deleted(false) if self.change != Change::DeletesOnce => {
                    world.requests[who].stage = Stage::Looking;
                }
                Reply::Deleted(_) => self.confirmed(world, who, purpose),
            },
            Stage::CleaningUp(Some(call)) => {
                world.apply(call);
                world.requests[who].stage = Stage::CleaningUp(None);
            }
            stage => panic!("request {who} calls nobody, but is {stage:?}"),
        }
    }

    pub(crate) fn time_out(&self, world: &mut World, who: usize) {
        world.left.time_outs -= 1;
        let request = &mut world.requests[who];
        let (call, stage) = match request.stage {
            Stage::Claiming { call, timed_out } => (
                call,
                if timed_out {
                    request.answer = Some(Answer::Unavailable);
                    Stage::CleaningUp(None)
                } else {
                    Stage::Claiming {
                        call,
                        timed_out: true,
                    }
                },
            ),
            Stage::Writing { purpose, call, .. } => (
                call,
                Stage::Writing {
                    purpose,
                    call,
                    timed_out: true,
                },
            ),
            Stage::CleaningUp(Some(call)) => (call, Stage::CleaningUp(None)),
            stage => panic!("request {who} calls nobody, but is {stage:?}"),
        };
        request.stage = stage;
        request.is_followed |= call.precondition == Precondition::Absent;
        world.late.push((who, call));
        match stage {
            Stage::Claiming { call, .. } if self.change == Change::TimeOutReadAsAcquired => {
                world.requests[who].is_sure = true;
                self.acquire(world, who, call.claim(world.version + 1), false);
            }
            Stage::Writing { purpose, .. } if self.change == Change::TimeOutReadAsStored => {
                self.confirmed(world, who, purpose);
            }
            _ => {}
        }
    }

    fn on_claim(&self, world: &mut World, who: usize, found: Option<Entry>) {
        let request = &mut world.requests[who];
        match self.me(who).on_claim(found, self.change) {
            OnClaim::Ours(claim) => self.acquire(world, who, claim, true),
            OnClaim::Put(call) => {
                request.stage = Stage::Claiming {
                    call,
                    timed_out: false,
                };
            }
            // It is told so, or claims again.
            OnClaim::Busy => {
                request.stage = Stage::Claiming {
                    call: self.me(who).claim(self.change),
                    timed_out: false,
                };
            }
            OnClaim::Replay(owner) => world.replay(self, who, owner),
            OnClaim::Mismatch => world.end(who, Answer::Mismatch),
            OnClaim::Unknown => {
                world.judge_unknown();
                world.end(who, Answer::Unknown);
            }
        }
    }

    /// The key is this request's: what must be confirmed comes before the handler.
    fn acquire(&self, world: &mut World, who: usize, claim: Claim, renews: bool) {
        // A failover brings back claims whose reply is still to come.
        if claim.epoch <= world.seen.epoch && !world.seen.lost_writes {
            world.blame(Wrong::EpochFell);
        }
        world.seen.epoch = world.seen.epoch.max(claim.epoch);
        world.seen.taken_over |= claim.attempt > 1;
        world.requests[who].claim = Some(claim);
        if renews {
            self.send(world, who, Purpose::Renew);
        } else {
            self.prepare(world, who);
        }
    }

    /// The handler may begin, once a start is confirmed where one is needed.
    fn prepare(&self, world: &mut World, who: usize) {
        if world.claim(who).started {
            world.requests[who].stage = Stage::Ready;
            return;
        }
        world.requests[who].start_sent = true;
        self.send(world, who, Purpose::Start);
        if self.change == Change::StartNotAwaited {
            let call = self
                .me(who)
                .write(world.claim(who), Purpose::Start, self.change);
            world.late.push((who, call));
            world.requests[who].stage = Stage::Ready;
        }
    }

    fn send(&self, world: &mut World, who: usize, purpose: Purpose) {
        let request = &mut world.requests[who];
        let is_by_absent = |call: Call| call.precondition == Precondition::Absent;
        let claim = request.claim.as_mut().expect("it has the key");
        claim.is_followed = request.is_followed || request.renewal.is_some_and(is_by_absent);
        let claim = *claim;
        request.stage = Stage::Writing {
            purpose,
            call: self.me(who).write(claim, purpose, self.change),
            timed_out: false,
        };
    }

    fn confirmed(&self, world: &mut World, who: usize, purpose: Purpose) {
        match purpose {
            Purpose::Renew => self.prepare(world, who),
            Purpose::Start => {
                world.claim_mut(who).started = true;
                world.requests[who].stage = Stage::Ready;
            }
            Purpose::Complete => {
                if world.requests[who].answer.is_none() {
                    world.judge_result(self, who, who);
                }
                world.end(who, Answer::Result(who));
            }
            Purpose::Fail => world.end(who, Answer::Retryable),
            Purpose::Release => world.end(who, Answer::NotExecuted),
        }
    }

    fn on_conflict(
        &self,
        world: &mut World,
        who: usize,
        purpose: Purpose,
        call: Call,
        timed_out: bool,
        means: OnConflict,
    ) {
        match means {
            OnConflict::Again(precondition) => {
                if let Precondition::Matches(version) = precondition {
                    world.claim_mut(who).version = version;
                }
                world.requests[who].stage = Stage::Writing {
                    purpose,
                    call: Call {
                        precondition,
                        ..call
                    },
                    timed_out,
                };
            }
            OnConflict::Done => {
                if let (Purpose::Start, Some(entry)) = (purpose, world.slot) {
                    world.claim_mut(who).version = entry.version;
                }
                world.judge_done(who, purpose);
                self.confirmed(world, who, purpose);
            }
            OnConflict::Lost(_) if self.change == Change::ZombieSendsItsOwn => {
                self.confirmed(world, who, purpose);
            }
            OnConflict::Lost(Lost::Unknown) => world.end(who, Answer::Unknown),
            OnConflict::Lost(Lost::Replay(owner)) => world.replay(self, who, owner),
            OnConflict::Lost(Lost::Await) => world.requests[who].stage = Stage::Awaiting,
            OnConflict::Lost(Lost::Failed) => world.end(who, Answer::LostToAnother),
        }
    }

    pub(crate) fn give_up(&self, world: &mut World, who: usize) {
        let recovery = self.me(who).recovery;
        let request = &mut world.requests[who];
        if request.begun.is_none() {
            request.is_sure = false;
            request.answer = Some(Answer::Unavailable);
            request.stage = Stage::CleaningUp(None);
            return;
        }
        let is_final = request.verdict == Some(Verdict::Final);
        if recovery.answers_unrecorded() && is_final {
            request.answer = Some(Answer::Unrecorded);
            if !request.is_of_the_past {
                world.judge_result(self, who, who);
            }
        } else {
            request.answer = Some(Answer::Unknown);
        }
    }

    pub(crate) fn begin(&self, world: &mut World, who: usize) {
        let claim = world.claim(who);
        world.judge_begin(self, who, claim);
        world.requests[who].begun = Some((claim.epoch, claim.attempt));
        world.requests[who].stage = Stage::Running;
    }

    pub(crate) fn finish(&self, world: &mut World, who: usize, verdict: Verdict) {
        let request = &mut world.requests[who];
        request.verdict = Some(verdict);
        // Who gives the key to whoever comes next does not count on it any more.
        request.is_sure &= verdict == Verdict::Final;
        let purpose = match verdict {
            Verdict::Final => Purpose::Complete,
            Verdict::Retryable => Purpose::Fail,
            Verdict::NotExecuted => Purpose::Release,
        };
        self.send(world, who, purpose);
    }

    pub(crate) fn renewal_arrives(&self, world: &mut World, who: usize) {
        let call = world.requests[who].renewal.expect("it is under way");
        match world.apply(call) {
            Reply::Stored(version) => {
                let request = &mut world.requests[who];
                request.renewal = None;
                if let Some(claim) = &mut request.claim {
                    claim.version = version;
                    request.is_sure |= matches!(request.verdict, None | Some(Verdict::Final));
                }
            }
            Reply::Conflict(found) => {
                let me = self.me(who);
                let request = &mut world.requests[who];
                request.renewal = match me.on_conflict(Purpose::Renew, found, self.change) {
                    OnConflict::Again(precondition) => Some(Call {
                        precondition,
                        ..call
                    }),
                    OnConflict::Done | OnConflict::Lost(_) => None,
                };
                // What was taken back is not put there again.
                if found.is_none() && request.verdict.is_some() {
                    request.renewal = None;
                }
            }
            Reply::Deleted(_) => panic!("a renewal is a put"),
        }
    }

    pub(crate) fn look(&self, world: &mut World, who: usize) {
        let me = self.me(who);
        match (world.requests[who].stage, world.slot) {
            (Stage::CleaningUp(_), slot) => {
                world.requests[who].stage = Stage::CleaningUp(me.clean_up(slot, self.change));
            }
            (Stage::Awaiting, Some(Entry { record, .. })) => match record.state {
                State::Completed(whose) if record.fingerprint == me.fingerprint => {
                    world.replay(self, who, whose);
                }
                _ => world.end(who, Answer::Unknown),
            },
            (Stage::Looking, Some(entry))
                if entry.record.owner == who && entry.record.state == State::InProgress =>
            {
                world.claim_mut(who).version = entry.version;
                self.send(world, who, Purpose::Release);
            }
            (Stage::Looking, _) => self.confirmed(world, who, Purpose::Release),
            (stage, _) => panic!("request {who} reads nothing, but is {stage:?}"),
        }
    }
}

impl World {
    /// What the backend does with a call.
    pub(crate) fn apply(&mut self, call: Call) -> Reply {
        let holds = match (call.precondition, self.slot) {
            (Precondition::Any, _) | (Precondition::Absent, None) => true,
            (Precondition::Matches(version), Some(entry)) => version == entry.version,
            _ => false,
        };
        if !holds {
            return match call.writes {
                Some(_) => Reply::Conflict(self.slot),
                None => Reply::Deleted(false),
            };
        }
        self.judge_write();
        self.before = self.slot.filter(|_| self.left.failovers > 0);
        let Some(record) = call.writes else {
            return Reply::Deleted(self.slot.take().is_some());
        };
        self.version += 1;
        self.slot = Some(Entry {
            record,
            version: self.version,
            lease_over: false,
        });
        Reply::Stored(self.version)
    }

    pub(crate) fn claim(&self, who: usize) -> Claim {
        self.requests[who].claim.expect("it has the key")
    }

    fn claim_mut(&mut self, who: usize) -> &mut Claim {
        self.requests[who].claim.as_mut().expect("it has the key")
    }

    fn replay(&mut self, case: &Case, who: usize, owner: usize) {
        if self.requests[who].answer.is_none() {
            self.judge_result(case, who, owner);
        }
        self.end(who, Answer::Result(owner));
    }

    /// The request answers, unless it has, and does nothing more.
    fn end(&mut self, who: usize, answer: Answer) {
        let request = &mut self.requests[who];
        request.stage = Stage::Over;
        request.is_sure = false;
        request.answer.get_or_insert(answer);
    }

    /// The key is new again: what is promised of it holds from here.
    pub(crate) fn begin_anew(&mut self) {
        self.seen.results.clear();
        for request in &mut self.requests {
            request.is_sure = false;
            request.is_forgotten |= request.answer.is_some();
            request.is_of_the_past |= request.claim.is_some() || request.begun.is_some();
        }
    }
}

impl Call {
    /// What its sender has when this put brought it in, as this version.
    fn claim(self, version: u8) -> Claim {
        let record = self.writes.expect("a claim is a put");
        Claim {
            epoch: version,
            version,
            attempt: record.attempt,
            started: record.started,
            is_followed: false,
        }
    }
}
