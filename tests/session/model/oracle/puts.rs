//! Which writes of a session's key are allowed.

use bytes::Bytes;
use tower_stash::{backend::PutOptions, key::Key};

use super::{
    super::{
        Verdict, claim,
        driver::Event,
        program::{Op, Work},
        record::{Record, Stored},
        request::ANONYMOUS_ABSOLUTE,
        stepped::TaskId,
    },
    Applied, Bound, Cell, Change, Held, Kind, Oracle, Sent, Standing, Task, micros,
};

impl Oracle {
    /// A write of a session's key was applied.
    pub(super) fn put(
        &mut self,
        event: &Event,
        key: &Key,
        value: &Bytes,
        options: PutOptions,
        version: u64,
    ) -> Verdict {
        let sent = self.sent[&event.number];
        let expires_at = self.now + micros(options.ttl);
        let value_read = Stored::read(value)?;
        let mut held = Held {
            bytes: value.clone(),
            version,
            expires_at,
            deadline: u64::MAX,
            value: value_read,
        };
        let task = event.task;
        let kind = match &held.value {
            Stored::Tombstone => {
                self.may_end(task, key)?;
                if micros(options.ttl) < LATE_WINDOW {
                    return Err("a tombstone that goes too early".into());
                }
                Kind::End
            }
            Stored::Record(record) => {
                let born = match record.born {
                    0 => version,
                    born => born,
                };
                held.deadline = born + record.life * 1_000;
                self.check_ttl(record, &held, options, sent)?;
                let record = (**record).clone();
                self.check_record(task, key, &record, &held, sent)?
            }
        };
        let record = match &held.value {
            Stored::Record(record) => Some(record.clone()),
            Stored::Tombstone => None,
        };
        let bound = match (kind, &record) {
            (Kind::Login, Some(record)) => Some(self.bound_by(task, &record.user)?),
            _ => None,
        };
        let (now, step) = (self.now, self.step);
        let cell = self.cells.entry(key.clone()).or_default();
        match kind {
            Kind::End => _ = cell.over.get_or_insert(now),
            Kind::Created => cell.over = None,
            _ => {}
        }
        if bound.is_some() {
            cell.bound = bound;
        }
        cell.stored = Some(held);
        cell.changes.push(Change { task, step, kind });
        if kind == Kind::Created && event.release.is_none() {
            // Its maker has begun another one since.
            return Ok(());
        }
        let task = &mut self.tasks[task];
        task.puts.push(Applied {
            key: key.clone(),
            step,
            kind,
            nonce: record.as_ref().map_or(0, |record| record.trail[0]),
            record: record.clone(),
        });
        if kind == Kind::Created && !task.created.contains(key) {
            task.created.push(key.clone());
        }
        if let Some(record) = record
            && kind != Kind::Slide
        {
            task.views.push(record.attributes.clone());
            task.base = Some((key.clone(), record));
        }
        Ok(())
    }

    /// A session's key was deleted: what a destroy does when the store is full.
    pub(super) fn deleted(&mut self, task: TaskId, key: &Key) -> Verdict {
        self.may_end(task, key)?;
        if !self.tasks[task].was_refused {
            return Err("it is deleted, so nothing says that it ended".into());
        }
        let (now, step) = (self.now, self.step);
        let cell = self.cells.entry(key.clone()).or_default();
        cell.over.get_or_insert(now);
        cell.stored = None;
        cell.changes.push(Change {
            task,
            step,
            kind: Kind::End,
        });
        Ok(())
    }

    fn may_end(&self, task: TaskId, key: &Key) -> Verdict {
        let cell = self.cells.get(key);
        let user = cell
            .and_then(Cell::record)
            .map_or("", |record| &record.user);
        let task = &self.tasks[task];
        if let Work::DestroyAll(of) = task.work {
            return claim(user.is_empty() || user == of, || {
                format!("it ends a session of {user}'s")
            });
        }
        let is_own = task.created.contains(key)
            || task.base.as_ref().is_some_and(|(base, _)| base == key)
            || task.is_live() && task.load.as_ref().is_some_and(|load| load.key == *key);
        let is_of_same_user = task.views_of_user(user);
        let may = is_own && (task.tried(|op| op == Op::Destroy) || self.switches_user(task))
            || (is_of_same_user && !is_own && task.tried(|op| op == Op::DestroyOthers))
            || (is_of_same_user && task.tried(|op| matches!(op, Op::DestroyDevice(_))))
            || (!user.is_empty() && task.tried(|op| matches!(op, Op::EndAs(of) if of == user)))
            || (self.family.most.is_some()
                && task.base.as_ref().is_none_or(|(base, _)| base != key)
                && self
                    .signing_in(task)
                    .is_some_and(|of| user.is_empty() || user == of));
        claim(
            may || cell.is_none_or(|cell| cell.over.is_some()) && is_own,
            || format!("it may not end {key:?}, a session of {user:?}"),
        )
    }

