//! Purges of tags: two processes with their mirrors, stamps, a journal, and every response that a
//! fill ever brought, wherever a copy of it may be.

use std::{sync::OnceLock, time::Duration};

use stateright::{Model, Property};

use crate::{
    backend::Version,
    breaks,
    cache::stamps::{
        Journal, Mirror, Purge, Severity, StampRecord, StampState, Tag, Verdict, mirror::Ticket,
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    holds,
};

#[derive(Clone, Debug)]
struct Case {
    change: Change,
    /// How many purges the journal keeps, and how many tags a mirror.
    room: usize,
    capacity: usize,
    /// All happens in one microsecond.
    ties: bool,
    budget: Budget,
}

/// How often each may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    fills: [u8; 2],
    polls: [u8; 2],
    fetches: [u8; 2],
    hard: u8,
    soft: u8,
    /// Purges of another tag.
    others: u8,
    crashes: u8,
    lost_replies: u8,
    /// Purges that are given up.
    failures: u8,
    journal_evictions: u8,
    failovers: u8,
    steps_back: u8,
    /// Times that so much time passes that a clock has made good its step back.
    pauses: u8,
}

/// One place in which the protocol is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// The purge ends before the journal has it.
    JournalSkipped,
    OwnMirrorSkipped,
    /// A 304 makes the body as new as itself.
    MergeMovesBorn,
    /// Of a fetched stamp it is forgotten what was known when it was read.
    FetchWithoutTicket,
    /// The start of a fill is when it ended.
    StartedAtEnd,
    FloorForgotten,
    SoftHidesHard,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    ticks: u64,
    set_back: u64,
    /// The version of what the origin answers.
    origin: u8,
    stamps: [Option<(Version, StampRecord)>; 2],
    journal: Option<(Version, Journal)>,
    /// What was there before the last write, as long as a failover may bring it back.
    before: Option<Stored>,
    processes: [Process; 2],
    fills: Vec<Fill>,
    responses: Vec<Response>,
    ended: Vec<Ended>,
    left: Budget,
}

