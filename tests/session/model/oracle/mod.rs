//! What the promises allow, told from outside: from the calls that reach the store, and from what
//! clients see. It knows nothing of how the layer decides.

mod answers;
mod delta;
mod identity;
mod puts;
mod task;
mod token;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tower_stash::{
    backend::{Entry, Put},
    key::Key,
};

use self::{
    task::{Applied, Load, Standing, Task},
    token::{Token, digest, secret},
};
use super::{
    Verdict, claim,
    driver::{Event, Release},
    program::{FamilyShape, User, Work},
    record::{Record, Stored},
    request::SharedLog,
    stepped::{Call, Reply, TaskId},
};

/// The state that a store and its clients are in, and what they may do next.
///
/// Times are microseconds on the store's clock.
#[derive(Debug)]
pub(crate) struct Oracle {
    family: FamilyShape,
    /// How far off a computed time may be.
    slack: u64,
    now: u64,
    step: usize,
    pub(crate) cells: BTreeMap<Key, Cell>,
    pub(crate) tokens: Vec<Token>,
    tasks: Vec<Task>,
    tickets: BTreeMap<usize, Ticket>,
    /// The index of each user.
    pub(crate) indexes: BTreeMap<String, Key>,
    /// Whose sessions were all ended but one, perhaps, and at which step that began.
    ended_all: Vec<(String, Option<Key>, usize)>,
    /// When a user's epoch was written, whosever it is.
    epochs: Vec<usize>,
    /// All values that were ever stored.
    values: Vec<Bytes>,
    /// When a call was made, and by what.
    sent: HashMap<usize, Sent>,
}

/// What is under a session's key.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) stored: Option<Held>,
    /// Since when there is no session any more, for ever.
    over: Option<u64>,
    /// By what the session is known in the index of its user.
    pub(crate) member: Option<Bytes>,
    bound: Option<Bound>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) version: u64,
    pub(crate) expires_at: u64,
    pub(crate) value: Stored,
    /// The end of the session's life.
    pub(crate) deadline: u64,
}

/// A login that a session lives by.
#[derive(Clone, Debug)]
struct Bound {
    user: String,
    /// When its ticket was drawn.
    drawn: usize,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    task: TaskId,
    step: usize,
    kind: Kind,
}

/// What a write does to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Created,
    Slide,
    Commit,
    /// An operation, by its number, that is written at once.
    Eager(usize),
    Rotation,
    Login,
    Renewal,
    End,
}

#[derive(Clone, Debug)]
struct Ticket {
    user: User,
    drawn: usize,
    drawn_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    /// The handler's operation that makes it; none once the handler has answered.
    op: Option<usize>,
}

impl Oracle {
    pub(crate) fn new(family: FamilyShape, slack: u64) -> Self {
        Self {
            family,
            slack,
            now: 0,
            step: 0,
            cells: BTreeMap::new(),
            tokens: Vec::new(),
            tasks: Vec::new(),
            tickets: BTreeMap::new(),
            indexes: BTreeMap::new(),
            ended_all: Vec::new(),
            epochs: Vec::new(),
            values: Vec::new(),
            sent: HashMap::new(),
        }
    }

    /// A step begins, at this time.
    pub(crate) fn tick(&mut self, now: u64) {
        self.step += 1;
        self.now = now;
        for cell in self.cells.values_mut() {
            if let Some(held) = cell.stored.take_if(|held| held.expires_at <= now) {
                cell.over.get_or_insert(held.expires_at);
            }
        }
    }

    pub(crate) fn begin(
        &mut self,
        work: Work,
        token: Option<&str>,
        first_value: i64,
        log: SharedLog,
    ) {
        let secret = token.and_then(secret);
        let brought = secret.map(|secret| {
            let place = self.tokens.iter().position(|token| token.secret == secret);
            (digest(&secret), place)
        });
        self.tasks.push(Task {
            work,
            log,
            brought,
            first_value,
            began: self.step,
            began_at: self.now,
            load: None,
            base: None,
            created: Vec::new(),
            views: Vec::new(),
            puts: Vec::new(),
            faults: 0,
            was_refused: false,
            is_doubtful: false,
            results: 0,
            is_over: false,
        });
    }

