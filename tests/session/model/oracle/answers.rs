//! Which answers are allowed, of operations and of requests.

use tower_stash::session::SessionErrorKind;

use super::{
    super::{
        Verdict, claim,
        program::{Op, Work},
        record::Attributes,
        request::{Answer, Log, OpResult, Seen, TOUCH_EVERY},
        stepped::TaskId,
    },
    Kind, Oracle, Standing, Task, Ticket, Token,
    delta::Delta,
    micros,
};

impl Oracle {
    /// Looks at what a task has come to since it was looked at last.
    pub(super) fn look_at(&mut self, id: TaskId) -> Verdict {
        if self.tasks[id].is_over {
            return Ok(());
        }
        let log = self.tasks[id].log();
        while self.tasks[id].results < log.results.len() {
            let place = self.tasks[id].results;
            self.tasks[id].results += 1;
            let result = &log.results[place];
            let looked = match self.tasks[id].work.clone() {
                Work::DestroyAll(user) => self.all_ended(id, user, result),
                Work::Request(request) => self.result(id, place, request.ops[place], result),
            };
            looked.map_err(|error| format!("operation {place} gave {result:?}: {error}"))?;
        }
        if let Some(seen) = &log.response {
            self.tasks[id].is_over = true;
            self.response(id, &log, seen)
                .map_err(|error| format!("the answer {seen:?}: {error}"))?;
        }
        Ok(())
    }

    fn all_ended(&mut self, id: TaskId, user: &'static str, result: &OpResult) -> Verdict {
        let task = &mut self.tasks[id];
        task.is_over = true;
        if result.is_ok() {
            let began = task.began;
            self.ended_all.push((user.to_owned(), None, began));
            return Ok(());
        }
        match task.faults {
            0 => Err("nothing stood in its way".into()),
            _ => Ok(()),
        }
    }

    fn result(&mut self, id: TaskId, place: usize, op: Op, result: &OpResult) -> Verdict {
        match result {
            Ok(answer) if self.tasks[id].is_doubtful && !matches!(answer, Answer::Drawn(_)) => {
                Ok(())
            }
            Err(_) if self.tasks[id].is_doubtful => Ok(()),
            Ok(answer) => self.success(id, place, op, answer),
            Err(kind) => self.failure(&self.tasks[id], place, op, *kind),
        }
    }

    fn failure(&self, task: &Task, place: usize, op: Op, kind: SessionErrorKind) -> Verdict {
        let is_applied = task.puts.iter().any(|put| put.kind == Kind::Eager(place));
        let base = task.base.as_ref().and_then(|(key, _)| self.cells.get(key));
        let id = self.id(task);
        let taken = base.is_none_or(|cell| cell.was_taken(id, task.loaded_at_step()));
        match kind {
            SessionErrorKind::Unavailable if task.faults > 0 || self.is_slow(task) => Ok(()),
            SessionErrorKind::Indeterminate if task.faults > 0 => Ok(()),
            SessionErrorKind::Contended if self.is_slow(task) => Ok(()),
            SessionErrorKind::ReadOnly => match task.request() {
                Some(request) if request.route.is_read_only => Ok(()),
                _ => Err("the route is not read-only".into()),
            },
            SessionErrorKind::Ended
                if is_applied && base.is_none_or(|cell| cell.over.is_none()) =>
            {
                Err("it was applied".into())
            }
            SessionErrorKind::Ended if !task.is_live() && task.load.is_some() => Ok(()),
            SessionErrorKind::Ended if taken || self.is_slow(task) => Ok(()),
            _ => Err(format!("nothing stood in the way of {op:?}")),
        }
    }

