//! Commits to one handle: merges, logins, rotations, slides, and the end.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::{breaks, holds};

// The protocol.

/// What a request does to the session that it loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// Makes the session, under a handle of its own.
    Create,
    /// Sets the attribute with this number.
    Set(usize),
    /// Sets it unless anyone committed since the load.
    SetStrictly(usize),
    /// Adds one to the count at once, and tells the caller what it is then.
    Increment,
    Login,
    /// Sets the attribute, and gives the session a new secret on the way.
    Rotate(usize),
    Slide,
    Destroy,
}

/// What the protocol does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    CommitByAny,
    AbsentAfterGone,
    NoGenerationCheck,
    GenerationBeforeNonce,
    NoNonce,
    /// A commit keeps its nonce when it is put on top of another record. Once others have pushed
    /// it out of the trail, its second time makes the trail seem to reach back to the first.
    OneNonce,
    NoIndeterminate,
    /// Not a mistake: a trail need not reach back to the load, only to the first put that timed
    /// out.
    LooksBackNoFurtherThanNeeded,
    /// Generation and strictness are looked at before it is asked whether the trail reaches back.
    IndeterminateLast,
    PutsAllItLoaded,
    /// Who finds the own nonce answers with the count that is there, not with the one it made.
    AnswersWithWhatIsThere,
    LoginKeepsGeneration,
    RotationOverRotation,
    SlideByAny,
    SlideWithNonce,
    NoTombstone,
    /// A creation that timed out is tried again under the same handle, where the first call may
    /// arrive when the session has come and gone.
    CreatesAgainUnderOneHandle,
}

/// What is under the handle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Slot {
    Nothing,
    Tombstone,
    Live(Record),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Record {
    attributes: [u8; 2],
    count: u8,
    generation: u8,
    secret: u8,
    /// Nonces of the last commits, the latest first.
    trail: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Precondition {
    Any,
    Absent,
    Matches(u8),
}

/// A put, or a delete if its value is nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Call {
    by: usize,
    value: Slot,
    precondition: Precondition,
}

/// A commit between its puts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    base: Record,
    nonce: u8,
    /// The latest nonce in what the put replaces, and in what the first one was to replace that
    /// timed out.
    over: u8,
    unanswered_over: Option<u8>,
    puts: u8,
    /// The put that is under way.
    call: Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    /// With the count that the caller is told.
    Done(u8),
    Gone,
    Ended,
    Stale,
    Conflict,
    Indeterminate,
    /// Time was over, and a put had timed out.
    Unknown,
    Contended,
    /// What this request writes makes a session under another handle.
    Elsewhere,
}

impl Commit {
    /// The first try: of what was loaded, and as its version.
    fn begin(&self, who: usize, base: Record, version: u8) -> Stage {
        let nonce = nonce(who, 1);
        let value = self.merge(who, &base, &base, nonce);
        let precondition = match self.tasks[who] {
            Task::Slide if self.change == Change::SlideByAny => Precondition::Any,
            Task::Slide => Precondition::Matches(version),
            _ if self.change == Change::CommitByAny => Precondition::Any,
            _ => Precondition::Matches(version),
        };
        let call = Call {
            by: who,
            value: Slot::Live(value),
            precondition,
        };
        Stage::Waiting(Attempt {
            over: base.trail[0],
            base,
            nonce,
            unanswered_over: None,
            puts: 1,
            call,
        })
    }

    /// The first try of a creation.
    fn create(&self, who: usize) -> Stage {
        let nonce = nonce(who, 1);
        let blank = Record {
            attributes: [0; 2],
            count: 0,
            generation: unique(who),
            secret: unique(who),
            trail: vec![0; self.trail],
        };
        let base = self.merge(who, &blank, &blank, nonce);
        let call = Call {
            by: who,
            value: Slot::Live(base.clone()),
            precondition: Precondition::Absent,
        };
        Stage::Waiting(Attempt {
            over: base.trail[0],
            base,
            nonce,
            unanswered_over: None,
            puts: 1,
            call,
        })
    }

