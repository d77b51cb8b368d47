//! Runs a program: each step at the driver, then at the oracle, then at what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tower_stash::{
    backend::{GetOptions, Index, KeyValue, Precondition, Put},
    key::Key,
};

use super::{
    Verdict,
    driver::{Driver, Event, Release, Time},
    oracle::Oracle,
    program::{FamilyShape, Program, Step, Work},
    record::Stored,
    request::{Log, SharedLog, Tickets, destroy_all, send},
    stepped::{Call, Reply, TaskId},
};

/// A store, the requests that are under way, and what is allowed of them.
#[derive(Debug)]
pub(crate) struct World<B, T> {
    family: FamilyShape,
    driver: Driver<B, T>,
    pub(crate) oracle: Oracle,
    tickets: Tickets,
    logs: Vec<SharedLog>,
    waiting: Vec<(TaskId, usize)>,
    names: BTreeMap<Key, String>,
    /// Whose answers were noted.
    answered: BTreeSet<TaskId>,
    /// What happened, a line each.
    pub(crate) trace: String,
}

/// Runs a program to its end; what is not allowed comes with all that happened before.
pub(crate) async fn run<B, T>(backend: B, time: T, program: Program) -> Verdict
where
    B: KeyValue + Index,
    T: Time,
{
    let mut world = World::new(backend, time, program.family);
    for step in program.steps {
        world
            .step(step)
            .await
            .map_err(|error| world.report(&error))?;
    }
    world.finish().await.map_err(|error| world.report(&error))
}

impl<B: KeyValue + Index, T: Time> World<B, T> {
    pub(crate) fn new(backend: B, time: T, family: FamilyShape) -> Self {
        let slack = u64::try_from(T::SLACK.as_micros()).unwrap_or_default();
        Self {
            family,
            driver: Driver::new(backend, time),
            oracle: Oracle::new(family, slack),
            tickets: Tickets::default(),
            logs: Vec::new(),
            waiting: Vec::new(),
            names: BTreeMap::new(),
            answered: BTreeSet::new(),
            trace: String::new(),
        }
    }

    pub(crate) async fn step(&mut self, step: Step) -> Verdict {
        match step {
            Step::Run(work) => {
                let task = self.begin(work).await?;
                self.finish_one(task).await
            }
            Step::Begin(work) => self.begin(work).await.map(drop),
            Step::Release(after, how) => match self.waiting.len() {
                0 => Ok(()),
                waiting => self.release(after % waiting, how).await,
            },
            Step::Deliver(which) => match self.driver.late() {
                0 => Ok(()),
                late => self.deliver(which % late).await,
            },
            Step::Cancel(task) => self.cancel(task).await,
            Step::Pass(time) => self.pass(time).await,
        }
    }

    /// Releases all that waits, and looks a last time.
    pub(crate) async fn finish(&mut self) -> Verdict {
        for _ in 0..1_000 {
            if self.waiting.is_empty() {
                return self.oracle.keeps_secrets();
            }
            self.release(0, Release::Answer).await?;
        }
        Err("it does not end".into())
    }

    /// Starts a task, up to its first call.
    pub(crate) async fn begin(&mut self, work: Work) -> Verdict<TaskId> {
        self.tick().await;
        let log = SharedLog::default();
        self.logs.push(Arc::clone(&log));
        let id = self.logs.len() - 1;
        let first_value = i64::try_from(100 * (id + 1)).unwrap_or_default();
        let family = self.family;
        let token = match &work {
            Work::Request(request) => request.token.text(&self.oracle.tokens),
            Work::DestroyAll(_) => None,
        };
        _ = writeln!(self.trace, "t{id} begins: {work:?}");
        let shown = Arc::clone(&log);
        self.oracle
            .begin(work.clone(), token.as_deref(), first_value, log);
        match work {
            Work::Request(request) => {
                let tickets = self.tickets.clone();
                self.driver.spawn(|backend| {
                    send(backend, family, request, token, first_value, tickets, shown)
                })
            }
            Work::DestroyAll(user) => self
                .driver
                .spawn(|backend| destroy_all(backend, family, user, shown)),
        };
        self.settle().await?;
        Ok(id)
    }