    fn success(&mut self, id: TaskId, place: usize, op: Op, answer: &Answer) -> Verdict {
        let step = self.step;
        match (op, answer) {
            (Op::BeginLogin(user), Answer::Drawn(number)) => {
                // Its age is counted from the question.
                let drawn_at = self.tasks[id].began_at;
                let drawn = step;
                self.tickets.insert(
                    *number,
                    Ticket {
                        user,
                        drawn,
                        drawn_at,
                    },
                );
                Ok(())
            }
            (Op::Get(name), Answer::Value(value)) | (Op::InsertSame(name), Answer::Same(value)) => {
                self.tasks[id].may_read(place, name, *value)
            }
            (Op::User, Answer::User(user)) => self.may_name(&self.tasks[id], user.as_deref()),
            (Op::Incr(name, _), Answer::Number(number)) => {
                self.tasks[id].may_give(place, name, Some(*number), Some(*number))
            }
            (Op::Update(name, _), Answer::Value(value)) => {
                self.tasks[id].may_give(place, name, *value, *value)
            }
            (Op::Take(name), Answer::Value(value)) => {
                self.tasks[id].may_give(place, name, None, *value)
            }
            (Op::Destroy, _) => self.is_ended(&self.tasks[id]),
            (Op::DestroyOthers, _) => {
                let task = &self.tasks[id];
                if let Some((key, record)) = task.base.as_ref().filter(|_| task.is_live())
                    && !record.user.is_empty()
                {
                    let ended = (record.user.clone(), Some(key.clone()), task.began);
                    self.ended_all.push(ended);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whose the session may be said to be.
    fn may_name(&self, task: &Task, user: Option<&str>) -> Verdict {
        let staged = self.signing_in(task);
        let loaded = task.load.as_ref().filter(|_| task.is_live());
        let loaded = loaded.and_then(|load| load.record.as_ref());
        let stored = loaded
            .map(|record| &*record.user)
            .filter(|user| !user.is_empty());
        let none = user.is_none() && (stored.is_none() || task.did(Op::Destroy));
        claim(
            none || user == stored && !task.did(Op::Destroy) || user.is_some() && user == staged,
            || format!("the session is {stored:?}'s"),
        )
    }

    fn is_ended(&self, task: &Task) -> Verdict {
        let Some(load) = task.load.as_ref().filter(|_| task.is_live()) else {
            return Ok(());
        };
        match self.cells[&load.key].over {
            Some(_) => Ok(()),
            None => Err("the session lives on".into()),
        }
    }

    fn response(&mut self, id: TaskId, log: &Log, seen: &Seen) -> Verdict {
        let task = &self.tasks[id];
        let Some(head) = log.head else {
            return Err("the handler did not run".into());
        };
        let is_kept = seen.status == head;
        if self.tasks[id].is_doubtful {
            return self.cookies(id, is_kept && head < 500, seen);
        }
        if !is_kept {
            self.may_replace(task, head, seen.status)?;
        } else if head < 500 && head != 401 {
            self.is_acknowledged(task)?;
        }
        self.cookies(id, is_kept && head < 500, seen)?;
        if is_kept {
            self.was_slid(&self.tasks[id])?;
        }
        Ok(())
    }

    /// Whether the handler's answer may be replaced by one of this status.
    fn may_replace(&self, task: &Task, head: u16, status: u16) -> Verdict {
        if head >= 500 {
            return Err("the handler had failed".into());
        }
        let id = self.id(task);
        let base = task
            .load
            .as_ref()
            .and_then(|load| self.cells.get(&load.key));
        let since = task.loaded_at_step();
        let taken = base.is_some_and(|cell| cell.was_taken(id, since));
        let request = task.request().ok_or("it is no request")?;
        // What was applied and is denied.
        let committed = task.puts.iter().any(|put| {
            matches!(
                put.kind,
                Kind::Commit | Kind::Rotation | Kind::Login | Kind::Renewal
            )
        });
        let excused = match status {
            503 => task.faults > 0 || self.is_slow(task),
            401 => {
                let is_dead = task.load.is_some() && !task.is_live();
                // A put that was applied may be forgotten by the trail, after an answer was lost.
                if committed && task.faults == 0 {
                    return Err("its changes are there".into());
                }
                let login = task.ticket().is_some_and(|_| self.may_fail_to_log_in(task));
                login
                    || request.route.rejects_when_gone && (is_dead || taken)
                    || self.is_slow(task)
                    || taken && task.did(Op::Login)
            }
            409 => {
                let others =
                    base.is_some_and(|cell| cell.others(id, since).any(|kind| kind != Kind::Slide));
                request.route.is_strict && others && !committed
            }
            _ => false,
        };
        claim(excused, || format!("nothing stood in the way of {head}"))
    }

    fn may_fail_to_log_in(&self, task: &Task) -> bool {
        let ticket = task.ticket().and_then(|ticket| self.tickets.get(&ticket));
        let Some(ticket) = ticket else { return false };
        let is_old = self.now + self.slack >= ticket.drawn_at + TICKET_LIFE;
        is_old || self.epochs.iter().any(|step| *step >= ticket.drawn)
    }

    /// A request that went well has written all that its handler wanted.
    fn is_acknowledged(&self, task: &Task) -> Verdict {
        let delta = task.delta();
        let loaded = task
            .load
            .as_ref()
            .filter(|_| task.is_live() && !task.did(Op::Destroy));
        let before = loaded.and_then(|load| load.record.as_ref());
        let before = before.map(|record| record.attributes.clone());
        let before = before.unwrap_or_default();
        let signs_in = task.ticket().is_some();
        let is_wanted = if loaded.is_some() {
            signs_in || task.did(Op::Renew) || task.is_changed_by(&delta, &before)
        } else {
            signs_in || task.did(Op::Start) || delta.sets_something()
        };
        if !is_wanted || task.has_written(&delta, &before) {
            return Ok(());
        }
        // Some routes say nothing when the session ended meanwhile.
        let keeps = task
            .request()
            .is_some_and(|request| !request.route.rejects_when_gone);
        let was_taken = match loaded {
            Some(load) => self.cells[&load.key].was_taken(self.id(task), load.step),
            None => task.standing().is_some_and(|is| is != Standing::Unknown),
        };
        let may_be_lost = keeps && !signs_in && (was_taken || self.is_slow(task));
        claim(may_be_lost, || {
            format!("it says that all is well, and {delta:?} is not written")
        })
    }

    fn cookies(&mut self, id: TaskId, is_well: bool, seen: &Seen) -> Verdict {
        let task = &self.tasks[id];
        let [cookie] = &seen.cookies[..] else {
            if !seen.cookies.is_empty() {
                return Err("several cookies".into());
            }
            return if task.is_doubtful {
                Ok(())
            } else {
                self.may_be_silent(task, is_well)
            };
        };
        let value = cookie
            .strip_prefix("__Host-id=")
            .ok_or("a cookie of another name")?;
        let value = value.split(';').next().unwrap_or_default();
        if value.is_empty() {
            let ended = task.puts.iter().any(|put| put.kind == Kind::End);
            return claim(ended || task.did(Op::Destroy), || {
                "it removes the cookie of a session that it did not end".into()
            });
        }
        if !is_well {
            return Err("a token though it did not go well".into());
        }
        let (key, record) = task
            .identity()
            .ok_or("a token though there is nothing new")?;
        let token = Token::new(value, Some(key.clone()))?;
        if token.digest != record.digest {
            return Err("a token of no session".into());
        }
        let cell = &self.cells[key];
        if let (Some(held), Some(age)) = (&cell.stored, max_age(cookie))
            && cell
                .record()
                .is_some_and(|held| held.digest == record.digest)
        {
            let left = held.deadline.saturating_sub(self.now) / 1_000_000;
            let waited = (self.now - task.began_at) / 1_000_000;
            if age > left + 2 + waited || age + 2 + waited < left {
                return Err(format!("a cookie for {age} s of a session for {left} s"));
            }
        }
        self.tokens.push(token);
        Ok(())
    }

    fn may_be_silent(&self, task: &Task, is_well: bool) -> Verdict {
        let ended = task.did(Op::Destroy) && task.is_live();
        if ended && (!is_well || task.identity_after_end().is_none()) {
            return Err("it ended the session, and the cookie stays".into());
        }
        // Nobody knows whether it was written; the client's own secret works for a while.
        if task.faults > 0 && task.has_only_rotated() {
            return Ok(());
        }
        let Some((key, record)) = task.identity().filter(|_| is_well) else {
            return Ok(());
        };
        let cell = &self.cells[key];
        // Nobody needs the token of what others have ended or changed meanwhile.
        let is_current = cell
            .record()
            .is_some_and(|held| held.digest == record.digest);
        claim(!is_current, || {
            "there is a new secret, and the client is not told".into()
        })
    }

    /// A session that was used lives on.
    fn was_slid(&self, task: &Task) -> Verdict {
        let Some(load) = task.load.as_ref().filter(|_| task.is_live()) else {
            return Ok(());
        };
        let cell = &self.cells[&load.key];
        let (Some(held), Some(record)) = (&cell.stored, cell.record()) else {
            return Ok(());
        };
        let stays = task
            .request()
            .is_none_or(|request| request.route.does_not_slide);
        let id = self.id(task);
        if stays || task.faults > 0 || cell.others(id, load.step).next().is_some() {
            return Ok(());
        }
        let life = held.deadline.saturating_sub(self.now);
        let waited = self.now - task.began_at;
        let least = Self::idle(&record.user).min(life);
        if held.expires_at + micros(TOUCH_EVERY) + waited + self.slack < self.now + least {
            let left = held.expires_at - self.now;
            return Err(format!("the session was used and has {left} µs left"));
        }
        Ok(())
    }

    fn id(&self, task: &Task) -> TaskId {
        self.tasks
            .iter()
            .position(|other| std::ptr::eq(other, task))
            .expect("it is one of the tasks")
    }
}

impl Task {
    /// Whether an attribute may read so.
    fn may_read(&self, place: usize, name: &str, value: Option<i64>) -> Verdict {
        let ops = self.done();
        let since_end = ops
            .iter()
            .rposition(|(at, op, answer)| *at < place && self.leaves(*op, answer));
        let before = ops
            .iter()
            .filter(|(at, ..)| *at < place)
            .skip(since_end.map_or(0, |at| at + 1));
        let mut staged = None;
        for (at, op, answer) in before {
            let own = self.first_value + i64::try_from(*at).unwrap_or_default();
            match (op, answer) {
                (Op::Insert(set), _) if *set == name => staged = Some(Some(own)),
                (Op::InsertSame(set), Answer::Same(Some(same))) if *set == name => {
                    staged = Some(Some(*same));
                }
                (Op::Remove(removed), _) if *removed == name => staged = Some(None),
                (Op::Clear, _) => staged = Some(None),
                _ => {}
            }
        }
        let may = match staged {
            Some(staged) => value == staged,
            None if since_end.is_some() || !self.is_live() => value.is_none(),
            None => {
                let mut views = self.views.iter();
                views.any(|view| view.get(name).copied() == value)
            }
        };
        claim(may, || {
            let views = &self.views;
            format!("{name} is {staged:?} here and {views:?} there")
        })
    }

    /// Whether this would change the session, as it was loaded and as it was written since.
    fn is_changed_by(&self, delta: &Delta, before: &Attributes) -> bool {
        let mut eager = self.puts.iter().rev();
        let eager = eager.find(|put| matches!(put.kind, Kind::Eager(_)));
        let now = eager.and_then(|put| put.record.as_ref());
        let now = now.map_or(before, |record| &record.attributes);
        delta.apply(now) != *now && delta.apply(before) != *before
    }

    /// Whether one of its writes has all of this.
    fn has_written(&self, delta: &Delta, before: &Attributes) -> bool {
        let signs_in = self.ticket().is_some();
        self.puts.iter().any(|put| {
            let Some(record) = &put.record else {
                return false;
            };
            let counts = match put.kind {
                Kind::Login => true,
                Kind::Commit | Kind::Rotation | Kind::Renewal | Kind::Created => !signs_in,
                Kind::Slide | Kind::Eager(_) | Kind::End => false,
            };
            let has = |(name, value): (&String, &Option<i64>)| {
                let (is, was) = (record.attributes.get(name), before.get(name));
                is == value.as_ref() || was == value.as_ref()
            };
            counts && delta.changes.iter().all(has)
        })
    }

    /// Whether an operation that is written at once was, if it had to be; or is staged.
    fn may_give(
        &self,
        place: usize,
        name: &str,
        after: Option<i64>,
        given: Option<i64>,
    ) -> Verdict {
        let mut puts = self.puts.iter();
        let put = puts.find(|put| put.kind == Kind::Eager(place));
        match put.and_then(|put| put.record.as_ref()) {
            Some(record) => {
                let is = record.attributes.get(name).copied();
                claim(is == after, || format!("{name} is stored as {is:?}"))
            }
            // There is nothing to take.
            None if given.is_none() => Ok(()),
            None if !self.is_live() || self.did(Op::Destroy) || self.did(Op::Login) => Ok(()),
            None => Err("it is not written".into()),
        }
    }

    /// The session that it made, or gave another secret, as it wrote it last.
    fn identity(&self) -> Option<(&tower_stash::key::Key, &super::Record)> {
        let is_new = |kind| {
            matches!(
                kind,
                Kind::Created | Kind::Login | Kind::Renewal | Kind::Rotation
            )
        };
        let put = self.puts.iter().rev().find(|put| is_new(put.kind))?;
        Some((&put.key, put.record.as_ref()?))
    }

    fn has_only_rotated(&self) -> bool {
        let mut kinds = self.puts.iter().map(|put| put.kind);
        !kinds.any(|kind| matches!(kind, Kind::Created | Kind::Login | Kind::Renewal))
    }

    /// What it made after it had ended the session that it came with.
    fn identity_after_end(&self) -> Option<&tower_stash::key::Key> {
        let end = self
            .puts
            .iter()
            .rposition(|put| put.kind == Kind::End)
            .unwrap_or(0);
        let is_new = |kind| matches!(kind, Kind::Created | Kind::Login);
        self.puts[end..]
            .iter()
            .find(|put| is_new(put.kind))
            .map(|put| &put.key)
    }
}

fn max_age(cookie: &str) -> Option<u64> {
    let attributes = cookie.split(';').map(str::trim);
    let mut ages = attributes.filter_map(|attribute| attribute.strip_prefix("Max-Age="));
    ages.next_back()?.parse().ok()
}

/// So long a ticket is good.
const TICKET_LIFE: u64 = 15 * 60 * 1_000_000;