    /// Changes exactly what the task changes.
    fn merge(&self, who: usize, base: &Record, current: &Record, nonce: u8) -> Record {
        let mut next = match self.change {
            Change::PutsAllItLoaded => base.clone(),
            _ => current.clone(),
        };
        match self.tasks[who] {
            Task::Create => next.attributes[0] = unique(who),
            Task::Set(name) | Task::SetStrictly(name) => next.attributes[name] = unique(who),
            Task::Increment => next.count += 1,
            Task::Login => {
                next.secret = unique(who);
                if self.change != Change::LoginKeepsGeneration {
                    next.generation = unique(who);
                }
            }
            Task::Rotate(name) => {
                next.attributes[name] = unique(who);
                if current.secret == base.secret || self.change == Change::RotationOverRotation {
                    next.secret = unique(who);
                }
            }
            Task::Slide | Task::Destroy => {}
        }
        let signs = match self.tasks[who] {
            Task::Slide => self.change == Change::SlideWithNonce,
            _ => self.change != Change::NoNonce,
        };
        if signs {
            next.trail.insert(0, nonce);
            next.trail.truncate(self.trail);
        }
        next
    }

    /// What a commit does about what is there instead.
    fn conflict(&self, who: usize, mut attempt: Attempt, current: &Slot, version: u8) -> Stage {
        let task = self.tasks[who];
        let current = match current {
            Slot::Nothing if self.change == Change::AbsentAfterGone => {
                attempt.call.precondition = Precondition::Absent;
                return next_try(attempt);
            }
            Slot::Nothing => return Stage::Over(Outcome::Gone),
            Slot::Tombstone => return Stage::Over(Outcome::Ended),
            Slot::Live(record) => record,
        };
        if task == Task::Slide {
            return Stage::Over(Outcome::Done(0));
        }
        let other_generation = current.generation != attempt.base.generation
            && self.change != Change::NoGenerationCheck;
        if other_generation && self.change == Change::GenerationBeforeNonce {
            return Stage::Over(Outcome::Stale);
        }
        if current.trail.contains(&attempt.nonce) {
            let count = match self.change {
                Change::AnswersWithWhatIsThere => current.count,
                _ => count_in(&attempt.call),
            };
            return Stage::Over(Outcome::Done(count));
        }
        let lost_sight = attempt.unanswered_over.is_some_and(|over| {
            !current.trail.contains(match self.change {
                Change::LooksBackNoFurtherThanNeeded => &over,
                _ => &attempt.base.trail[0],
            })
        });
        let indeterminate = match self.change {
            Change::NoIndeterminate => false,
            Change::IndeterminateLast => lost_sight && task == Task::Increment,
            _ => lost_sight && !task.may_be_done_twice(),
        };
        if indeterminate && self.change != Change::IndeterminateLast {
            return Stage::Over(Outcome::Indeterminate);
        }
        if other_generation {
            return Stage::Over(Outcome::Stale);
        }
        if task.is_strict() && current.trail[0] != attempt.base.trail[0] {
            return Stage::Over(Outcome::Conflict);
        }
        if indeterminate {
            return Stage::Over(Outcome::Indeterminate);
        }
        if self.change != Change::OneNonce {
            attempt.nonce = nonce(who, attempt.puts + 1);
        }
        attempt.over = current.trail[0];
        attempt.call = Call {
            by: who,
            value: Slot::Live(self.merge(who, &attempt.base, current, attempt.nonce)),
            precondition: Precondition::Matches(version),
        };
        next_try(attempt)
    }

    /// What a commit does when no answer came.
    fn timed_out(&self, who: usize, mut attempt: Attempt) -> Stage {
        let renames = self.change != Change::CreatesAgainUnderOneHandle;
        match self.tasks[who] {
            Task::Slide => Stage::Over(Outcome::Done(0)),
            Task::Create if renames => Stage::Over(Outcome::Elsewhere),
            _ => {
                attempt.unanswered_over.get_or_insert(attempt.over);
                next_try(attempt)
            }
        }
    }

