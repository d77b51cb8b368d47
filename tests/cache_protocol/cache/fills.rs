//! Fills of one URL: its record, its lease, and processes that ask, wait, call, store and purge.
//!
//! Stamps are read beside the record, so that nothing here depends on mirrors.

use std::time::Duration;

use stateright::{Model, Property};

use crate::{
    backend::{Precondition, Version},
    breaks,
    cache::protocol::{
        Found, Lease, Occupant, OnLeaseConflict, OnStoreConflict, Present, Settled, Storing, Token,
        lease::PATIENCE, on_lease_conflict, on_store_conflict,
    },
    clock::Timestamp,
    holds,
};

#[derive(Clone, Debug)]
struct Case {
    change: Change,
    budget: Budget,
    answers: &'static [Answer],
}

/// How often each may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    requests: u8,
    tag_purges: u8,
    url_purges: u8,
    /// Entries that become stale.
    stales: u8,
    /// Records that expire.
    ends: u8,
    crashes: u8,
    lost_replies: u8,
    /// Leases that end though their holder lives, and waits that are over.
    pauses: u8,
}

/// One place in which the protocol is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// An entry may expire while a fill runs that it overtook.
    ShortLives,
    /// What was not stored leaves its lease.
    NoRelease,
    /// Only an entry shows that a lease is spent.
    TombstoneSettlesNothing,
    /// Stores write over anything.
    StoreByAny,
    /// A 304 is stored also where its base is gone.
    MergeOnNothing,
    /// A store after a conflict minds no tombstone.
    TombstoneIgnored,
    /// A pass record is never taken away.
    PassStays,
}

/// What a handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Storable,
    Unstorable,
    NotModified,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    time: u64,
    origin: u8,
    /// When the tag was purged.
    stamp: Timestamp,
    record: Option<(Version, Record)>,
    lease: Option<(Version, Lease)>,
    processes: [Stage; 2],
    purge: Option<(Kind, u8)>,
    /// What was purged holds content before this.
    purged: u8,
    calls: u8,
    invalidations: u8,
    wrong: Option<Wrong>,
    left: Budget,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Entry(Entry),
    Tombstone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    born: Timestamp,
    checked: Timestamp,
    content: u8,
    is_stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Tag,
    Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    OldContent,
    OlderReplacedNewer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Looking(Request),
    Claiming(Request, Condition),
    Calling(Request, Fill),
    Storing(Request, Fill, Entry, Condition, u8),
    /// The lease of this version is to be taken away.
    Releasing(Version),
}