type Stored = (
    [Option<(Version, StampRecord)>; 2],
    Option<(Version, Journal)>,
);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    mirror: Mirror,
    poll: Option<(u64, Timestamp, Version, Journal)>,
    /// When the last poll that was answered was sent.
    polled: u64,
    fetch: Option<(Ticket, StampState)>,
    message: Option<(Version, Journal)>,
    purge: Option<Purging>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Purging {
    tag: Tag,
    severity: Severity,
    /// What was written before.
    content: u8,
    stamp: Option<Purge>,
    is_in_journal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fill {
    by: usize,
    started: Timestamp,
    content: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Response {
    born: Timestamp,
    checked: Timestamp,
    content: u8,
}

/// A purge of the tag that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ended {
    by: usize,
    severity: Severity,
    content: u8,
    ticks: u64,
    /// It failed, and so means something to its own process only.
    has_failed: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Begin(usize),
    Read(usize),
    End(usize),
    /// The origin says that this response still is the right one.
    Merge(usize, usize),
    Poll(usize),
    PollAnswered(usize),
    Fetch(usize),
    FetchAnswered(usize),
    Hear(usize),
    Purge(usize, Severity, Tag),
    Stamp(usize, Reply),
    Journal(usize, Reply),
    Finish(usize),
    Fail(usize),
    Crash(usize),
    EvictJournal,
    FailOver,
    StepBack,
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    Comes,
    Lost,
}

impl Model for Case {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let version = Version::from_u64(START);
        let journal = Journal::empty(LIFE).written_as(version);
        let mut mirror = self.mirror();
        let now = version.written_at();
        mirror.polled(at(START), at(START), now, version, journal.clone());
        let process = Process {
            mirror,
            poll: None,
            polled: START,
            fetch: None,
            message: None,
            purge: None,
        };
        let response = |born: u64| Response {
            born: Timestamp::from_micros(born),
            checked: Timestamp::from_micros(born),
            content: 1,
        };
        vec![World {
            ticks: START + 10,
            set_back: 0,
            origin: 1,
            stamps: [None, None],
            journal: Some((version, journal)),
            before: None,
            processes: [process.clone(), process],
            fills: Vec::new(),
            // One that is older than what the mirrors know, and one that is not.
            responses: vec![response(START - 10), response(START + 5)],
            ended: Vec::new(),
            left: self.budget,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let left = world.left;
        for who in 0..2 {
            if left.fills[who] > 0 {
                steps.push(Step::Begin(who));
            }
            self.actions_of(world, who, steps);
        }
        for (fill, it) in world.fills.iter().enumerate() {
            match it.content {
                None => steps.push(Step::Read(fill)),
                Some(_) => {
                    steps.push(Step::End(fill));
                    for (base, response) in world.responses.iter().enumerate() {
                        // A validator may say less than a purge means.
                        if self.is_usable(world, it.by, response) {
                            steps.push(Step::Merge(fill, base));
                        }
                    }
                }
            }
        }
        if left.journal_evictions > 0 && world.journal.is_some() {
            steps.push(Step::EvictJournal);
        }
        if left.failovers > 0 && world.before.is_some() {
            steps.push(Step::FailOver);
        }
        if left.steps_back > 0 {
            steps.push(Step::StepBack);
        }
        if left.pauses > 0 {
            steps.push(Step::Pause);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        self.take(&mut world, step);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(OWN, |case: &Case, world| {
                case.keeps(world, |ended, who| ended.by == who)
            }),
            Property::always(OTHERS, |case: &Case, world| {
                case.keeps(world, |ended, who| {
                    ended.by != who
                        && !ended.has_failed
                        && world.processes[who].polled >= ended.ticks
                })
            }),
            Property::always(STRICT, |case: &Case, world| case.keeps_strict(world)),
            Property::always(USEFUL, |case: &Case, world| case.is_useful(world)),
            Property::sometimes(PURGED, |_: &Case, world: &World| {
                !world.ended.is_empty()
                    && !world.processes[1]
                        .mirror
                        .is_current(at(world.ticks), Duration::ZERO)
            }),
        ]
    }
}

impl Case {
    fn actions_of(&self, world: &World, who: usize, steps: &mut Vec<Step>) {
        let left = world.left;
        let process = &world.processes[who];
        if left.polls[who] > 0 && process.poll.is_none() {
            steps.push(Step::Poll(who));
        }
        if process.poll.is_some() {
            steps.push(Step::PollAnswered(who));
        }
        if left.fetches[who] > 0 && process.fetch.is_none() {
            steps.push(Step::Fetch(who));
        }
        if process.fetch.is_some() {
            steps.push(Step::FetchAnswered(who));
        }
        if process.message.is_some() {
            steps.push(Step::Hear(who));
        }
        if left.crashes > 0 {
            steps.push(Step::Crash(who));
        }
        let Some(purging) = process.purge else {
            if left.hard > 0 && who == 0 {
                steps.push(Step::Purge(who, Severity::Hard, TAG));
            }
            if left.soft > 0 && who == 0 {
                steps.push(Step::Purge(who, Severity::Soft, TAG));
            }
            if left.others > 0 && who == 1 {
                steps.push(Step::Purge(who, Severity::Hard, OTHER));
            }
            return;
        };
        let replies: &[Reply] = if left.lost_replies > 0 {
            &[Reply::Comes, Reply::Lost]
        } else {
            &[Reply::Comes]
        };
        for reply in replies {
            match purging {
                Purging { stamp: None, .. } => steps.push(Step::Stamp(who, *reply)),
                Purging {
                    is_in_journal: false,
                    ..
                } => steps.push(Step::Journal(who, *reply)),
                Purging { .. } => {}
            }
        }
        if purging.is_in_journal {
            steps.push(Step::Finish(who));
        } else if left.failures > 0 {
            steps.push(Step::Fail(who));
        }
    }

    fn take(&self, world: &mut World, step: Step) {
        match step {
            Step::Begin(who) => {
                world.left.fills[who] -= 1;
                let lease = Version::from_u64(self.now(world).as_micros());
                let mirror = &world.processes[who].mirror;
                let started = mirror.time().started(at(world.ticks), lease, SKEW);
                world.fills.push(Fill {
                    by: who,
                    started,
                    content: None,
                });
            }
            Step::Read(fill) => world.fills[fill].content = Some(world.origin),
            Step::End(fill) => {
                let fill = world.fills.remove(fill);
                let started = match self.change {
                    Change::StartedAtEnd => self.now(world),
                    _ => fill.started,
                };
                world.responses.push(Response {
                    born: started,
                    checked: started,
                    content: fill.content.expect("it was read"),
                });
            }
            Step::Merge(fill, base) => {
                let fill = world.fills.remove(fill);
                let base = world.responses[base].clone();
                let born = match self.change {
                    Change::MergeMovesBorn => fill.started,
                    _ => base.born,
                };
                let merged = Response {
                    born,
                    checked: base.checked.max(fill.started),
                    ..base
                };
                world.responses.push(merged);
            }
            Step::Poll(who) => {
                world.left.polls[who] -= 1;
                self.poll(world, who);
            }
            Step::PollAnswered(who) => {
                let process = &mut world.processes[who];
                let (sent, now, version, journal) = process.poll.take().expect("it was sent");
                let received = at(world.ticks);
                process
                    .mirror
                    .polled(at(sent), received, now, version, journal);
                process.polled = process.polled.max(sent);
            }
            Step::Fetch(who) => {
                world.left.fetches[who] -= 1;
                self.now(world);
                let state = world.stamp(TAG);
                let process = &mut world.processes[who];
                process.fetch = Some((process.mirror.ticket(), state));
            }
            Step::FetchAnswered(who) => {
                let process = &mut world.processes[who];
                let (ticket, state) = process.fetch.take().expect("it was sent");
                let ticket = match self.change {
                    Change::FetchWithoutTicket => process.mirror.ticket(),
                    _ => ticket,
                };
                process.mirror.learn(ticket, TAG, state);
                process.mirror.learn(ticket, ALL, StampState::default());
            }
            Step::Hear(who) => {
                let process = &mut world.processes[who];
                let (version, journal) = process.message.take().expect("there is one");
                process.mirror.heard(at(world.ticks), version, journal);
            }
            Step::Purge(who, severity, tag) => {
                match (tag, severity) {
                    (OTHER, _) => world.left.others -= 1,
                    (_, Severity::Hard) => world.left.hard -= 1,
                    (_, Severity::Soft) => world.left.soft -= 1,
                }
                if tag == TAG {
                    world.origin += 1;
                }
                world.processes[who].purge = Some(Purging {
                    tag,
                    severity,
                    content: world.origin,
                    stamp: None,
                    is_in_journal: false,
                });
            }
            Step::Stamp(who, reply) => self.stamp(world, who, reply),
            Step::Journal(who, reply) => self.add_to_journal(world, who, reply),
            Step::Finish(who) => world.end(who, false),
            Step::Fail(who) => {
                world.left.failures -= 1;
                let ticks = world.ticks;
                let process = &mut world.processes[who];
                let tag = process.purge.expect("it is under way").tag;
                process.mirror.doubt(tag, at(ticks) + 10 * STEP);
                world.end(who, true);
            }
            Step::Crash(who) => {
                world.left.crashes -= 1;
                world.fills.retain(|fill| fill.by != who);
                world.processes[who] = Process {
                    mirror: self.mirror(),
                    poll: None,
                    polled: 0,
                    fetch: None,
                    message: None,
                    purge: None,
                };
                // It serves nothing of its own before it has polled, and is another process then.
                for ended in &mut world.ended {
                    if ended.by == who {
                        ended.by = usize::MAX;
                    }
                }
            }
            Step::EvictJournal => {
                world.left.journal_evictions -= 1;
                world.journal = None;
            }
            Step::FailOver => {
                world.left.failovers -= 1;
                let (stamps, journal) = world.before.take().expect("there is something");
                world.stamps = stamps;
                world.journal = journal;
                // What was confirmed before is promised no longer.
                world.ended.clear();
                for process in &mut world.processes {
                    process.purge = None;
                }
            }
            Step::StepBack => {
                world.left.steps_back -= 1;
                world.set_back += micros(STEP);
            }
            Step::Pause => {
                world.left.pauses -= 1;
                world.ticks += micros(2 * STEP);
                // Meanwhile everyone polls.
                for who in 0..2 {
                    self.poll(world, who);
                    self.take(world, Step::PollAnswered(who));
                }
            }
        }
    }

    fn poll(&self, world: &mut World, who: usize) {
        let sent = world.ticks;
        let now = self.now(world);
        let (version, journal) = world.journal.get_or_insert_with(|| {
            let version = Version::from_u64(now.as_micros());
            (version, Journal::empty(LIFE).written_as(version))
        });
        world.processes[who].poll = Some((sent, now, *version, journal.clone()));
    }

    fn stamp(&self, world: &mut World, who: usize, reply: Reply) {
        let now = self.now(world);
        world.remember(self);
        let process = &world.processes[who];
        let mut purging = process.purge.expect("it is under way");
        let place = usize::from(purging.tag == OTHER);
        let found = world.stamps[place];
        let floor = match self.change {
            Change::FloorForgotten => Timestamp::default(),
            _ => process.mirror.time().floor(at(world.ticks)),
        };
        let known = found
            .map(|(version, record)| record.state(version))
            .filter(|_| self.change != Change::SoftHidesHard);
        let record = StampRecord::new(purging.severity, floor, known);
        let version = next(found.map(|(version, _)| version), now);
        world.stamps[place] = Some((version, record));
        if reply == Reply::Lost {
            world.left.lost_replies -= 1;
            return;
        }
        let purge = Purge {
            tag: purging.tag,
            severity: purging.severity,
            at: record.at(version),
        };
        purging.stamp = Some(purge);
        purging.is_in_journal = self.change == Change::JournalSkipped;
        let process = &mut world.processes[who];
        process.purge = Some(purging);
        if self.change != Change::OwnMirrorSkipped {
            process.mirror.enter(purge);
        }
    }

    fn add_to_journal(&self, world: &mut World, who: usize, reply: Reply) {
        let sent = world.ticks;
        let now = self.now(world);
        world.remember(self);
        let purge = world.processes[who].purge.and_then(|it| it.stamp);
        let purge = purge.expect("it is stamped");
        let there = world.journal.clone();
        let (version, journal) = match there {
            Some((version, journal)) if journal.has_all(&[purge]) => (version, journal),
            there => {
                let version = next(there.as_ref().map(|(version, _)| *version), now);
                let before = there.map_or(Journal::empty(LIFE), |(_, journal)| journal);
                let after = before.with_at_most(self.room, &[purge]);
                (version, after.written_as(version))
            }
        };
        world.journal = Some((version, journal.clone()));
        if reply == Reply::Lost {
            world.left.lost_replies -= 1;
            return;
        }
        world.processes[1 - who].message = Some((version, journal.clone()));
        let ticks = world.ticks;
        let process = &mut world.processes[who];
        if self.change != Change::OwnMirrorSkipped {
            process.mirror.wrote(at(sent), at(ticks), version, journal);
            process.polled = process.polled.max(sent);
        }
        if let Some(purging) = &mut process.purge {
            purging.is_in_journal = true;
        }
    }

    /// The backend's time of a call.
    fn now(&self, world: &mut World) -> Timestamp {
        world.ticks += 1;
        let ticks = if self.ties { START + 10 } else { world.ticks };
        Timestamp::from_micros(ticks - world.set_back)
    }

    fn mirror(&self) -> Mirror {
        Mirror::new(SKEW, ALL, self.capacity)
    }

    fn is_usable(&self, world: &World, who: usize, response: &Response) -> bool {
        !matches!(world.verdict(who, response), Verdict::Purged)
    }

    /// Whether nobody uses what was purged, where the purge concerns the process.
    fn keeps(&self, world: &World, concerns: impl Fn(&Ended, usize) -> bool) -> bool {
        world.ended.iter().all(|ended| {
            let mut whom = (0..2).filter(|who| concerns(ended, *who));
            whom.all(|who| {
                world
                    .responses
                    .iter()
                    .all(|response| ended.allows(response, &world.verdict(who, response)))
            })
        })
    }

    /// The same of who reads all stamps for each use.
    fn keeps_strict(&self, world: &World) -> bool {
        let stamps = [(TAG, world.stamp(TAG)), (ALL, StampState::default())];
        world.ended.iter().filter(|it| !it.has_failed).all(|ended| {
            world.processes.iter().all(|process| {
                world.responses.iter().all(|response| {
                    let Response { born, checked, .. } = *response;
                    let ticks = at(world.ticks);
                    let mirror = &process.mirror;
                    let verdict = mirror.verdict_with(&stamps, ticks, born, checked, &[TAG]);
                    ended.allows(response, &verdict)
                })
            })
        })
    }

    /// Whether what no purge concerns may be used.
    fn is_useful(&self, world: &World) -> bool {
        let budget = self.budget;
        if self.ties || budget.steps_back + budget.failovers > 0 {
            return true;
        }
        let stamp = world.stamp(TAG);
        world.responses.iter().all(|response| {
            let is_untouched = stamp.hard < response.born && stamp.soft < response.checked;
            !is_untouched || (0..2).all(|who| world.verdict(who, response) == Verdict::Valid)
        })
    }
}

impl Ended {
    /// Whether this verdict on a response is right after the purge.
    fn allows(&self, response: &Response, verdict: &Verdict) -> bool {
        if response.content >= self.content {
            return true;
        }
        let was_checked = response.checked > response.born;
        match verdict {
            Verdict::Valid => self.severity == Severity::Soft && was_checked,
            Verdict::Soft { .. } => self.severity == Severity::Soft,
            Verdict::Purged => true,
            Verdict::Unknown(_) => unreachable!("what is unknown is read"),
        }
    }
}

impl World {
    fn stamp(&self, tag: Tag) -> StampState {
        self.stamps[usize::from(tag == OTHER)]
            .map(|(version, record)| record.state(version))
            .unwrap_or_default()
    }

    /// The verdict of a process, which reads what it must.
    fn verdict(&self, who: usize, response: &Response) -> Verdict {
        let Response { born, checked, .. } = *response;
        let mirror = &self.processes[who].mirror;
        let ticks = at(self.ticks);
        match mirror.verdict(ticks, born, checked, &[TAG]) {
            Verdict::Unknown(tags) => {
                let stamp = |tag: Tag| {
                    if tag == ALL {
                        StampState::default()
                    } else {
                        self.stamp(tag)
                    }
                };
                let read: Vec<_> = tags.into_iter().map(|tag| (tag, stamp(tag))).collect();
                mirror.verdict_with(&read, ticks, born, checked, &[TAG])
            }
            known => known,
        }
    }

    fn end(&mut self, who: usize, has_failed: bool) {
        let purging = self.processes[who].purge.take().expect("it is under way");
        // What failed before anything was written has no effect.
        let is_written = !has_failed || self.stamp(purging.tag).latest() > Timestamp::default();
        if purging.tag == TAG && is_written && (!has_failed || purging.stamp.is_some()) {
            self.ended.push(Ended {
                by: who,
                severity: purging.severity,
                content: purging.content,
                ticks: self.ticks,
                has_failed,
            });
        }
    }

    fn remember(&mut self, case: &Case) {
        if case.budget.failovers > 0 {
            self.before = Some((self.stamps, self.journal.clone()));
        }
    }
}

fn next(there: Option<Version>, now: Timestamp) -> Version {
    let after = there.map_or(0, |version| version.as_u64() + 1);
    Version::from_u64(after.max(now.as_micros()))
}

fn at(ticks: u64) -> Monotonic {
    static BASE: OnceLock<Monotonic> = OnceLock::new();
    *BASE.get_or_init(monotonic_now) + Duration::from_micros(ticks)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("it is short")
}

const OWN: &str = "a process uses nothing that it has purged";
const OTHERS: &str = "after the next poll nobody uses what was purged";
const STRICT: &str = "who reads the stamps uses nothing that was purged";
const USEFUL: &str = "what was not purged may be used";
const PURGED: &str = "something is purged";

const TAG: Tag = Tag([1; 16]);
const OTHER: Tag = Tag([2; 16]);
const ALL: Tag = Tag([0; 16]);

const START: u64 = 100_000_000;
const STEP: Duration = Duration::from_secs(10);
const SKEW: Duration = Duration::ZERO;
const LIFE: Duration = Duration::from_secs(86_400);

const PLAIN: Budget = Budget {
    fills: [0, 1],
    polls: [0, 1],
    fetches: [0, 0],
    hard: 1,
    soft: 0,
    others: 0,
    crashes: 0,
    lost_replies: 0,
    failures: 0,
    journal_evictions: 0,
    failovers: 0,
    steps_back: 0,
    pauses: 0,
};

fn case(budget: Budget) -> Case {
    Case {
        change: Change::Nothing,
        room: 2,
        capacity: 2,
        ties: false,
        budget,
    }
}

impl Change {
    fn of(self, case: Case) -> Case {
        Case {
            change: self,
            ..case
        }
    }
}

#[test]
fn what_was_purged_is_not_used() {
    holds(case(PLAIN));
    holds(case(Budget {
        lost_replies: 1,
        failures: 1,
        ..PLAIN
    }));
}

#[test]
fn a_tie_counts_as_purged() {
    holds(Case {
        ties: true,
        ..case(Budget { soft: 1, ..PLAIN })
    });
}

#[test]
fn two_purges_do_not_hide_each_other() {
    holds(case(Budget { soft: 1, ..PLAIN }));
}

#[test]
fn a_journal_that_overflows_or_is_gone_is_noticed() {
    holds(Case {
        room: 1,
        ..case(Budget {
            others: 1,
            fetches: [0, 1],
            fills: [0, 0],
            polls: [0, 1],
            ..PLAIN
        })
    });
    holds(case(Budget {
        journal_evictions: 1,
        fetches: [0, 1],
        fills: [0, 0],
        polls: [0, 1],
        ..PLAIN
    }));
}

#[test]
fn a_mirror_with_little_room_forgets_nothing_that_it_needs() {
    holds(Case {
        capacity: 1,
        ..case(Budget {
            others: 1,
            fetches: [0, 1],
            fills: [0, 0],
            ..PLAIN
        })
    });
}

#[test]
fn a_process_that_starts_knows_enough() {
    holds(case(Budget {
        crashes: 1,
        fetches: [0, 1],
        fills: [0, 0],
        polls: [0, 2],
        ..PLAIN
    }));
}

#[test]
fn a_purge_after_a_failover_counts() {
    holds(case(Budget {
        failovers: 1,
        fills: [0, 0],
        others: 1,
        polls: [0, 2],
        ..PLAIN
    }));
}

#[test]
fn a_clock_that_is_set_back_hides_no_purge() {
    holds(case(Budget {
        steps_back: 1,
        ..PLAIN
    }));
    holds(case(Budget {
        steps_back: 1,
        pauses: 1,
        ..PLAIN
    }));
}

#[test]
fn a_purge_that_is_not_in_the_journal_reaches_nobody() {
    breaks(Change::JournalSkipped.of(case(PLAIN)), OTHERS);
}

#[test]
fn a_process_enters_its_own_purges() {
    breaks(Change::OwnMirrorSkipped.of(case(PLAIN)), OWN);
}

#[test]
fn a_304_does_not_make_a_body_younger() {
    breaks(Change::MergeMovesBorn.of(case(PLAIN)), OWN);
}

#[test]
fn a_fill_begins_before_its_handler() {
    breaks(Change::StartedAtEnd.of(case(PLAIN)), OWN);
}

#[test]
fn a_soft_stamp_keeps_the_time_of_the_hard_one() {
    let case = case(Budget { soft: 1, ..PLAIN });
    breaks(Change::SoftHidesHard.of(case), STRICT);
}

#[test]
fn a_stamp_that_was_read_before_a_gap_is_not_remembered() {
    let case = Case {
        room: 1,
        ..case(Budget {
            others: 1,
            fetches: [0, 1],
            fills: [0, 0],
            polls: [0, 0],
            ..PLAIN
        })
    };
    breaks(Change::FetchWithoutTicket.of(case), OTHERS);
}

#[test]
fn a_purge_is_no_earlier_than_what_its_process_has_seen() {
    let case = case(Budget {
        steps_back: 1,
        ..PLAIN
    });
    breaks(Change::FloorForgotten.of(case), OWN);
}