    /// These calls wait.
    pub(crate) fn waiting(&mut self, calls: &[(TaskId, usize)]) {
        for (task, number) in calls {
            let log = self.tasks[*task].log();
            let sent = Sent {
                at: self.now,
                op: log.head.is_none().then_some(log.results.len()),
            };
            self.sent.entry(*number).or_insert(sent);
        }
    }

    /// A call came to its end, or reached the store late.
    pub(crate) fn event(&mut self, event: &Event) -> Verdict {
        let task = &mut self.tasks[event.task];
        if event
            .release
            .is_some_and(|release| release != Release::Answer)
        {
            task.faults += 1;
        }
        task.was_refused |= event.release == Some(Release::Refuse);
        let is_heard = event.release == Some(Release::Answer);
        let Some(Ok(reply)) = &event.reply else {
            self.learn_member(event);
            return Ok(());
        };
        let is_session = event.call.key().as_str().starts_with('s');
        match (&event.call, reply) {
            (Call::Get(key, _), Reply::Entry(entry)) if is_session && is_heard => {
                self.read(event.task, key, entry.as_ref())
            }
            (Call::Put(key, value, options), Reply::Put(Put::Stored(version))) if is_session => {
                self.values.push(value.clone());
                self.put(event, key, value, *options, version.as_u64())
            }
            (Call::Put(key, ..), Reply::Put(Put::Conflict { current, .. })) if is_session => {
                if is_heard && let Some(current) = current {
                    self.view(event.task, key, current)?;
                }
                Ok(())
            }
            (Call::Put(key, value, _), Reply::Put(Put::Stored(_))) => {
                assert!(key.as_str().starts_with('e'), "{key:?} is of no kind");
                self.values.push(value.clone());
                self.epochs.push(self.step);
                Ok(())
            }
            (Call::Delete(key, _), Reply::Flag(true)) if is_session => {
                self.deleted(event.task, key)
            }
            (Call::Touch(..), Reply::Flag(true)) => {
                Err("a touch leaves the stored time to live behind".into())
            }
            _ => {
                self.learn_member(event);
                Ok(())
            }
        }
    }