    /// Releases all calls of one task, until it is done.
    pub(crate) async fn finish_one(&mut self, task: TaskId) -> Verdict {
        while let Some(place) = self.waiting.iter().position(|(of, _)| *of == task) {
            self.release(place, Release::Answer).await?;
        }
        Ok(())
    }

    /// Releases the oldest call of a task, if one waits.
    pub(crate) async fn release_of(&mut self, task: TaskId, how: Release) -> Verdict {
        let place = self.waiting.iter().position(|(of, _)| *of == task);
        let place = place.ok_or_else(|| format!("t{task} waits for nothing"))?;
        self.release(place, how).await
    }

    pub(crate) fn is_waiting(&self, task: TaskId) -> bool {
        self.waiting.iter().any(|(of, _)| *of == task)
    }

    /// What a task has come to.
    pub(crate) fn log(&self, task: TaskId) -> Log {
        self.logs[task].lock().unwrap().clone()
    }

    pub(crate) fn report(&self, error: &str) -> String {
        format!("{error}\n{}", self.trace)
    }

    async fn release(&mut self, place: usize, how: Release) -> Verdict {
        self.tick().await;
        let event = self.driver.release(place, how).await;
        self.happened(&event).await
    }

    pub(crate) async fn deliver(&mut self, place: usize) -> Verdict {
        self.tick().await;
        let event = self.driver.deliver(place).await;
        self.happened(&event).await
    }

    async fn cancel(&mut self, task: usize) -> Verdict {
        if self.logs.is_empty() {
            return Ok(());
        }
        let task = task % self.logs.len();
        if self.driver.is_done(task) {
            return Ok(());
        }
        _ = writeln!(self.trace, "t{task} is dropped");
        self.driver.cancel(task);
        self.settle().await
    }

    pub(crate) async fn pass(&mut self, time: Duration) -> Verdict {
        _ = writeln!(self.trace, "{time:?} pass");
        self.driver.time.pass(time).await;
        self.tick().await;
        self.settle().await
    }

    async fn happened(&mut self, event: &Event) -> Verdict {
        self.note(event);
        self.oracle
            .event(event)
            .map_err(|error| format!("t{}: {error}", event.task))?;
        self.settle().await
    }

    /// A moment passes with each step, so that no two are at one time.
    async fn tick(&mut self) {
        self.driver.time.pass(Duration::from_millis(1)).await;
        self.oracle.tick(self.driver.time.now().as_micros());
    }

    async fn settle(&mut self) -> Verdict {
        self.waiting = self.driver.settle().await;
        self.oracle.tick(self.driver.time.now().as_micros());
        self.oracle.waiting(&self.waiting);
        self.note_answers();
        self.oracle.look()?;
        self.store_is_as_told().await?;
        self.index_covers_bound_sessions().await
    }

    async fn store_is_as_told(&self) -> Verdict {
        for (key, cell) in &self.oracle.cells {
            let found = self
                .driver
                .backend
                .get(key, GetOptions::new().with_expiry())
                .await;
            let found = found.map_err(|error| error.to_string())?;
            let told = cell.stored.as_ref();
            let is_same = match (&found, told) {
                (None, None) => true,
                (Some(found), Some(told)) => {
                    let left = found.expires_in.unwrap_or_default();
                    let expires_at = (self.driver.time.now() + left).as_micros();
                    let off = expires_at.abs_diff(told.expires_at);
                    found.value == told.bytes
                        && found.version.as_u64() == told.version
                        && Duration::from_micros(off) <= T::SLACK
                }
                _ => false,
            };
            if !is_same {
                return Err(format!("{} is {found:?}, and not {told:?}", self.name(key)));
            }
        }
        Ok(())
    }