/// A precondition that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Condition {
    Any,
    Absent,
    Matches(Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Request {
    token: Token,
    /// No content before this is right.
    at_least: u8,
    settled: Settled,
    /// What was read.
    seen: Option<(Version, Record)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Fill {
    started: Timestamp,
    lease: Version,
    is_holder: bool,
    is_stored: bool,
    content: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Ask(usize),
    Look(usize),
    Claim(usize, Reply),
    GiveUp(usize),
    Call(usize),
    Answer(usize, Answer),
    Store(usize, Reply),
    Release(usize),
    Crash(usize),
    Write(Kind),
    Purge,
    GoStale,
    End,
    LeaseEnds,
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
        vec![World {
            time: 10,
            origin: 1,
            stamp: Timestamp::default(),
            record: None,
            lease: None,
            processes: [Stage::Idle; 2],
            purge: None,
            purged: 0,
            calls: 0,
            invalidations: 0,
            wrong: None,
            left: self.budget,
            has_failed: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wrong.is_some() {
            return;
        }
        let left = world.left;
        for who in 0..2 {
            self.actions_of(world, who, steps);
        }
        match world.purge {
            Some(_) => steps.push(Step::Purge),
            None => {
                if left.tag_purges > 0 {
                    steps.push(Step::Write(Kind::Tag));
                }
                if left.url_purges > 0 {
                    steps.push(Step::Write(Kind::Url));
                }
            }
        }
        if left.stales > 0 && matches!(world.record, Some((_, Record::Entry(_)))) {
            steps.push(Step::GoStale);
        }
        if left.ends > 0 && self.may_end(world) {
            steps.push(Step::End);
        }
        if let Some((version, lease)) = world.lease
            && (left.pauses > 0 || !world.is_held(version) || lease == Lease::Pass)
        {
            steps.push(Step::LeaseEnds);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        self.take(&mut world, step);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OLD, |_: &Case, world: &World| {
                world.wrong != Some(Wrong::OldContent)
            }),
            Property::always(NO_REPLACEMENT, |_: &Case, world: &World| {
                world.wrong != Some(Wrong::OlderReplacedNewer)
            }),
            Property::always(NOTHING_OLD_STORED, |_: &Case, world: &World| {
                world
                    .usable()
                    .is_none_or(|entry| entry.content >= world.purged)
            }),
            Property::always(NOT_BLOCKED, |case: &Case, world: &World| {
                case.is_free(world)
            }),
            Property::always(ONE_CALL, |case: &Case, world: &World| {
                case.answers != [Answer::Storable]
                    || world.has_failed
                    || world.calls <= 1 + world.invalidations
            }),
            Property::always(CACHEABLE, |_: &Case, world: &World| {
                let is_quiet = world.processes.iter().all(|it| *it == Stage::Idle);
                match (world.lease, world.usable()) {
                    (Some((pass, Lease::Pass)), Some(entry)) => {
                        !is_quiet || entry.checked < pass.written_at()
                    }
                    _ => true,
                }
            }),
            Property::sometimes(HIT, |_: &Case, world: &World| {
                world.calls == 1 && world.left.requests == 0 && world.usable().is_some()
            }),
        ]
    }
}

impl Case {
    fn actions_of(&self, world: &World, who: usize, steps: &mut Vec<Step>) {
        let left = world.left;
        let may_lose = left.lost_replies > 0;
        let stage = world.processes[who];
        match stage {
            Stage::Idle if left.requests > 0 => steps.push(Step::Ask(who)),
            Stage::Idle => {}
            Stage::Looking(_) => steps.push(Step::Look(who)),
            Stage::Claiming(..) => {
                steps.push(Step::Claim(who, Reply::Comes));
                if may_lose {
                    steps.push(Step::Claim(who, Reply::Lost));
                }
                if left.pauses > 0 {
                    steps.push(Step::GiveUp(who));
                }
            }
            Stage::Calling(_, fill) if fill.content.is_none() => steps.push(Step::Call(who)),
            Stage::Calling(request, _) => {
                for answer in self.answers {
                    if *answer != Answer::NotModified || request.base().is_some() {
                        steps.push(Step::Answer(who, *answer));
                    }
                }
            }
            Stage::Storing(..) => {
                steps.push(Step::Store(who, Reply::Comes));
                if may_lose {
                    steps.push(Step::Store(who, Reply::Lost));
                }
            }
            Stage::Releasing(..) => steps.push(Step::Release(who)),
        }
        if left.crashes > 0 && stage != Stage::Idle {
            steps.push(Step::Crash(who));
        }
    }

    fn take(&self, world: &mut World, step: Step) {
        match step {
            Step::Ask(who) => {
                let token = Token([world.left.requests; 16]);
                world.left.requests -= 1;
                world.processes[who] = Stage::Looking(Request {
                    token,
                    at_least: world.purged,
                    settled: Settled::default(),
                    seen: None,
                });
            }
            Step::Look(who) => self.look(world, who),
            Step::Claim(who, reply) => self.claim(world, who, reply),
            Step::GiveUp(who) => {
                world.left.pauses -= 1;
                world.has_failed = true;
                let Stage::Claiming(request, _) = world.processes[who] else {
                    unreachable!("it claims");
                };
                let found = world.found();
                let now = Timestamp::from_micros(world.time);
                let decision =
                    on_lease_conflict(request.token, found, now, request.settled, PATIENCE);
                if decision == OnLeaseConflict::CallUnstored {
                    world.processes[who] = Stage::Calling(request, Fill::unstored());
                }
            }
            Step::Call(who) => {
                let Stage::Calling(_, fill) = &mut world.processes[who] else {
                    unreachable!("it calls");
                };
                fill.content = Some(world.origin);
                world.calls += 1;
            }
            Step::Answer(who, answer) => self.answer(world, who, answer),
            Step::Store(who, reply) => self.store(world, who, reply),
            Step::Release(who) => {
                let Stage::Releasing(version) = world.processes[who] else {
                    unreachable!("it releases");
                };
                world.lease = world.lease.filter(|(there, _)| *there != version);
                world.processes[who] = Stage::Idle;
            }
            Step::Crash(who) => {
                world.left.crashes -= 1;
                world.has_failed = true;
                world.processes[who] = Stage::Idle;
            }
            Step::Write(kind) => {
                match kind {
                    Kind::Tag => world.left.tag_purges -= 1,
                    Kind::Url => world.left.url_purges -= 1,
                }
                world.origin += 1;
                world.purge = Some((kind, world.origin));
            }
            Step::Purge => {
                let (kind, content) = world.purge.take().expect("it is under way");
                world.invalidations += 1;
                match kind {
                    Kind::Tag => world.stamp = world.tick(None).written_at(),
                    Kind::Url => {
                        let version = world.tick(world.record.map(|(version, _)| version));
                        world.record = Some((version, Record::Tombstone));
                    }
                }
                world.purged = content;
            }
            Step::GoStale => {
                world.left.stales -= 1;
                world.invalidations += 1;
                if let Some((_, Record::Entry(entry))) = &mut world.record {
                    entry.is_stale = true;
                }
            }
            Step::End => {
                world.left.ends -= 1;
                world.invalidations += 1;
                world.has_failed = true;
                world.record = None;
            }
            Step::LeaseEnds => {
                let (version, lease) = world.lease.take().expect("there is one");
                if lease != Lease::Pass && world.is_held(version) {
                    world.left.pauses -= 1;
                    world.has_failed = true;
                }
                // Who looked that long ago was stopped.
                let claims = |stage: &Stage| matches!(stage, Stage::Claiming(..));
                world.has_failed |= world.processes.iter().any(claims);
            }
        }
    }

    fn look(&self, world: &mut World, who: usize) {
        let Stage::Looking(request) = world.processes[who] else {
            unreachable!("it looks");
        };
        if let Some(entry) = world.usable().filter(|entry| !entry.is_stale) {
            world.give(request, entry.content);
            world.processes[who] = Stage::Idle;
            return;
        }
        let mut request = Request {
            seen: world.record,
            ..request
        };
        let mut first = Condition::Absent;
        match world.record {
            Some((_, Record::Entry(entry))) => {
                request.settled = request.settled.by_entry(entry.checked);
                if world.stamp >= entry.born {
                    request.settled = request.settled.by_purge(world.stamp);
                }
                first = Condition::Matches(Version::from_u64(entry.checked.as_micros()));
            }
            Some((version, Record::Tombstone)) => {
                if self.change != Change::TombstoneSettlesNothing {
                    request.settled = request.settled.by_purge(version.written_at());
                }
            }
            None => {}
        }
        world.processes[who] = Stage::Claiming(request, first);
    }

    fn claim(&self, world: &mut World, who: usize, reply: Reply) {
        let Stage::Claiming(request, precondition) = world.processes[who] else {
            unreachable!("it claims");
        };
        let there = world.lease.map(|(version, _)| version);
        let decision = if precondition.holds_for(there) {
            let version = world.tick(there);
            world.lease = Some((version, Lease::Filling(request.token)));
            if reply == Reply::Lost {
                world.left.lost_replies -= 1;
                world.has_failed = true;
                return;
            }
            OnLeaseConflict::Ours(version)
        } else {
            let now = Timestamp::from_micros(world.time);
            let found = world.found();
            on_lease_conflict(request.token, found, now, request.settled, Duration::ZERO)
        };
        let fill = |started: Timestamp, lease: Version, is_holder: bool| Fill {
            started,
            lease,
            is_holder,
            is_stored: true,
            content: None,
        };
        world.processes[who] = match decision {
            OnLeaseConflict::Ours(version) => {
                Stage::Calling(request, fill(version.written_at(), version, true))
            }
            OnLeaseConflict::Claim => Stage::Claiming(request, Condition::Absent),
            OnLeaseConflict::Replace(version) => {
                Stage::Claiming(request, Condition::Matches(version))
            }
            OnLeaseConflict::CallAt(now) => {
                let pass = there.expect("it is in the way");
                Stage::Calling(request, fill(now, pass, false))
            }
            OnLeaseConflict::Wait => Stage::Looking(request),
            OnLeaseConflict::CallUnstored => Stage::Calling(request, Fill::unstored()),
        };
    }

    fn answer(&self, world: &mut World, who: usize, answer: Answer) {
        let Stage::Calling(request, fill) = world.processes[who] else {
            unreachable!("it calls");
        };
        let content = fill.content.expect("it was called");
        let base = request.base();
        if answer == Answer::NotModified {
            let base_is_valid = base.is_some_and(|(_, base)| base.born > world.stamp);
            if !base_is_valid {
                // Called again, unconditionally.
                let mut again = fill;
                again.content = None;
                let request = Request {
                    seen: request.seen.filter(|(_, it)| *it == Record::Tombstone),
                    ..request
                };
                world.calls -= 1;
                world.processes[who] = Stage::Calling(request, again);
                return;
            }
        }
        let given = match (answer, base) {
            (Answer::NotModified, Some((_, base))) => base.content,
            _ => content,
        };
        world.give(request, given);
        if !fill.is_stored {
            world.processes[who] = Stage::Idle;
            return;
        }
        let entry = match (answer, base) {
            (Answer::NotModified, Some((_, base))) => Entry {
                checked: fill.started,
                is_stale: false,
                ..base
            },
            _ => Entry {
                born: fill.started,
                checked: fill.started,
                content,
                is_stale: false,
            },
        };
        world.processes[who] = if answer == Answer::Unstorable {
            if fill.is_holder && world.lease.is_some_and(|(there, _)| there == fill.lease) {
                let version = world.tick(Some(fill.lease));
                world.lease = Some((version, Lease::Pass));
            }
            Stage::Idle
        } else if entry.born <= world.stamp {
            self.release(fill, false)
        } else {
            let precondition = match request.seen {
                Some((version, Record::Entry(_))) => Condition::Matches(version),
                // It was written before the fill began.
                Some((version, Record::Tombstone)) => Condition::Matches(version),
                None => Condition::Absent,
            };
            Stage::Storing(request, fill, entry, precondition, 3)
        };
    }

    fn store(&self, world: &mut World, who: usize, reply: Reply) {
        let Stage::Storing(request, fill, entry, precondition, tries) = world.processes[who] else {
            unreachable!("it stores");
        };
        let there = world.record.map(|(version, _)| version);
        let is_merge = entry.born != entry.checked;
        let precondition = match self.change {
            Change::StoreByAny => Condition::Any,
            _ => precondition,
        };
        if precondition.holds_for(there) {
            if let Some((_, Record::Entry(before))) = world.record
                && before.checked > entry.checked
            {
                world.wrong = Some(Wrong::OlderReplacedNewer);
            }
            let version = world.tick(there);
            world.record = Some((version, Record::Entry(entry)));
            if reply == Reply::Lost {
                world.left.lost_replies -= 1;
                world.has_failed = true;
                return;
            }
            world.processes[who] = self.release(fill, true);
            return;
        }
        let storing = match self.change {
            Change::MergeOnNothing => Storing::Body,
            _ if is_merge => Storing::Merge,
            _ => Storing::Body,
        };
        let occupant = world.record.map(|(version, record)| match record {
            Record::Entry(it) => (
                Occupant::Entry {
                    checked: it.checked,
                },
                version,
            ),
            Record::Tombstone if self.change == Change::TombstoneIgnored => {
                (Occupant::Unreadable, version)
            }
            Record::Tombstone => (Occupant::Tombstone, version),
        });
        let present = Present {
            now: Timestamp::from_micros(world.time),
            skew: Duration::ZERO,
        };
        world.processes[who] = match on_store_conflict(storing, fill.started, occupant, present) {
            OnStoreConflict::Again(precondition) if tries > 1 => {
                Stage::Storing(request, fill, entry, precondition.into(), tries - 1)
            }
            _ => self.release(fill, false),
        };
    }

    /// What follows on a fill: a spent lease stays, all else is taken away.
    fn release(&self, fill: Fill, is_stored: bool) -> Stage {
        let stays = match self.change {
            Change::NoRelease => true,
            Change::PassStays if !fill.is_holder => true,
            // A lease that is spent can be told from the entry; a pass record stands unless
            // something was stored.
            _ => is_stored == fill.is_holder,
        };
        if stays {
            return Stage::Idle;
        }
        Stage::Releasing(fill.lease)
    }

    /// Records live longer than fills that they overtook.
    fn may_end(&self, world: &World) -> bool {
        let Some((version, record)) = world.record else {
            return false;
        };
        let overtaken = match record {
            Record::Entry(entry) => entry.checked,
            Record::Tombstone => version.written_at(),
        };
        let is_older = |stage: &Stage| match stage {
            Stage::Calling(_, fill) | Stage::Storing(_, fill, ..) => {
                fill.is_stored && fill.started <= overtaken
            }
            _ => false,
        };
        let is_entry = matches!(record, Record::Entry(_));
        !world.processes.iter().any(is_older) || (is_entry && self.change == Change::ShortLives)
    }

    /// Whether nobody waits for a fill that nobody makes.
    fn is_free(&self, world: &World) -> bool {
        let Some((version, Lease::Filling(_))) = world.lease else {
            return true;
        };
        if world.has_failed || world.is_held(version) || world.usable().is_some() {
            return true;
        }
        let mut probe = world.clone();
        probe.processes[0] = Stage::Looking(Request {
            token: Token([99; 16]),
            at_least: 0,
            settled: Settled::default(),
            seen: None,
        });
        self.look(&mut probe, 0);
        self.claim(&mut probe, 0, Reply::Comes);
        !matches!(probe.processes[0], Stage::Looking(_))
    }
}

impl World {
    /// The version of the next write of a record.
    fn tick(&mut self, there: Option<Version>) -> Version {
        self.time += 1;
        let after = there.map_or(0, |version| version.as_u64() + 1);
        Version::from_u64(after.max(self.time))
    }

    fn found(&self) -> Option<Found> {
        self.lease.map(|(version, lease)| Found { lease, version })
    }

    /// The stored entry, if it is not purged.
    fn usable(&self) -> Option<Entry> {
        match self.record {
            Some((_, Record::Entry(entry))) if entry.born > self.stamp => Some(entry),
            _ => None,
        }
    }

    fn give(&mut self, request: Request, content: u8) {
        if content < request.at_least {
            self.wrong = Some(Wrong::OldContent);
        }
    }

    /// Whether someone works under the lease of this version.
    fn is_held(&self, version: Version) -> bool {
        self.processes.iter().any(|stage| match stage {
            Stage::Calling(_, fill) | Stage::Storing(_, fill, ..) => {
                fill.is_holder && fill.lease == version
            }
            Stage::Releasing(lease) => *lease == version,
            _ => false,
        })
    }
}

impl Request {
    /// The entry that a 304 is about.
    fn base(&self) -> Option<(Version, Entry)> {
        match self.seen {
            Some((version, Record::Entry(entry))) => Some((version, entry)),
            _ => None,
        }
    }
}

impl Fill {
    fn unstored() -> Self {
        Self {
            started: Timestamp::default(),
            lease: Version::from_u64(0),
            is_holder: false,
            is_stored: false,
            content: None,
        }
    }
}

impl Condition {
    fn holds_for(self, there: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => there.is_none(),
            Self::Matches(version) => there == Some(version),
        }
    }
}

impl From<Precondition> for Condition {
    fn from(precondition: Precondition) -> Self {
        match precondition {
            Precondition::Any => Self::Any,
            Precondition::Absent => Self::Absent,
            Precondition::Matches(version) => Self::Matches(version),
        }
    }
}

const NO_OLD: &str = "nobody is given what was purged before it asked";
const NO_REPLACEMENT: &str = "nothing replaces what was checked later";
const NOTHING_OLD_STORED: &str = "nothing that was purged is stored and valid";
const NOT_BLOCKED: &str = "nobody waits for a fill that nobody makes";
const ONE_CALL: &str = "while nothing fails there is one call";
const CACHEABLE: &str = "a storable answer ends that nothing is stored";
const HIT: &str = "one call answers all requests";

const PLAIN: Budget = Budget {
    requests: 3,
    tag_purges: 0,
    url_purges: 1,
    stales: 0,
    ends: 0,
    crashes: 0,
    lost_replies: 0,
    pauses: 0,
};

const TAGS: Budget = Budget {
    tag_purges: 1,
    url_purges: 0,
    ..PLAIN
};

const STALE: Budget = Budget { stales: 1, ..TAGS };

fn case(budget: Budget) -> Case {
    Case {
        change: Change::Nothing,
        budget,
        answers: &[Answer::Storable],
    }
}

fn with_304(budget: Budget) -> Case {
    Case {
        answers: &[Answer::Storable, Answer::NotModified],
        ..case(budget)
    }
}

fn with_unstorable(budget: Budget) -> Case {
    Case {
        answers: &[Answer::Storable, Answer::Unstorable],
        ..case(budget)
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
fn one_call_fills_and_a_purge_empties() {
    holds(case(PLAIN));
    holds(case(TAGS));
}

#[test]
fn a_304_revives_nothing() {
    holds(with_304(STALE));
    holds(with_304(Budget { stales: 1, ..PLAIN }));
}

#[test]
fn what_is_not_stored_is_passed_until_it_is() {
    holds(with_unstorable(PLAIN));
    holds(with_unstorable(TAGS));
}

#[test]
fn crashes_and_lost_replies_break_no_promise() {
    let failing = Budget {
        crashes: 1,
        lost_replies: 1,
        ..PLAIN
    };
    holds(case(failing));
    holds(with_304(Budget {
        stales: 1,
        crashes: 0,
        ..failing
    }));
}

#[test]
fn holders_that_stop_and_records_that_end_break_no_promise() {
    let stopping = Budget {
        pauses: 1,
        ends: 1,
        ..PLAIN
    };
    holds(case(stopping));
    holds(with_304(Budget {
        stales: 1,
        ..stopping
    }));
}

#[test]
fn a_record_outlives_the_fills_that_it_overtook() {
    let case = case(Budget {
        pauses: 1,
        ends: 1,
        ..PLAIN
    });
    breaks(Change::ShortLives.of(case), NOTHING_OLD_STORED);
}

#[test]
fn a_fill_that_is_not_stored_frees_its_lease() {
    breaks(Change::NoRelease.of(case(TAGS)), NOT_BLOCKED);
}

#[test]
fn a_tombstone_shows_that_a_lease_is_spent() {
    let change = Change::TombstoneSettlesNothing;
    breaks(change.of(case(PLAIN)), NOT_BLOCKED);
}

#[test]
fn stores_write_over_nothing_unseen() {
    breaks(Change::StoreByAny.of(case(PLAIN)), NOTHING_OLD_STORED);
    let paused = Budget { pauses: 1, ..PLAIN };
    breaks(Change::StoreByAny.of(case(paused)), NO_REPLACEMENT);
}

#[test]
fn a_tombstone_stops_the_fills_before_it() {
    breaks(Change::TombstoneIgnored.of(case(PLAIN)), NOTHING_OLD_STORED);
}

#[test]
fn a_304_is_stored_over_its_base_only() {
    let case = with_304(Budget {
        stales: 1,
        ends: 1,
        requests: 2,
        pauses: 0,
        ..PLAIN
    });
    breaks(Change::MergeOnNothing.of(case), NOTHING_OLD_STORED);
}

#[test]
fn a_pass_is_ended_by_what_is_stored() {
    breaks(Change::PassStays.of(with_unstorable(PLAIN)), CACHEABLE);
}
