//! Who may use a session after a write, and for how long.

use super::{
    super::{
        Verdict,
        program::Op,
        record::Record,
        request::{ABSOLUTE, ROTATION_EVERY, TOUCH_EVERY},
    },
    Held, Kind, Oracle, Standing, Task, micros,
};
use tower_stash::key::Key;

impl Oracle {
    pub(super) fn check_slide(
        &self,
        task: &Task,
        old: &Record,
        old_held: &Held,
        new: &Record,
        held: &Held,
    ) -> Verdict {
        let mut same = old.clone();
        same.ttl = new.ttl;
        same.born = new.born;
        let notes_use = new.flags != old.flags;
        if notes_use {
            self.check_first_use(task, old, new)?;
            same.flags = new.flags;
            same.previous_until = new.previous_until;
        }
        if same != *new {
            return Err("it changes a session as if nobody had written it since".into());
        }
        if held.deadline != old_held.deadline {
            return Err("it moves the end of a session's life".into());
        }
        if task
            .request()
            .is_none_or(|request| request.route.does_not_slide)
            && !notes_use
        {
            return Err("it slides on a route that does not".into());
        }
        let gained = held.expires_at.saturating_sub(old_held.expires_at);
        // It cannot know how long its question was under way.
        let waited = self.latest(task) - self.now;
        if gained + waited < micros(TOUCH_EVERY) && !notes_use {
            return Err(format!("it slides for {gained} µs"));
        }
        Ok(())
    }

    /// The first request with the new secret ends the time of the one before.
    pub(super) fn check_first_use(&self, task: &Task, old: &Record, new: &Record) -> Verdict {
        let is_new = task.brought.is_some_and(|(digest, _)| digest == old.digest);
        let latest = old.previous_until.min(self.latest(task) + OVERLAP);
        if new.flags != old.flags | Record::USED || !is_new || new.previous_until > latest {
            return Err("it notes a first use that was none".into());
        }
        Ok(())
    }

    pub(super) fn check_same(
        &self,
        task: &Task,
        old: &Record,
        new: &Record,
        old_held: &Held,
        held: &Held,
    ) -> Verdict {
        let mut same = Record {
            attributes: new.attributes.clone(),
            trail: new.trail,
            ttl: new.ttl,
            born: new.born,
            ..old.clone()
        };
        if new.flags != old.flags {
            self.check_first_use(task, old, new)?;
            same.flags = new.flags;
            same.previous_until = new.previous_until;
        }
        if same != *new {
            return Err("it changes more than attributes".into());
        }
        if held.deadline != old_held.deadline {
            return Err("it moves the end of a session's life".into());
        }
        Ok(())
    }

    pub(super) fn check_identity(
        &self,
        task: &Task,
        key: &Key,
        old: &Record,
        new: &Record,
        old_held: &Held,
        held: &Held,
    ) -> Verdict<Kind> {
        if task.loaded_generation(key) != Some(old.generation) {
            return Err("it writes a session that got another secret since it was loaded".into());
        }
        let signs_in = self.signing_in(task);
        if new.digest == old.digest {
            if signs_in.is_some() || task.did(Op::Renew) {
                return Err("it keeps the secret".into());
            }
            self.check_same(task, old, new, old_held, held)?;
            return Ok(Kind::Commit);
        }
        if new.rotated < task.began_at || new.rotated > self.latest(task) {
            return Err("a secret that was replaced at another time".into());
        }
        if new.generation == old.generation {
            if signs_in.is_some() || task.did(Op::Renew) {
                return Err("it keeps the generation".into());
            }
            return self
                .check_rotation(task, old, new, old_held, held)
                .map(|()| Kind::Rotation);
        }
        if new.previous_until != 0 {
            return Err("the secret before lives on".into());
        }
        match signs_in {
            Some(user) => {
                if !old.user.is_empty() && old.user != user {
                    return Err(format!("a session of {}'s becomes {user}'s", old.user));
                }
                if new.user != user || new.seed == old.seed {
                    return Err("a login leaves the user or the seed".into());
                }
                let earliest = task.began_at + micros(ABSOLUTE);
                if new.life * 1_000 != micros(ABSOLUTE) || held.deadline + self.slack < earliest {
                    return Err("a login does not begin a new life".into());
                }
                Ok(Kind::Login)
            }
            None if !task.did(Op::Renew) => Err("nobody asked for a new secret".into()),
            None => {
                if new.user != old.user || held.deadline != old_held.deadline {
                    return Err("a new secret changes the user or the end of life".into());
                }
                Ok(Kind::Renewal)
            }
        }
    }

    pub(super) fn check_rotation(
        &self,
        task: &Task,
        old: &Record,
        new: &Record,
        old_held: &Held,
        held: &Held,
    ) -> Verdict {
        let request = task.request().ok_or("it is no request")?;
        if request.route.does_not_slide && !task.delta().sets_something() {
            return Err("it lengthens a life on a route that does not".into());
        }
        if !self.family.rotates || old.rotated + micros(ROTATION_EVERY) > self.latest(task) {
            return Err("it replaces the secret, and it is not time".into());
        }
        let loaded = task.load.as_ref().and_then(|load| load.record.as_ref());
        if task.standing() != Some(Standing::Live)
            || loaded.is_none_or(|loaded| loaded.digest != old.digest)
        {
            return Err("it replaces a secret that is not the one it came with".into());
        }
        if new.user != old.user || new.seed != old.seed || held.deadline != old_held.deadline {
            return Err("a rotation changes the user, the seed, or the end of life".into());
        }
        let latest = self.latest(task) + GRACE;
        if new.previous != old.digest
            || new.previous_until > latest
            || new.previous_until <= task.began_at
        {
            return Err("the secret before has not its grace".into());
        }
        if new.flags & Record::USED != 0 {
            return Err("the new secret was not used yet".into());
        }
        Ok(())
    }
}

/// So long the secret before works after the first use of the new one.
const OVERLAP: u64 = 30_000_000;

/// So long it works at most.
const GRACE: u64 = 600_000_000;
