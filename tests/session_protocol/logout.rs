//! Logins of one user, and the calls that log that user out everywhere.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use crate::{breaks, holds};

// The protocol.

/// What runs. The index and the epoch are those of Ann.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// Logs Ann in: of a browser that sends the handle of the first session, or none.
    Login {
        with_cookie: bool,
    },
    DestroyAll,
    /// Removes from the index what is absent or ended.
    Prune,
    /// Gives the first session a new time to live, and joins the index again.
    Slide,
}

/// What the protocol does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    BindByAbsent,
    JoinBeforeCreate,
    CheckBeforeJoin,
    ListBeforeEpoch,
    EpochNotPut,
    TicketsNeverAge,
    EndsNoSession,
    /// Not a mistake: the end needs no tombstone.
    DeletesInstead,
    EndsSessionsOfOthers,
    PrunesAnonymous,
    PruneRemovesNothing,
    SwitchKeepsSession,
    SwitchEndsNothing,
    /// A login that fails takes its handle out of the index also where the browser had it before,
    /// so that another login may have bound it.
    LeavesWithAnyHandle,
    /// A login that gave up while it bound its session leaves the index.
    LeavesWhenItGivesUp,
    /// A creation that timed out is tried again under the same handle, where the first call may
    /// arrive after a logout.
    CreatesAgainUnderOneHandle,
    /// To join again with an earlier deadline makes the deadline earlier.
    JoinShortens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum User {
    Ann,
    Bob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Session {
    user: Option<User>,
    /// Whose data it holds.
    data: Option<User>,
    generation: u8,
    /// When its absolute time is over: a login makes it later.
    deadline: u8,
    /// Which login bound it.
    bound_by: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Slot {
    Nothing,
    Tombstone,
    Live { version: u8, session: Session },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Precondition {
    Absent,
    Matches(u8),
}

/// A call that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Call {
    PutEpoch,
    Join {
        handle: usize,
        deadline: u8,
    },
    Leave {
        handle: usize,
    },
    Put {
        handle: usize,
        session: Session,
        precondition: Precondition,
    },
    PutTombstone {
        handle: usize,
    },
    Delete {
        handle: usize,
    },
}

/// The call that is made next, or that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    // Login.
    Ticket,
    Load,
    Create,
    Join,
    Check,
    Bind,
    EndOldSession,
    Leave,
    // Log out everywhere, and prune.
    PutEpoch,
    List,
    Read,
    End,
    Remove,
    // Slide.
    LoadToSlide,
    Slide,
    JoinAgain,
    Over(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Done,
    /// A login that was told so, or a slide that was dropped.
    Failed,
    /// Nobody knows: a call timed out, and it was not repeated.
    GaveUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    at: At,
    /// The epoch that a login read, and whether that is too long ago.
    ticket: Option<u8>,
    ticket_is_old: bool,
    handle: usize,
    /// Whether this login made the handle, so that nobody else knows it.
    own: bool,
    /// The session as it was loaded or made, and its version.
    base: Session,
    version: u8,
    /// The session of another user that a login replaces.
    replaces: Option<usize>,
    /// Where the listing goes on, and what is listed already.
    cursor: Option<(u8, usize)>,
    listed: Vec<usize>,
    seen: Seen,
}

/// What an observer knows who sees everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    /// Whether a login has read its ticket.
    has_ticket: bool,
    /// The logins whose tickets precede this call; none is one before all that runs here.
    precede: BTreeSet<Option<usize>>,
    /// Whether all others were over when this prune began, and no call was under way.
    began_last: bool,
}

impl Logout {
    fn first(&self, task: Task) -> At {
        match task {
            Task::Login { .. } => At::Ticket,
            Task::DestroyAll => match self.change {
                Change::ListBeforeEpoch | Change::EpochNotPut => At::List,
                _ => At::PutEpoch,
            },
            Task::Prune => At::List,
            Task::Slide => At::LoadToSlide,
        }
    }

    /// The order of a login, once it knows the session it is for.
    fn login_order(&self) -> &'static [At] {
        match self.change {
            Change::BindByAbsent => &[At::Join, At::Check, At::Bind],
            Change::JoinBeforeCreate => &[At::Join, At::Create, At::Check, At::Bind],
            Change::CheckBeforeJoin => &[At::Create, At::Check, At::Join, At::Bind],
            _ => &[At::Create, At::Join, At::Check, At::Bind],
        }
    }

    fn login_step(&self, process: &Process, after: Option<At>) -> At {
        let order = self.login_order();
        let next = after.map_or(0, |after| {
            1 + order
                .iter()
                .position(|&at| at == after)
                .expect("a step of a login")
        });
        match order[next] {
            At::Create if !process.own => order[next + 1],
            step => step,
        }
    }

    /// What a login does with what is under the handle that the browser sent, if any.
    fn loaded(&self, world: &mut World, who: usize, found: Slot) {
        let keeps = |session: &Session| {
            session.user != Some(User::Bob) || self.change == Change::SwitchKeepsSession
        };
        match found {
            Slot::Live { version, session } if keeps(&session) => {
                let process = &mut world.processes[who];
                process.own = false;
                process.base = session;
                process.version = version;
            }
            Slot::Live { .. } => {
                world.processes[who].replaces = Some(world.processes[who].handle);
                world.makes_handle(who);
            }
            Slot::Nothing | Slot::Tombstone => world.makes_handle(who),
        }
        let process = &mut world.processes[who];
        process.at = self.login_step(process, None);
    }

    /// What a login does with the epoch as it is after it joined.
    fn checked(&self, process: &mut Process, epoch: Option<u8>) {
        let same = epoch.is_none() || epoch == process.ticket;
        let young = !process.ticket_is_old || self.change == Change::TicketsNeverAge;
        process.at = if same && young {
            self.login_step(process, Some(At::Check))
        } else if process.own || self.change == Change::LeavesWithAnyHandle {
            At::Leave
        } else {
            At::Over(Outcome::Failed)
        };
    }

    /// What a login does if it could not bind.
    fn bind_conflict(&self, who: usize, process: &mut Process, found: Slot) {
        process.at = match found {
            Slot::Nothing | Slot::Tombstone => At::Over(Outcome::Failed),
            // Stands for its nonce in the trail.
            Slot::Live { session, .. } if session.bound_by == Some(who) => self.after_bind(process),
            Slot::Live { session, .. } if session.generation != process.base.generation => {
                At::Over(Outcome::Failed)
            }
            Slot::Live { version, session } => {
                process.version = version;
                process.base = session;
                At::Bind
            }
        };
    }

    fn after_bind(&self, process: &Process) -> At {
        match process.replaces {
            Some(_) if self.change != Change::SwitchEndsNothing => At::EndOldSession,
            _ => At::Over(Outcome::Done),
        }
    }

    /// What logging out everywhere, or a prune, does with a listed handle.
    fn read(&self, task: Task, found: Slot) -> At {
        let user = match found {
            Slot::Nothing | Slot::Tombstone if self.change == Change::PruneRemovesNothing => {
                return At::Read;
            }
            Slot::Nothing | Slot::Tombstone => return At::Remove,
            Slot::Live { session, .. } => session.user,
        };
        match (task, user) {
            (Task::Prune, None) if self.change == Change::PrunesAnonymous => At::Remove,
            (Task::Prune, _) => At::Read,
            (_, Some(User::Bob)) if self.change != Change::EndsSessionsOfOthers => At::Remove,
            _ if self.change == Change::EndsNoSession => At::Remove,
            _ => At::End,
        }
    }

    /// The call that writes, if the next one does.
    fn call(&self, who: usize, process: &Process) -> Option<Call> {
        let handle = process.handle;
        Some(match process.at {
            At::Create => Call::Put {
                handle,
                session: process.base,
                precondition: Precondition::Absent,
            },
            At::Join => Call::Join {
                handle,
                deadline: LATER,
            },
            At::Bind => Call::Put {
                handle,
                session: Session {
                    user: Some(User::Ann),
                    data: process.base.data,
                    generation: generation(who),
                    deadline: LATER,
                    bound_by: Some(who),
                },
                precondition: match self.change {
                    Change::BindByAbsent if process.own => Precondition::Absent,
                    _ => Precondition::Matches(process.version),
                },
            },
            At::EndOldSession => Call::PutTombstone {
                handle: process.replaces.expect("a session to replace"),
            },
            At::Leave | At::Remove => Call::Leave { handle },
            At::PutEpoch => Call::PutEpoch,
            At::End => match self.change {
                Change::DeletesInstead => Call::Delete { handle },
                _ => Call::PutTombstone { handle },
            },
            At::Slide => Call::Put {
                handle,
                session: process.base,
                precondition: Precondition::Matches(process.version),
            },
            At::JoinAgain => Call::Join {
                handle,
                deadline: process.base.deadline,
            },
            At::Ticket
            | At::Load
            | At::Check
            | At::List
            | At::Read
            | At::LoadToSlide
            | At::Over(_) => {
                return None;
            }
        })
    }

    /// Goes on after a call that did what it should.
    fn written(&self, process: &mut Process, version: u8) {
        process.at = match process.at {
            At::Bind => self.after_bind(process),
            At::EndOldSession | At::JoinAgain => At::Over(Outcome::Done),
            At::Leave => At::Over(Outcome::Failed),
            At::PutEpoch if self.change == Change::ListBeforeEpoch => next_listed(process),
            At::PutEpoch => At::List,
            At::End => At::Remove,
            At::Remove => next_listed(process),
            At::Slide => At::JoinAgain,
            step => {
                if step == At::Create {
                    process.version = version;
                }
                self.login_step(process, Some(step))
            }
        };
    }

    /// Goes on after a put that was refused.
    fn refused(&self, world: &mut World, who: usize, found: Slot) {
        let process = &mut world.processes[who];
        match process.at {
            At::Bind => self.bind_conflict(who, process, found),
            At::Slide => process.at = At::Over(Outcome::Failed),
            At::Create => match found {
                // Its own, of a call that timed out.
                Slot::Live { version, .. } => self.written(process, version),
                Slot::Nothing | Slot::Tombstone => process.at = At::Over(Outcome::Failed),
            },
            at => panic!("{at:?} has no precondition"),
        }
    }

    /// Goes on after a call of which nothing is known: calls it again.
    fn timed_out(&self, world: &mut World, who: usize) {
        let renames = self.change != Change::CreatesAgainUnderOneHandle;
        if world.processes[who].at == At::Create && renames {
            world.makes_handle(who);
            let process = &mut world.processes[who];
            process.at = self.login_step(process, None);
        }
    }

    /// Goes on after a page, which has one member or none.
    fn listed(&self, process: &mut Process, task: Task, page: Option<(u8, usize)>) {
        if let Some((deadline, handle)) = page {
            process.cursor = Some((deadline, handle));
            process.listed.push(handle);
            return;
        }
        process.at = match (task, self.change) {
            (Task::DestroyAll, Change::ListBeforeEpoch) => At::PutEpoch,
            _ => next_listed(process),
        };
    }
}