    /// Looks at what tasks have come to, and at what holds at any time.
    pub(crate) fn look(&mut self) -> Verdict {
        for task in 0..self.tasks.len() {
            self.look_at(task)
                .map_err(|error| format!("t{task}: {error}"))?;
        }
        for (user, kept, began) in &self.ended_all {
            for (key, cell) in &self.cells {
                let Some(bound) = &cell.bound else { continue };
                let is_ended =
                    bound.user == *user && bound.drawn < *began && kept.as_ref() != Some(key);
                if cell.record().is_some() && is_ended {
                    return Err(format!(
                        "{key:?} is a login of {user}'s that began before all were ended"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Sessions that must be in the index of a user, with the time to which they must be.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (&str, &Cell, u64)> {
        self.cells.values().filter_map(|cell| {
            let held = cell.stored.as_ref()?;
            let user = &cell.record()?.user;
            (!user.is_empty()).then_some((user.as_str(), cell, held.expires_at))
        })
    }

    /// Whether a wait as long as this may have let a task down.
    fn is_slow(&self, task: &Task) -> bool {
        self.now - task.began_at >= 1_900_000
    }

    fn view(&mut self, task: TaskId, key: &Key, entry: &Entry) -> Verdict {
        if let Stored::Record(record) = Stored::read(&entry.value)?
            && let Some((base, _)) = &self.tasks[task].base
            && base == key
        {
            self.tasks[task].views.push(record.attributes);
        }
        Ok(())
    }

    /// A request looks up the session of its token.
    fn read(&mut self, task: TaskId, key: &Key, entry: Option<&Entry>) -> Verdict {
        let Some((digest, place)) = self.tasks[task].brought else {
            return match &self.tasks[task].work {
                Work::Request(request) if !request.looks_up_others() => {
                    Err(format!("t{task} has no token and looks up {key:?}"))
                }
                _ => Ok(()),
            };
        };
        if self.tasks[task].load.is_some() {
            return match entry {
                Some(entry) => self.view(task, key, entry),
                None => Ok(()),
            };
        }
        if let Some(token) = place.map(|place| &mut self.tokens[place]) {
            let known = token.key.get_or_insert_with(|| key.clone());
            if known != key {
                return Err(format!("a token of {known:?} looks up {key:?}"));
            }
        }
        let standing = match entry.map(|entry| Stored::read(&entry.value)).transpose()? {
            None => Standing::Unknown,
            Some(Stored::Tombstone) => Standing::Ended,
            Some(Stored::Record(record)) => {
                let held = self.cells[key].stored.as_ref().expect("it was just read");
                if record.digest == digest && held.deadline <= self.now {
                    Standing::Late
                } else if record.digest == digest {
                    Standing::Live
                } else if record.previous == digest && record.previous_until > self.now {
                    Standing::Grace
                } else if record.previous == digest {
                    Standing::Superseded
                } else {
                    Standing::Wrong
                }
            }
        };
        let record = self
            .cells
            .get(key)
            .and_then(Cell::record)
            .map(|record| Box::new(record.clone()));
        let times = record.as_ref().map(|record| {
            let deadline = self.cells[key]
                .stored
                .as_ref()
                .map_or(0, |held| held.deadline);
            let replaced = record.rotated.max(record.previous_until);
            [
                deadline,
                record.previous_until,
                replaced + puts::LATE_WINDOW,
            ]
        });
        let latest = self.latest(&self.tasks[task]);
        let is_doubtful =
            times.is_some_and(|times| times.iter().any(|time| (self.now..=latest).contains(time)));
        let was_replaced_recently = record
            .as_ref()
            .is_some_and(|record| self.now < record.rotated + puts::LATE_WINDOW);
        let step = self.step;
        let task = &mut self.tasks[task];
        if let (Standing::Live | Standing::Grace, Some(record)) = (standing, &record) {
            task.views.push(record.attributes.clone());
            task.base = Some((key.clone(), record.clone()));
        }
        task.is_doubtful = is_doubtful;
        task.load = Some(Load {
            key: key.clone(),
            standing,
            step,
            was_replaced_recently,
            record,
        });
        Ok(())
    }

    fn learn_member(&mut self, event: &Event) {
        let Call::Add(index, member, _) = &event.call else {
            return;
        };
        if event.release.is_none() {
            return;
        }
        let task = &self.tasks[event.task];
        let key = match (task.created.last(), &task.base) {
            (Some(key), _) | (None, Some((key, _))) => key.clone(),
            (None, None) => return,
        };
        // A login that is dropped with a handler that failed leaves a slide.
        let has_failed = task.log().head.is_some_and(|status| status >= 500);
        let signing_in = self.signing_in(task).filter(|_| !has_failed);
        let user = signing_in.map(str::to_owned).or_else(|| task.user());
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.member = Some(member.clone());
        }
        if let Some(user) = user {
            self.indexes.insert(user, index.clone());
        }
    }

    /// No secret was ever stored, as it is or as text.
    pub(crate) fn keeps_secrets(&self) -> Verdict {
        let stored = self.values.concat();
        let mut tokens = self.tokens.iter();
        claim(!tokens.any(|token| token.is_in(&stored)), || {
            "a secret is stored".into()
        })
    }

    fn idle(user: &str) -> u64 {
        let idle = match user {
            "" => super::request::ANONYMOUS_IDLE,
            _ => super::request::IDLE,
        };
        micros(idle)
    }
}

impl Cell {
    pub(crate) fn record(&self) -> Option<&Record> {
        match &self.stored.as_ref()?.value {
            Stored::Record(record) => Some(record),
            Stored::Tombstone => None,
        }
    }

    /// Whether others ended the session, or gave it another secret, since then.
    fn was_taken(&self, from: TaskId, since: usize) -> bool {
        self.over.is_some()
            || self
                .others(from, since)
                .any(|kind| matches!(kind, Kind::Login | Kind::Renewal | Kind::End))
    }

    fn others(&self, than: TaskId, since: usize) -> impl Iterator<Item = Kind> {
        let changes = self.changes.iter();
        let of_others = changes.filter(move |change| change.task != than && change.step >= since);
        of_others.map(|change| change.kind)
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