    /// The end, whatever is there.
    fn destroy(&self, who: usize, base: Record) -> Stage {
        let value = match self.change {
            Change::NoTombstone => Slot::Nothing,
            _ => Slot::Tombstone,
        };
        Stage::Waiting(Attempt {
            over: base.trail[0],
            base,
            nonce: 0,
            unanswered_over: None,
            puts: 1,
            call: Call {
                by: who,
                value,
                precondition: Precondition::Any,
            },
        })
    }
}

impl Task {
    const fn is_strict(self) -> bool {
        matches!(self, Self::SetStrictly(_))
    }

    /// Whether its second time changes nothing that its first did not.
    const fn may_be_done_twice(self) -> bool {
        !matches!(self, Self::Increment | Self::SetStrictly(_) | Self::Login)
    }
}

fn next_try(mut attempt: Attempt) -> Stage {
    attempt.puts += 1;
    if attempt.puts <= TRIES {
        Stage::Waiting(attempt)
    } else if attempt.unanswered_over.is_some() {
        Stage::Over(Outcome::Unknown)
    } else {
        Stage::Over(Outcome::Contended)
    }
}

/// A number that only this request uses, for a value, a generation or a secret.
fn unique(who: usize) -> u8 {
    u8::try_from(who + 1).expect("few requests")
}

fn nonce(who: usize, put: u8) -> u8 {
    unique(who) * 10 + put
}

fn count_in(call: &Call) -> u8 {
    match &call.value {
        Slot::Live(record) => record.count,
        Slot::Nothing | Slot::Tombstone => 0,
    }
}

// The world.

/// Requests of one session.
#[derive(Clone, Debug)]
struct Commit {
    change: Change,
    tasks: Vec<Task>,
    /// How many nonces a record keeps.
    trail: usize,
    /// How many calls may time out.
    time_outs: u8,
    /// Whether records leave before their time, and tombstones find no memory.
    scarce: bool,
    /// What this case is made for: `sometimes` properties that must be met.
    reaches: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    slot: Slot,
    /// Of the last write.
    version: u8,
    requests: Vec<Request>,
    /// Calls that timed out and may yet arrive.
    late: BTreeSet<(u8, Call)>,
    time_outs: u8,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    stage: Stage,
    /// How many commits and logins there had been when it loaded, and the secret then.
    commits: u8,
    logins: u8,
    secret: u8,
    /// How often a call of it was applied, and which count the last one made.
    applied: u8,
    made: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Before,
    Waiting(Attempt),
    Over(Outcome),
}

/// What an observer knows who sees everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    commits: u8,
    logins: u8,
    /// The session was destroyed, expired or was evicted.
    ended: bool,
    /// It was destroyed, and its tombstone should still be there.
    within_late_window: bool,
    wrong: Option<Wrong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    Resurrected,
    LostUpdate,
    WrittenByStale,
    RotatedTwice,
    StrictOverwrote,
    DoneTwice,
    ToldOtherwise,
    DeniedWhatItDid,
    NeedlessConflict,
    WrittenAfterAnswer,
    ForgotTheEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Load(usize),
    /// The call arrives and is answered.
    Arrive(usize),
    /// The request hears nothing, and the call stays under way.
    TimeOut(usize),
    ArriveLate(u8, Call),
    /// There is no memory for the tombstone: the request deletes instead.
    RefuseTombstone(usize),
    TombstoneExpires,
    RecordExpires,
}