fn next_listed(process: &mut Process) -> At {
    process.cursor = None;
    match process.listed.pop() {
        Some(handle) => {
            process.handle = handle;
            At::Read
        }
        None => At::Over(Outcome::Done),
    }
}

fn generation(who: usize) -> u8 {
    u8::try_from(who + 10).expect("few processes")
}

// The world.

/// Processes around one user, and what there is before.
#[derive(Clone, Debug)]
struct Logout {
    change: Change,
    tasks: Vec<Task>,
    /// Sessions, with the deadline under which they are members of the index.
    before: Vec<(Session, Option<u8>)>,
    /// How many calls may time out.
    time_outs: u8,
    /// How often a quarter of an hour may pass: an epoch lives between one and two.
    quarters: u8,
    /// What this case is made for: `sometimes` properties that must be met.
    reaches: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The version of the last write of any key.
    version: u8,
    /// The epoch's version, and whether tickets of its time are old.
    epoch: Option<(u8, bool)>,
    slots: Vec<Slot>,
    /// The deadlines of members.
    index: BTreeMap<usize, u8>,
    processes: Vec<Process>,
    /// Calls that timed out and may yet arrive.
    late: BTreeSet<(u8, Call)>,
    time_outs: u8,
    quarters: u8,
    /// The logins that precede a call to log out that has returned.
    must_be_dead: BTreeSet<Option<usize>>,
    wrong: Option<Wrong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    EndedAnothersSession,
    OldSessionLives,
    PruneLeftDead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The next call of the process arrives and is answered.
    Arrive(usize, At),
    /// The process hears nothing, the call stays under way, and the process repeats it.
    TimeOut(usize, At),
    /// Likewise, but it does not repeat it.
    GiveUp(usize, At),
    ArriveLate(u8, Call),
    /// An anonymous session or a tombstone is over.
    Expire(usize),
    /// Calls that have not arrived by then are lost.
    QuarterPasses,
}