    async fn index_covers_bound_sessions(&self) -> Verdict {
        for (user, cell, until) in self.oracle.bound() {
            let index = self
                .oracle
                .indexes
                .get(user)
                .ok_or("a user without an index")?;
            let page = self.driver.backend.members(index, None).await;
            let members = page.map_err(|error| error.to_string())?.members;
            let own = members
                .iter()
                .find(|member| Some(&member.member) == cell.member.as_ref());
            if own.is_none_or(|own| own.deadline.as_micros() < until) {
                return Err(format!(
                    "the index of {user} misses one of {user}'s sessions"
                ));
            }
        }
        Ok(())
    }

    // === What happened, in words ===

    fn note(&mut self, event: &Event) {
        let key = event.call.key().clone();
        self.name_of(&key);
        let name = self.name(&key).to_owned();
        let call = match &event.call {
            Call::Get(..) => format!("get {name}"),
            Call::Put(_, value, options) => {
                let when = match options.precondition {
                    Precondition::Matches(version) => format!("{version:?}"),
                    other => format!("{other:?}"),
                };
                format!(
                    "put {name} if {when} for {:?}: {}",
                    options.ttl,
                    shown(value)
                )
            }
            Call::Delete(..) => format!("delete {name}"),
            Call::Touch(..) => format!("touch {name}"),
            Call::Add(..) => format!("add to {name}"),
            Call::Remove(..) => format!("remove from {name}"),
            Call::Members(..) => format!("members of {name}"),
        };
        let how = match event.release {
            Some(Release::Answer) => "",
            Some(Release::LoseReply) => " (the answer is lost)",
            Some(Release::LoseCall) => " (lost)",
            Some(Release::Refuse) => " (refused)",
            None => " (late)",
        };
        let reply = match &event.reply {
            None => String::new(),
            Some(Ok(Reply::Put(Put::Stored(version)))) => format!(" -> stored {version:?}"),
            Some(Ok(Reply::Put(Put::Conflict { current, .. }))) => match current {
                Some(current) => format!(
                    " -> conflict {:?} {}",
                    current.version,
                    shown(&current.value)
                ),
                None => " -> conflict, nothing".into(),
            },
            Some(Ok(Reply::Entry(None))) => " -> nothing".into(),
            Some(Ok(Reply::Entry(Some(entry)))) => {
                format!(" -> {:?} {}", entry.version, shown(&entry.value))
            }
            Some(Ok(Reply::Page(page))) => format!(" -> {} members", page.members.len()),
            Some(other) => format!(" -> {other:?}"),
        };
        _ = writeln!(self.trace, "t{} {call}{how}{reply}", event.task);
    }

    fn note_answers(&mut self) {
        for (task, log) in self.logs.iter().enumerate() {
            let log = log.lock().unwrap();
            let Some(seen) = &log.response else { continue };
            if self.answered.insert(task) {
                let cookies = seen
                    .cookies
                    .iter()
                    .map(|cookie| &cookie[..cookie.len().min(24)]);
                let cookies: Vec<_> = cookies.collect();
                let (status, results) = (seen.status, &log.results);
                _ = writeln!(
                    self.trace,
                    "t{task} answers {status}, cookies {cookies:?}, after {results:?}"
                );
            }
        }
    }

    fn name_of(&mut self, key: &Key) {
        let kind = key.as_str()[..1].to_uppercase();
        let number = self
            .names
            .values()
            .filter(|name| name.starts_with(&kind))
            .count();
        self.names
            .entry(key.clone())
            .or_insert_with(|| format!("{kind}{number}"));
    }

    fn name(&self, key: &Key) -> &str {
        self.names.get(key).map_or("?", |name| name)
    }
}

fn shown(value: &Bytes) -> String {
    match Stored::read(value) {
        Ok(Stored::Tombstone) => "tombstone".into(),
        Ok(Stored::Record(record)) => format!(
            "{:?} of {:?}, generation {:x}, secret {:02x}{:02x}, used {}, before until {}, trail {:x?}",
            record.attributes,
            record.user,
            record.generation >> 48,
            record.digest[0],
            record.digest[1],
            record.flags,
            record.previous_until,
            record
                .trail
                .iter()
                .take_while(|nonce| **nonce != 0)
                .map(|nonce| nonce >> 48)
                .collect::<Vec<_>>(),
        ),
        Err(_) => format!("{} bytes", value.len()),
    }
}