impl Model for Commit {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let slot = if self.tasks.contains(&Task::Create) {
            Slot::Nothing
        } else {
            Slot::Live(Record {
                attributes: [0; 2],
                count: 0,
                generation: 0,
                secret: 0,
                trail: vec![0; self.trail],
            })
        };
        let request = Request {
            stage: Stage::Before,
            commits: 0,
            logins: 0,
            secret: 0,
            applied: 0,
            made: 0,
        };
        vec![World {
            slot,
            version: 0,
            requests: vec![request; self.tasks.len()],
            late: BTreeSet::new(),
            time_outs: self.time_outs,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.seen.wrong.is_some() {
            return;
        }
        for (who, request) in world.requests.iter().enumerate() {
            match &request.stage {
                Stage::Before if self.has_token(world, who) => steps.push(Step::Load(who)),
                Stage::Before | Stage::Over(_) => {}
                Stage::Waiting(attempt) => {
                    steps.push(Step::Arrive(who));
                    if world.time_outs > 0 {
                        steps.push(Step::TimeOut(who));
                    }
                    if self.scarce && attempt.call.value == Slot::Tombstone {
                        steps.push(Step::RefuseTombstone(who));
                    }
                }
            }
        }
        let late = world.late.iter().cloned();
        steps.extend(late.map(|(number, call)| Step::ArriveLate(number, call)));
        match world.slot {
            Slot::Tombstone => steps.push(Step::TombstoneExpires),
            Slot::Live(_) if self.scarce => steps.push(Step::RecordExpires),
            Slot::Live(_) | Slot::Nothing => {}
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::Load(who) => self.load(&mut world, who),
            Step::Arrive(who) => {
                let attempt = world.attempt(who);
                let stored = self.apply(&mut world, &attempt.call);
                let stage = if stored {
                    Stage::Over(Outcome::Done(count_in(&attempt.call)))
                } else {
                    self.conflict(who, attempt, &world.slot, world.version)
                };
                self.go_on(&mut world, who, stage);
            }
            Step::TimeOut(who) => {
                let attempt = world.attempt(who);
                world.late.insert((world.time_outs, attempt.call.clone()));
                world.time_outs -= 1;
                let stage = self.timed_out(who, attempt);
                self.go_on(&mut world, who, stage);
            }
            Step::ArriveLate(number, call) => {
                self.apply(&mut world, &call);
                world.late.remove(&(number, call));
            }
            Step::RefuseTombstone(who) => {
                let mut attempt = world.attempt(who);
                attempt.call.value = Slot::Nothing;
                world.requests[who].stage = Stage::Waiting(attempt);
            }
            Step::TombstoneExpires => {
                world.slot = Slot::Nothing;
                world.seen.within_late_window = false;
            }
            Step::RecordExpires => {
                world.slot = Slot::Nothing;
                world.seen.ended = true;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let reaches = |property: &Property<_>| self.reaches.contains(&property.name);
        let examples = examples().into_iter().filter(reaches);
        promises().into_iter().chain(examples).collect()
    }
}

impl Commit {
    /// Whether the request can know the handle.
    fn has_token(&self, world: &World, who: usize) -> bool {
        self.tasks[who] == Task::Create
            || (0..self.tasks.len())
                .filter(|&other| self.tasks[other] == Task::Create)
                .all(|creator| world.is_done(creator))
    }

    fn load(&self, world: &mut World, who: usize) {
        let request = &mut world.requests[who];
        request.commits = world.seen.commits;
        request.logins = world.seen.logins;
        let stage = match (&world.slot, self.tasks[who]) {
            (Slot::Nothing, Task::Create) => self.create(who),
            (Slot::Nothing, _) => Stage::Over(Outcome::Elsewhere),
            (Slot::Tombstone, _) => Stage::Over(Outcome::Ended),
            (Slot::Live(record), task) => {
                request.secret = record.secret;
                match task {
                    Task::Destroy => self.destroy(who, record.clone()),
                    _ => self.begin(who, record.clone(), world.version),
                }
            }
        };
        self.go_on(world, who, stage);
    }

    /// What the backend does with a call: says whether the precondition held.
    fn apply(&self, world: &mut World, call: &Call) -> bool {
        let holds = match call.precondition {
            Precondition::Any => true,
            Precondition::Absent => world.slot == Slot::Nothing,
            Precondition::Matches(version) => {
                world.slot != Slot::Nothing && world.version == version
            }
        };
        if holds {
            self.judge_write(world, call);
            world.slot = call.value.clone();
            world.version += 1;
        }
        holds
    }

    fn judge_write(&self, world: &mut World, call: &Call) {
        let task = self.tasks[call.by];
        let Slot::Live(next) = &call.value else {
            world.seen.ended = true;
            // A tombstone that found no memory is excused.
            world.seen.within_late_window |= !self.scarce;
            return;
        };
        let request = &world.requests[call.by];
        let wrong = match &world.slot {
            _ if world.seen.ended => Some(Wrong::Resurrected),
            Slot::Nothing | Slot::Tombstone => None,
            Slot::Live(now) => wrong_write(task, request, &world.seen, now, next),
        };
        world.seen.wrong = world.seen.wrong.or(wrong);
        world.seen.commits += u8::from(task != Task::Slide);
        world.seen.logins += u8::from(task == Task::Login);
        let request = &mut world.requests[call.by];
        request.applied += 1;
        request.made = next.count;
    }

    fn go_on(&self, world: &mut World, who: usize, stage: Stage) {
        if let Stage::Over(outcome) = &stage {
            let wrong = self.wrong_answer(world, who, *outcome);
            world.seen.wrong = world.seen.wrong.or(wrong);
        }
        world.requests[who].stage = stage;
    }

    fn wrong_answer(&self, world: &World, who: usize, outcome: Outcome) -> Option<Wrong> {
        let task = self.tasks[who];
        let request = &world.requests[who];
        let is_harmless = task.may_be_done_twice();
        match (task, outcome) {
            (Task::Slide | Task::Destroy, Outcome::Done(_)) => None,
            (Task::Increment, Outcome::Done(count)) if count != request.made => {
                Some(Wrong::ToldOtherwise)
            }
            (_, Outcome::Done(_)) => (request.applied == 0).then_some(Wrong::ToldOtherwise),
            (_, Outcome::Stale | Outcome::Conflict | Outcome::Contended)
                if !is_harmless && request.applied > 0 =>
            {
                Some(Wrong::DeniedWhatItDid)
            }
            (_, Outcome::Conflict) if world.seen.commits == request.commits => {
                Some(Wrong::NeedlessConflict)
            }
            (_, Outcome::Elsewhere) if world.seen.within_late_window => Some(Wrong::ForgotTheEnd),
            _ => None,
        }
    }
}

/// What is wrong with putting the next record over the one that is there now.
fn wrong_write(
    task: Task,
    request: &Request,
    seen: &Seen,
    now: &Record,
    next: &Record,
) -> Option<Wrong> {
    let own = match task {
        Task::Set(name) | Task::SetStrictly(name) | Task::Rotate(name) => Some(name),
        Task::Create => Some(0),
        Task::Increment | Task::Login | Task::Slide | Task::Destroy => None,
    };
    let keeps_attributes = (0..now.attributes.len())
        .all(|name| Some(name) == own || now.attributes[name] == next.attributes[name]);
    let counts = next.count == now.count + u8::from(task == Task::Increment);
    let may_change_secret = matches!(task, Task::Login | Task::Rotate(_));
    let changes_secret = next.secret != now.secret;
    let changes_generation = next.generation != now.generation;

    if request.was_answered() && task != Task::Slide {
        Some(Wrong::WrittenAfterAnswer)
    } else if task == Task::Increment && request.applied > 0 {
        Some(Wrong::DoneTwice)
    } else if task.is_strict() && seen.commits > request.commits {
        Some(Wrong::StrictOverwrote)
    } else if seen.logins > request.logins {
        Some(Wrong::WrittenByStale)
    } else if matches!(task, Task::Rotate(_)) && changes_secret && now.secret != request.secret {
        Some(Wrong::RotatedTwice)
    } else if !keeps_attributes
        || !counts
        || (changes_secret && !may_change_secret)
        || (changes_generation && task != Task::Login)
    {
        Some(Wrong::LostUpdate)
    } else {
        None
    }
}

impl Request {
    /// Whether its caller knows what became of it.
    fn was_answered(&self) -> bool {
        use Outcome::{Conflict, Contended, Done, Stale};
        matches!(
            self.stage,
            Stage::Over(Done(_) | Stale | Conflict | Contended)
        )
    }
}

impl World {
    fn attempt(&self, who: usize) -> Attempt {
        match &self.requests[who].stage {
            Stage::Waiting(attempt) => attempt.clone(),
            stage => panic!("request {who} waits for nothing, but is {stage:?}"),
        }
    }

    fn is_done(&self, who: usize) -> bool {
        matches!(self.requests[who].stage, Stage::Over(Outcome::Done(_)))
    }

    fn all_are_done(&self) -> bool {
        (0..self.requests.len()).all(|who| self.is_done(who))
    }

    fn any(&self, wanted: Outcome) -> bool {
        let wanted = Stage::Over(wanted);
        self.requests.iter().any(|request| request.stage == wanted)
    }

    fn lacks(&self, wrong: Wrong) -> bool {
        self.seen.wrong != Some(wrong)
    }
}

fn promises() -> Vec<Property<Commit>> {
    vec![
        Property::always(ENDED_STAYS, |_, world: &World| {
            world.lacks(Wrong::Resurrected)
        }),
        Property::always(NO_LOST_UPDATE, |_, world: &World| {
            world.lacks(Wrong::LostUpdate)
        }),
        Property::always(STALE_IS_MUTE, |_, world: &World| {
            world.lacks(Wrong::WrittenByStale)
        }),
        Property::always(ONE_ROTATION, |_, world: &World| {
            world.lacks(Wrong::RotatedTwice)
        }),
        Property::always(STRICT, |_, world: &World| {
            world.lacks(Wrong::StrictOverwrote)
        }),
        Property::always(ONCE, |_, world: &World| world.lacks(Wrong::DoneTwice)),
        Property::always(TRUE_ANSWER, |_, world: &World| {
            world.lacks(Wrong::ToldOtherwise)
        }),
        Property::always(TRUE_REFUSAL, |_, world: &World| {
            world.lacks(Wrong::DeniedWhatItDid)
        }),
        Property::always(CONFLICT_HAS_CAUSE, |_, world: &World| {
            world.lacks(Wrong::NeedlessConflict)
        }),
        Property::always(OVER_IS_OVER, |_, world: &World| {
            world.lacks(Wrong::WrittenAfterAnswer)
        }),
        Property::always(END_IS_KNOWN, |_, world: &World| {
            world.lacks(Wrong::ForgotTheEnd)
        }),
    ]
}

/// What must be possible, in the cases that say so.
fn examples() -> Vec<Property<Commit>> {
    vec![
        Property::sometimes(ALL_DONE, |_, world: &World| world.all_are_done()),
        Property::sometimes(RECOGNISED, |model: &Commit, world: &World| {
            world.time_outs < model.time_outs && world.all_are_done()
        }),
        Property::sometimes(STALE, |_, world: &World| world.any(Outcome::Stale)),
        Property::sometimes(GONE, |_, world: &World| world.any(Outcome::Gone)),
        Property::sometimes(ENDED, |_, world: &World| world.any(Outcome::Ended)),
        Property::sometimes(CONFLICT, |_, world: &World| world.any(Outcome::Conflict)),
        Property::sometimes(INDETERMINATE, |_, world: &World| {
            world.any(Outcome::Indeterminate)
        }),
        Property::sometimes(ELSEWHERE, |_, world: &World| world.any(Outcome::Elsewhere)),
        Property::sometimes(LATE, |_, world: &World| {
            let applied = |request: &Request| {
                request.applied > 0 && request.stage == Stage::Over(Outcome::Unknown)
            };
            world.requests.iter().any(applied)
        }),
    ]
}

// The cases.

fn merging() -> Commit {
    let tasks = [Task::Set(0), Task::Set(1), Task::Set(0)];
    case(&tasks, &[ALL_DONE, RECOGNISED, LATE])
}

fn counting() -> Commit {
    let tasks = [Task::Increment, Task::Increment, Task::Set(0)];
    case(&tasks, &[ALL_DONE, RECOGNISED, LATE])
}

/// With a trail that soon reaches back no more.
fn counting_with_a_short_trail() -> Commit {
    let tasks = [Task::Increment, Task::Set(0), Task::Set(1)];
    Commit {
        trail: 1,
        time_outs: 3,
        ..case(&tasks, &[ALL_DONE, INDETERMINATE])
    }
}

fn strictness() -> Commit {
    let tasks = [Task::SetStrictly(0), Task::Set(1), Task::Slide];
    case(&tasks, &[ALL_DONE, CONFLICT])
}

fn strictness_with_a_short_trail() -> Commit {
    let tasks = [Task::SetStrictly(0), Task::Set(0), Task::Set(1)];
    Commit {
        trail: 1,
        ..case(&tasks, &[ALL_DONE, CONFLICT, INDETERMINATE])
    }
}

fn login() -> Commit {
    let tasks = [Task::Set(0), Task::Login, Task::Increment];
    case(&tasks, &[ALL_DONE, RECOGNISED, STALE, INDETERMINATE])
}

fn two_logins() -> Commit {
    let tasks = [Task::Login, Task::Login, Task::Slide];
    case(&tasks, &[ALL_DONE, RECOGNISED, STALE])
}

fn rotation() -> Commit {
    let tasks = [Task::Rotate(0), Task::Rotate(1), Task::Set(0)];
    case(&tasks, &[ALL_DONE, RECOGNISED])
}

fn ending() -> Commit {
    let tasks = [Task::Set(0), Task::Destroy, Task::Increment];
    case(&tasks, &[ALL_DONE, GONE, ENDED, ELSEWHERE])
}

fn ending_without_memory() -> Commit {
    let tasks = [Task::Set(0), Task::Destroy, Task::Slide];
    Commit {
        scarce: true,
        ..case(&tasks, &[ALL_DONE, GONE, ENDED, ELSEWHERE])
    }
}

fn a_whole_life() -> Commit {
    let tasks = [Task::Create, Task::Destroy, Task::Set(1)];
    Commit {
        scarce: true,
        ..case(&tasks, &[ALL_DONE, GONE, ENDED, ELSEWHERE])
    }
}

fn case(tasks: &[Task], reaches: &'static [&'static str]) -> Commit {
    Commit {
        change: Change::Nothing,
        tasks: tasks.to_vec(),
        trail: 2,
        time_outs: 2,
        scarce: false,
        reaches,
    }
}

#[test]
fn different_attributes_survive_and_of_the_same_the_later() {
    holds(merging());
}

#[test]
fn counts_are_exact_or_reported() {
    holds(counting());
    holds(counting_with_a_short_trail());
}

#[test]
fn a_trail_need_reach_back_only_to_the_first_put_that_timed_out() {
    let change = Change::LooksBackNoFurtherThanNeeded;
    holds(change.of(counting()));
    holds(change.of(counting_with_a_short_trail()));
    holds(change.of(strictness_with_a_short_trail()));
    holds(change.of(login()));
}

#[test]
fn strict_commits_overwrite_nobody_and_fail_for_a_reason() {
    holds(strictness());
    holds(strictness_with_a_short_trail());
}

#[test]
fn nobody_writes_after_a_login_who_loaded_before() {
    holds(login());
    holds(Commit {
        trail: 1,
        ..login()
    });
    holds(two_logins());
}

#[test]
fn one_of_two_rotations_wins_and_both_writers_survive() {
    holds(rotation());
}

#[test]
fn what_has_ended_never_lives_again() {
    holds(ending());
    holds(ending_without_memory());
    holds(a_whole_life());
}

#[test]
fn commits_by_any_lose_updates_and_bring_back_the_dead() {
    breaks(Change::CommitByAny.of(merging()), NO_LOST_UPDATE);
    breaks(Change::CommitByAny.of(ending()), ENDED_STAYS);
    breaks(Change::CommitByAny.of(login()), STALE_IS_MUTE);
    breaks(Change::CommitByAny.of(merging()), OVER_IS_OVER);
}

#[test]
fn absent_after_gone_brings_back_the_dead() {
    breaks(Change::AbsentAfterGone.of(ending()), ENDED_STAYS);
}

#[test]
fn without_a_look_at_the_generation_the_stale_write() {
    breaks(Change::NoGenerationCheck.of(login()), STALE_IS_MUTE);
    breaks(Change::NoGenerationCheck.of(two_logins()), STALE_IS_MUTE);
    breaks(Change::LoginKeepsGeneration.of(login()), STALE_IS_MUTE);
}

#[test]
fn a_look_at_the_generation_before_the_nonce_denies_a_login_that_happened() {
    breaks(Change::GenerationBeforeNonce.of(two_logins()), TRUE_REFUSAL);
}

#[test]
fn without_a_nonce_a_lost_reply_counts_twice() {
    breaks(Change::NoNonce.of(counting()), ONCE);
    breaks(Change::NoNonce.of(strictness()), STRICT);
}

#[test]
fn a_nonce_that_is_used_twice_deceives_those_who_look_for_it() {
    breaks(Change::OneNonce.of(counting()), ONCE);
    breaks(Change::OneNonce.of(counting_with_a_short_trail()), ONCE);
    breaks(Change::OneNonce.of(strictness_with_a_short_trail()), STRICT);
}

#[test]
fn a_trail_that_does_not_reach_back_proves_nothing() {
    let change = Change::NoIndeterminate;
    breaks(change.of(counting_with_a_short_trail()), ONCE);
    breaks(change.of(strictness_with_a_short_trail()), TRUE_REFUSAL);
    let change = Change::IndeterminateLast;
    breaks(change.of(login()), TRUE_REFUSAL);
    breaks(change.of(strictness_with_a_short_trail()), TRUE_REFUSAL);
}

#[test]
fn putting_all_that_was_loaded_loses_updates() {
    breaks(Change::PutsAllItLoaded.of(merging()), NO_LOST_UPDATE);
}

#[test]
fn what_is_there_is_not_what_was_made() {
    let change = Change::AnswersWithWhatIsThere;
    breaks(change.of(counting()), TRUE_ANSWER);
}

#[test]
fn rotating_what_was_rotated_forgets_a_secret_that_was_sent() {
    breaks(Change::RotationOverRotation.of(rotation()), ONE_ROTATION);
}

#[test]
fn slides_by_any_lose_updates_and_bring_back_the_dead() {
    breaks(Change::SlideByAny.of(strictness()), NO_LOST_UPDATE);
    breaks(Change::SlideByAny.of(ending_without_memory()), ENDED_STAYS);
}

#[test]
fn a_slide_with_a_nonce_fails_strict_commits() {
    breaks(Change::SlideWithNonce.of(strictness()), CONFLICT_HAS_CAUSE);
}

#[test]
fn without_a_tombstone_nobody_knows_of_the_end() {
    breaks(Change::NoTombstone.of(ending()), END_IS_KNOWN);
}

#[test]
fn creating_again_under_one_handle_brings_back_the_dead() {
    let change = Change::CreatesAgainUnderOneHandle;
    breaks(change.of(a_whole_life()), ENDED_STAYS);
}

impl Change {
    fn of(self, case: Commit) -> Commit {
        Commit {
            change: self,
            ..case
        }
    }
}

/// How many puts a commit tries.
const TRIES: u8 = 4;

const ENDED_STAYS: &str = "S4: what has ended does not live again";
const NO_LOST_UPDATE: &str = "S2: a put changes exactly what its request changed";
const STALE_IS_MUTE: &str = "S5: who loaded before a login writes nothing after it";
const ONE_ROTATION: &str = "S6: of rotations of one secret one wins";
const STRICT: &str = "S3: a strict commit overwrites nobody";
const ONCE: &str = "S3: nothing is counted twice";
const TRUE_ANSWER: &str = "S3: what is answered is what was done";
const TRUE_REFUSAL: &str = "S3: what is said not to be done is not done";
const CONFLICT_HAS_CAUSE: &str = "S3: a strict commit is refused only because of a commit";
const OVER_IS_OVER: &str = "S3: nothing is written after its answer";
const END_IS_KNOWN: &str = "behaviour 18: while a tombstone should be there, the end is known";

const ALL_DONE: &str = "all are done";
const RECOGNISED: &str = "all are done though a call timed out";
const STALE: &str = "somebody is stale";
const GONE: &str = "somebody finds nothing instead of what was loaded";
const ENDED: &str = "somebody finds a tombstone";
const CONFLICT: &str = "a strict commit is refused";
const INDETERMINATE: &str = "somebody cannot know";
const ELSEWHERE: &str = "somebody makes another session";
const LATE: &str = "a request is written that had given up";