impl Model for Logout {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let live = |version, session| Slot::Live { version, session };
        let members = self.before.iter().enumerate();
        let process = |&task| Process {
            at: self.first(task),
            ticket: None,
            ticket_is_old: false,
            handle: 0,
            own: false,
            base: ANONYMOUS,
            version: 0,
            replaces: None,
            cursor: None,
            listed: Vec::new(),
            seen: Seen::default(),
        };
        vec![World {
            version: 1,
            epoch: None,
            slots: self
                .before
                .iter()
                .map(|(session, _)| live(1, *session))
                .collect(),
            index: members
                .filter_map(|(handle, (_, deadline))| Some((handle, (*deadline)?)))
                .collect(),
            processes: self.tasks.iter().map(process).collect(),
            late: BTreeSet::new(),
            time_outs: self.time_outs,
            quarters: self.quarters,
            must_be_dead: BTreeSet::new(),
            wrong: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wrong.is_some() {
            return;
        }
        for (who, process) in world.processes.iter().enumerate() {
            if matches!(process.at, At::Over(_)) {
                continue;
            }
            steps.push(Step::Arrive(who, process.at));
            if world.time_outs > 0 && self.call(who, process).is_some() {
                steps.push(Step::TimeOut(who, process.at));
                steps.push(Step::GiveUp(who, process.at));
            }
        }
        steps.extend(
            world
                .late
                .iter()
                .map(|&(number, call)| Step::ArriveLate(number, call)),
        );
        let ephemeral = |slot: &Slot| match slot {
            Slot::Nothing => false,
            Slot::Tombstone => true,
            Slot::Live { session, .. } => session.user.is_none(),
        };
        let expiring = (0..world.slots.len()).filter(|&handle| ephemeral(&world.slots[handle]));
        steps.extend(expiring.map(Step::Expire));
        if world.quarters > 0 {
            steps.push(Step::QuarterPasses);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::Arrive(who, _) => self.arrive(&mut world, who),
            Step::TimeOut(who, _) => {
                self.loses(&mut world, who);
                self.timed_out(&mut world, who);
            }
            Step::GiveUp(who, _) => {
                self.loses(&mut world, who);
                let process = &mut world.processes[who];
                let leaves = self.change == Change::LeavesWhenItGivesUp && process.own;
                process.at = match process.at {
                    At::Bind if leaves => At::Leave,
                    _ => At::Over(Outcome::GaveUp),
                };
            }
            Step::ArriveLate(number, call) => {
                world.late.remove(&(number, call));
                let _unheard = self.apply(&mut world, call);
            }
            Step::Expire(handle) => world.slots[handle] = Slot::Nothing,
            Step::QuarterPasses => {
                world.quarters -= 1;
                world.late.clear();
                world.epoch = match world.epoch {
                    Some((version, false)) => Some((version, true)),
                    Some((_, true)) | None => None,
                };
                for process in &mut world.processes {
                    process.ticket_is_old |= process.seen.has_ticket;
                }
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

impl Logout {
    fn arrive(&self, world: &mut World, who: usize) {
        self.observe_begin(world, who);
        let task = self.tasks[who];
        match self.call(who, &world.processes[who]) {
            None => self.arrive_to_read(world, who),
            Some(call) => match self.apply(world, call) {
                Ok(()) => {
                    let version = world.version;
                    self.written(&mut world.processes[who], version);
                }
                Err(found) => self.refused(world, who, found),
            },
        }
        Self::observe_end(world, who, task);
    }

    fn arrive_to_read(&self, world: &mut World, who: usize) {
        let task = self.tasks[who];
        let epoch = world.epoch.map(|(version, _)| version);
        let process = &mut world.processes[who];
        let found = world
            .slots
            .get(process.handle)
            .copied()
            .unwrap_or(Slot::Nothing);
        match process.at {
            At::Ticket => {
                process.ticket = epoch;
                process.seen.has_ticket = true;
                process.at = At::Load;
            }
            At::Load if task == (Task::Login { with_cookie: true }) => {
                self.loaded(world, who, found);
            }
            At::Load => self.loaded(world, who, Slot::Nothing),
            At::Check => self.checked(process, epoch),
            At::List => {
                let page = world
                    .index
                    .iter()
                    .map(|(&handle, &deadline)| (deadline, handle));
                let behind = page.filter(|member| process.cursor.is_none_or(|last| *member > last));
                let page = behind.min();
                self.listed(process, task, page);
            }
            At::Read => {
                process.at = match self.read(task, found) {
                    At::Read => next_listed(process),
                    at => at,
                };
            }
            At::LoadToSlide => match found {
                Slot::Live { version, session } => {
                    process.base = session;
                    process.version = version;
                    process.at = At::Slide;
                }
                Slot::Nothing | Slot::Tombstone => process.at = At::Over(Outcome::Failed),
            },
            at => panic!("{at:?} reads nothing"),
        }
    }

    /// What the backend does with a call; if the precondition does not hold, what is there.
    fn apply(&self, world: &mut World, call: Call) -> Result<(), Slot> {
        match call {
            Call::PutEpoch => {
                world.version += 1;
                world.epoch = Some((world.version, false));
            }
            Call::Join { handle, deadline } => {
                let until = world.index.entry(handle).or_insert(deadline);
                *until = match self.change {
                    Change::JoinShortens => deadline,
                    _ => deadline.max(*until),
                };
            }
            Call::Leave { handle } => {
                world.index.remove(&handle);
            }
            Call::Put {
                handle,
                session,
                precondition,
            } => {
                let holds = match (precondition, world.slots[handle]) {
                    (Precondition::Absent, Slot::Nothing) => true,
                    (Precondition::Matches(wanted), Slot::Live { version, .. }) => {
                        wanted == version
                    }
                    _ => false,
                };
                if !holds {
                    return Err(world.slots[handle]);
                }
                world.version += 1;
                world.slots[handle] = Slot::Live {
                    version: world.version,
                    session,
                };
            }
            Call::PutTombstone { handle } => world.end(handle, Slot::Tombstone),
            Call::Delete { handle } => world.end(handle, Slot::Nothing),
        }
        Ok(())
    }

    fn loses(&self, world: &mut World, who: usize) {
        self.observe_begin(world, who);
        let call = self
            .call(who, &world.processes[who])
            .expect("a call that writes");
        world.late.insert((world.time_outs, call));
        world.time_outs -= 1;
    }

    fn observe_begin(&self, world: &mut World, who: usize) {
        let task = self.tasks[who];
        let begins = world.processes[who].at == self.first(task)
            && world.processes[who].cursor.is_none()
            && world.processes[who].seen == Seen::default();
        if !begins {
            return;
        }
        if task == Task::DestroyAll {
            let preceding = (0..self.tasks.len())
                .filter(|&other| world.processes[other].seen.has_ticket)
                .map(Some);
            world.processes[who].seen.precede = preceding.chain([None]).collect();
        }
        if task == Task::Prune {
            let others = (0..self.tasks.len()).filter(|&other| other != who);
            let last = others.into_iter().all(|other| world.is_over(other));
            world.processes[who].seen.began_last = last && world.late.is_empty();
        }
    }

    fn observe_end(world: &mut World, who: usize, task: Task) {
        let process = &world.processes[who];
        if process.at != At::Over(Outcome::Done) {
            return;
        }
        match task {
            Task::DestroyAll => world.must_be_dead.extend(process.seen.precede.clone()),
            Task::Login { .. } => {
                let lives = |handle: usize| matches!(world.slots[handle], Slot::Live { .. });
                if process.replaces.is_some_and(lives) {
                    world.wrong = Some(Wrong::OldSessionLives);
                }
            }
            Task::Prune if process.seen.began_last => {
                let lives = |handle: &usize| matches!(world.slots[*handle], Slot::Live { .. });
                if !world.index.keys().all(lives) {
                    world.wrong = Some(Wrong::PruneLeftDead);
                }
            }
            Task::Prune | Task::Slide => {}
        }
    }
}

impl World {
    /// Gives a login a session of its own, which is not made yet.
    fn makes_handle(&mut self, who: usize) {
        let process = &mut self.processes[who];
        process.handle = self.slots.len();
        process.own = true;
        process.base = ANONYMOUS;
        self.slots.push(Slot::Nothing);
    }

    /// Sessions in which Ann is logged in.
    fn bound(&self) -> impl Iterator<Item = (usize, Session)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(handle, slot)| match slot {
                Slot::Live { session, .. } if session.user == Some(User::Ann) => {
                    Some((handle, *session))
                }
                _ => None,
            })
    }

    fn end(&mut self, handle: usize, slot: Slot) {
        let is_replaced = |process: &Process| process.replaces == Some(handle);
        if self.user(handle) == Some(User::Bob) && !self.processes.iter().any(is_replaced) {
            self.wrong = Some(Wrong::EndedAnothersSession);
        }
        self.slots[handle] = slot;
    }

    fn user(&self, handle: usize) -> Option<User> {
        match self.slots[handle] {
            Slot::Live { session, .. } => session.user,
            Slot::Nothing | Slot::Tombstone => None,
        }
    }

    fn is_over(&self, who: usize) -> bool {
        matches!(self.processes[who].at, At::Over(_))
    }

    /// Whether this login is bound, and alive.
    fn lives(&self, who: usize) -> bool {
        self.bound()
            .any(|(_, session)| session.bound_by == Some(who))
    }
}

fn promises() -> Vec<Property<Logout>> {
    vec![
        Property::always(LOGGED_OUT, |_, world: &World| {
            let is_dead = |by| !world.must_be_dead.contains(&by);
            world.bound().all(|(_, session)| is_dead(session.bound_by))
        }),
        Property::always(COVERED, |_, world: &World| {
            let until = |handle| world.index.get(&handle).copied();
            world
                .bound()
                .all(|(handle, session)| until(handle) >= Some(session.deadline))
        }),
        Property::always(OWN_DATA, |_, world: &World| {
            world
                .bound()
                .all(|(_, session)| session.data != Some(User::Bob))
        }),
        Property::always(OTHERS_LIVE, |_, world: &World| {
            world.wrong != Some(Wrong::EndedAnothersSession)
        }),
        Property::always(OLD_ENDS, |_, world: &World| {
            world.wrong != Some(Wrong::OldSessionLives)
        }),
        Property::always(PRUNED, |_, world: &World| {
            world.wrong != Some(Wrong::PruneLeftDead)
        }),
    ]
}

/// What must be possible, in the cases that say so.
fn examples() -> Vec<Property<Logout>> {
    vec![
        Property::sometimes(LOGIN_OUTLIVES, |model: &Logout, world: &World| {
            world.over(model, Task::DestroyAll, Outcome::Done)
                && (0..model.tasks.len()).any(|who| world.lives(who))
        }),
        Property::sometimes(LOGIN_FAILS, |model: &Logout, world: &World| {
            world.over(model, NEW, Outcome::Failed) || world.over(model, COOKIE, Outcome::Failed)
        }),
        Property::sometimes(DONE_AND_DEAD, |model: &Logout, world: &World| {
            world.over(model, Task::DestroyAll, Outcome::Done)
                && world.over(model, NEW, Outcome::Done)
                && world.bound().count() == 0
        }),
        Property::sometimes(BOUND_LATE, |model: &Logout, world: &World| {
            (0..model.tasks.len())
                .any(|who| world.processes[who].at == At::Over(Outcome::GaveUp) && world.lives(who))
        }),
        Property::sometimes(RESUMED, |model: &Logout, world: &World| {
            world.over(model, Task::DestroyAll, Outcome::GaveUp)
                && world.over(model, Task::DestroyAll, Outcome::Done)
                && world.over(model, NEW, Outcome::Done)
        }),
        Property::sometimes(DEAD_MEMBER, |_, world: &World| {
            let is_dead = |handle: &usize| matches!(world.slots[*handle], Slot::Tombstone);
            world.index.keys().any(is_dead)
        }),
        Property::sometimes(EPOCH_IS_OVER, |model: &Logout, world: &World| {
            world.over(model, Task::DestroyAll, Outcome::Done) && world.epoch.is_none()
        }),
        Property::sometimes(REPLACED, |_, world: &World| {
            world.slots.contains(&Slot::Tombstone) && world.bound().count() > 0
        }),
    ]
}

impl World {
    fn over(&self, model: &Logout, task: Task, outcome: Outcome) -> bool {
        let ends = |who: usize| self.processes[who].at == At::Over(outcome);
        (0..model.tasks.len()).any(|who| model.tasks[who] == task && ends(who))
    }
}

// The cases.

fn first_login() -> Logout {
    Logout {
        time_outs: 2,
        ..case(
            &[NEW, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS, DONE_AND_DEAD, BOUND_LATE],
        )
    }
}

fn first_login_and_prune() -> Logout {
    case(
        &[NEW, Task::DestroyAll, Task::Prune],
        &[LOGIN_OUTLIVES, LOGIN_FAILS, DONE_AND_DEAD, DEAD_MEMBER],
    )
}

fn first_login_for_hours() -> Logout {
    Logout {
        quarters: 2,
        ..case(
            &[NEW, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS, EPOCH_IS_OVER],
        )
    }
}

fn two_first_logins() -> Logout {
    Logout {
        time_outs: 0,
        ..case(
            &[NEW, NEW, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS, DONE_AND_DEAD],
        )
    }
}

fn resumed_logout() -> Logout {
    case(&[NEW, Task::DestroyAll, Task::DestroyAll], &[RESUMED])
}

fn login_with_anonymous_session() -> Logout {
    Logout {
        before: vec![(ANONYMOUS, None)],
        ..case(
            &[COOKIE, Task::DestroyAll, Task::Prune],
            &[LOGIN_OUTLIVES, LOGIN_FAILS, DEAD_MEMBER],
        )
    }
}

/// As of a form that was sent twice.
fn two_logins_with_one_session() -> Logout {
    Logout {
        before: vec![(ANONYMOUS, None)],
        time_outs: 0,
        ..case(
            &[COOKIE, COOKIE, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS],
        )
    }
}

/// Logs in over a session of the same user, of whom there is another one.
fn login_again() -> Logout {
    Logout {
        before: vec![(OF_ANN, Some(SOON)), (OF_ANN, Some(BETWEEN))],
        time_outs: 0,
        ..case(
            &[COOKIE, Task::Slide, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS],
        )
    }
}

fn slide() -> Logout {
    Logout {
        before: vec![(OF_ANN, Some(SOON))],
        ..case(
            &[Task::Slide, Task::DestroyAll, Task::Prune],
            &[DEAD_MEMBER],
        )
    }
}

fn user_switch() -> Logout {
    Logout {
        before: vec![(OF_BOB, None)],
        ..case(
            &[COOKIE, Task::DestroyAll],
            &[LOGIN_OUTLIVES, LOGIN_FAILS, REPLACED],
        )
    }
}

/// Whose member another user's session is, as after a login that failed there.
fn member_of_another_user() -> Logout {
    Logout {
        before: vec![(OF_BOB, Some(SOON))],
        ..case(&[NEW, Task::DestroyAll], &[LOGIN_OUTLIVES, LOGIN_FAILS])
    }
}

fn case(tasks: &[Task], reaches: &'static [&'static str]) -> Logout {
    Logout {
        change: Change::Nothing,
        tasks: tasks.to_vec(),
        before: Vec::new(),
        time_outs: 1,
        quarters: 0,
        reaches,
    }
}

#[test]
fn a_login_that_precedes_a_logout_fails_or_is_dead() {
    holds(first_login());
    holds(two_first_logins());
}

#[test]
fn a_prune_removes_the_dead_and_nothing_else() {
    holds(first_login_and_prune());
    holds(slide());
}

#[test]
fn an_epoch_may_be_over_because_tickets_age() {
    holds(first_login_for_hours());
}

#[test]
fn a_logout_that_stopped_halfway_is_made_whole_by_the_next() {
    holds(resumed_logout());
}

#[test]
fn a_login_may_bind_a_session_that_the_browser_had() {
    holds(login_with_anonymous_session());
    holds(two_logins_with_one_session());
    holds(login_again());
}

#[test]
fn a_user_switch_shares_nothing() {
    holds(user_switch());
    holds(member_of_another_user());
}

#[test]
fn sessions_may_be_deleted_where_no_tombstone_finds_room() {
    let change = Change::DeletesInstead;
    holds(Logout {
        reaches: &[LOGIN_OUTLIVES],
        ..change.of(first_login())
    });
    holds(Logout {
        reaches: &[LOGIN_OUTLIVES],
        ..change.of(login_with_anonymous_session())
    });
}

#[test]
fn to_bind_by_absent_escapes_a_logout() {
    breaks(Change::BindByAbsent.of(first_login()), LOGGED_OUT);
    breaks(Change::BindByAbsent.of(first_login_and_prune()), COVERED);
}

#[test]
fn to_join_before_there_is_a_session_is_undone_by_a_prune() {
    let change = Change::JoinBeforeCreate;
    breaks(change.of(first_login_and_prune()), COVERED);
    breaks(change.of(resumed_logout()), LOGGED_OUT);
}

#[test]
fn to_check_before_joining_escapes_a_logout() {
    breaks(Change::CheckBeforeJoin.of(first_login()), LOGGED_OUT);
}

#[test]
fn to_list_before_the_epoch_is_put_misses_a_login() {
    breaks(Change::ListBeforeEpoch.of(first_login()), LOGGED_OUT);
}

#[test]
fn without_an_epoch_a_login_escapes() {
    breaks(Change::EpochNotPut.of(first_login()), LOGGED_OUT);
}

#[test]
fn a_ticket_that_never_ages_outlives_the_epoch() {
    let change = Change::TicketsNeverAge;
    breaks(change.of(first_login_for_hours()), LOGGED_OUT);
}

#[test]
fn to_leave_the_index_ends_no_session() {
    breaks(Change::EndsNoSession.of(first_login()), LOGGED_OUT);
}

#[test]
fn members_may_be_sessions_of_others() {
    let change = Change::EndsSessionsOfOthers;
    breaks(change.of(member_of_another_user()), OTHERS_LIVE);
}

#[test]
fn a_prune_of_the_anonymous_uncovers_a_login() {
    let change = Change::PrunesAnonymous;
    breaks(change.of(first_login_and_prune()), COVERED);
}

#[test]
fn a_switch_within_one_session_shows_data_of_the_other_user() {
    breaks(Change::SwitchKeepsSession.of(user_switch()), OWN_DATA);
}

#[test]
fn a_switch_that_ends_nothing_leaves_the_other_user_logged_in() {
    breaks(Change::SwitchEndsNothing.of(user_switch()), OLD_ENDS);
}

#[test]
fn without_the_last_removal_the_dead_stay() {
    breaks(Change::PruneRemovesNothing.of(slide()), PRUNED);
}

#[test]
fn a_failed_login_that_leaves_with_any_handle_uncovers_another() {
    let change = Change::LeavesWithAnyHandle;
    breaks(change.of(two_logins_with_one_session()), COVERED);
}

#[test]
fn a_login_that_gave_up_may_yet_be_bound_and_must_stay_listed() {
    breaks(Change::LeavesWhenItGivesUp.of(first_login()), COVERED);
}

#[test]
fn creating_again_under_one_handle_escapes_a_logout() {
    let change = Change::CreatesAgainUnderOneHandle;
    breaks(change.of(first_login()), LOGGED_OUT);
}

#[test]
fn joining_with_an_earlier_deadline_escapes_a_logout() {
    breaks(Change::JoinShortens.of(login_again()), COVERED);
    breaks(Change::JoinShortens.of(login_again()), LOGGED_OUT);
}

impl Change {
    fn of(self, case: Logout) -> Logout {
        Logout {
            change: self,
            ..case
        }
    }
}

const NEW: Task = Task::Login { with_cookie: false };
const COOKIE: Task = Task::Login { with_cookie: true };

/// Deadlines: of sessions of before, and of logins since.
const SOON: u8 = 1;
const BETWEEN: u8 = 2;
const LATER: u8 = 3;

const ANONYMOUS: Session = Session {
    user: None,
    data: None,
    generation: 0,
    deadline: SOON,
    bound_by: None,
};
const OF_ANN: Session = Session {
    user: Some(User::Ann),
    ..ANONYMOUS
};
const OF_BOB: Session = Session {
    user: Some(User::Bob),
    data: Some(User::Bob),
    ..ANONYMOUS
};

const LOGGED_OUT: &str = "S10: a login that precedes a logout is dead when the logout returns";
const COVERED: &str = "the index covers bound sessions for as long as they may live";
const OWN_DATA: &str = "behaviour 6: no user gets the data of another";
const OTHERS_LIVE: &str = "to log a user out ends no session of another";
const OLD_ENDS: &str = "behaviour 6: a login over another user ends the old session";
const PRUNED: &str = "what is dead leaves the index with the next prune";

const LOGIN_OUTLIVES: &str = "a login lives after a logout";
const LOGIN_FAILS: &str = "a login fails";
const DONE_AND_DEAD: &str = "a login succeeds and is dead after the logout";
const BOUND_LATE: &str = "a login that gave up is bound";
const RESUMED: &str = "a second logout returns after the first gave up";
const DEAD_MEMBER: &str = "a member has ended";
const EPOCH_IS_OVER: &str = "an epoch is over";
const REPLACED: &str = "a session is replaced by that of another user";