    pub(super) fn signing_in(&self, task: &Task) -> Option<&'static str> {
        let ticket = self.tickets.get(&task.ticket()?)?;
        Some(ticket.user)
    }

    /// Whether a request logs in over the session of another user.
    pub(super) fn switches_user(&self, task: &Task) -> bool {
        let loaded = task.load.as_ref().and_then(|load| load.record.as_ref());
        let before = loaded
            .filter(|_| task.is_live())
            .map_or("", |record| &record.user);
        let after = self.signing_in(task);
        !before.is_empty() && after.is_some_and(|after| after != before)
    }

    fn bound_by(&self, task: TaskId, user: &str) -> Verdict<Bound> {
        let ticket = self.tasks[task]
            .ticket()
            .and_then(|ticket| self.tickets.get(&ticket));
        match ticket {
            Some(ticket) if ticket.user == user => Ok(Bound {
                user: user.to_owned(),
                drawn: ticket.drawn,
            }),
            _ => Err(format!("{user} is logged in without a ticket")),
        }
    }

    fn check_ttl(&self, record: &Record, held: &Held, options: PutOptions, sent: Sent) -> Verdict {
        let ttl = micros(options.ttl);
        if record.ttl * 1_000 != ttl {
            return Err(format!(
                "it says that it has {} ms, and has {ttl} µs",
                record.ttl
            ));
        }
        if ttl == 0 || ttl > Self::idle(&record.user) {
            return Err(format!("a time to live of {ttl} µs"));
        }
        let late = self.now - sent.at;
        if held.expires_at > held.deadline + late + self.slack {
            let over = held.expires_at - held.deadline;
            return Err(format!("it lives {over} µs longer than its session may"));
        }
        Ok(())
    }

    /// Tells what a write of a record does, by what it changes, and whether it may.
    fn check_record(
        &self,
        id: TaskId,
        key: &Key,
        new: &Record,
        held: &Held,
        sent: Sent,
    ) -> Verdict<Kind> {
        let task = &self.tasks[id];
        let Some(cell) = self.cells.get(key) else {
            return self.check_created(task, new);
        };
        let Some(old_held) = &cell.stored else {
            return Err("a session that was over is back".into());
        };
        let Some(old) = cell.record() else {
            return Err("a session that was ended is back".into());
        };
        let is_its_own = task.created.contains(key);
        if !task.is_live() && !is_its_own {
            return Err(format!("its token is {:?}, and it writes", task.standing()));
        }
        if new.trail == old.trail {
            return self
                .check_slide(task, old, old_held, new, held)
                .map(|()| Kind::Slide);
        }
        if new.trail[1..] != old.trail[..7] || old.trail.contains(&new.trail[0]) {
            return Err("its trail does not go on from the one before".into());
        }
        if held.deadline < old_held.deadline && new.user == old.user && new.user.is_empty() {
            return Err("its life became shorter".into());
        }
        let again = task.puts.iter().any(|put| {
            put.key == *key
                && put.kind != Kind::Slide
                && put.kind != Kind::Created
                && put.nonce == new.trail[0]
        });
        if again && old.trail.contains(&new.trail[0]) {
            return Err("it is applied twice".into());
        }
        if let Some(op) = sent.op
            && task
                .request()
                .is_some_and(|request| request.ops[op].is_eager())
        {
            task.check_eager(key, op, old, new)?;
            self.check_same(task, old, new, old_held, held)?;
            return Ok(Kind::Eager(op));
        }
        if sent.op.is_some() {
            return Err("it writes before the handler has answered".into());
        }
        if task.log().head.is_some_and(|status| status >= 500) {
            return Err("it writes though its handler failed".into());
        }
        let strict = task
            .request()
            .is_some_and(|request| request.route.is_strict);
        let others = cell.others(id, task.adopted_at_step());
        let mut wrote = others.filter(|kind| !matches!(kind, Kind::Slide));
        if strict && self.signing_in(task).is_none() && wrote.next().is_some() {
            return Err("it is strict, and others wrote since it loaded".into());
        }
        task.check_attributes(old, new)?;
        self.check_identity(task, key, old, new, old_held, held)
    }

    fn check_created(&self, task: &Task, new: &Record) -> Verdict<Kind> {
        if task.log().head.is_some_and(|status| status >= 500) {
            return Err("it begins a session though its handler failed".into());
        }
        let allowed = 1 + task
            .done()
            .iter()
            .filter(|(_, op, _)| *op == Op::Destroy)
            .count();
        // Where an answer did not come another one is begun.
        if task.created.len() >= allowed + task.faults {
            return Err("it begins one session too many".into());
        }
        let destroyed = task.did(Op::Destroy);
        let begins = task.did(Op::Login) || task.did(Op::Start);
        let wants = begins || task.delta().changes.values().any(Option::is_some);
        let may = match (task.standing(), &task.load) {
            _ if destroyed || task.is_doubtful => true,
            (Some(Standing::Live | Standing::Grace), _) => self.switches_user(task),
            (Some(Standing::Ended | Standing::Superseded), Some(load)) if !begins => {
                load.standing == Standing::Superseded && !load.was_replaced_recently
            }
            _ => true,
        };
        if !wants || !may {
            return Err(format!(
                "it begins a session; its token is {:?}",
                task.standing()
            ));
        }
        let delta = task.delta();
        let stray = new
            .attributes
            .iter()
            .find(|(name, value)| delta.changes.get(*name) != Some(&Some(**value)));
        if let Some(stray) = stray {
            return Err(format!("a new session has {stray:?}, which nobody set"));
        }
        if new.previous_until != 0 {
            return Err("a new session has a secret before its own".into());
        }
        claim(new.user.is_empty(), || {
            "a session is bound before it is known".into()
        })?;
        claim(new.life * 1_000 == micros(ANONYMOUS_ABSOLUTE), || {
            format!("a new session lives for {} ms", new.life)
        })?;
        Ok(Kind::Created)
    }

    /// The latest time that a task may take for the present: what it asked may have been answered
    /// as soon as it was sent, or as late as the answer came.
    pub(super) fn latest(&self, task: &Task) -> u64 {
        self.now + (self.now - task.began_at) + self.slack
    }
}

/// So long a tombstone stays, and a replaced secret is told from an unknown one.
pub(super) const LATE_WINDOW: u64 = 60_000_000;
