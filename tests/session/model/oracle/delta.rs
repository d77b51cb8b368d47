//! What requests change of a session's attributes, and what becomes of these.

use std::collections::BTreeMap;

use tower_stash::key::Key;

use super::{
    super::{
        Verdict,
        program::Op,
        record::{Attributes, Record},
        request::Answer,
    },
    Kind, Task,
};

/// What a request wants to change, name by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Delta {
    pub(super) is_clear: bool,
    pub(super) changes: BTreeMap<String, Option<i64>>,
}

impl Task {
    /// What it stages, as far as it is known to.
    pub(super) fn delta(&self) -> Delta {
        let mut delta = Delta::default();
        for (place, op, answer) in self.done() {
            if self.leaves(op, &answer) {
                delta = Delta::default();
                continue;
            }
            let was_written = self.puts.iter().any(|put| put.kind == Kind::Eager(place));
            let value = self.first_value + i64::try_from(place).unwrap_or_default();
            let (name, change) = match (op, answer) {
                (Op::Insert(name), _) => (name, Some(value)),
                (Op::InsertSame(name), Answer::Same(Some(value))) => (name, Some(value)),
                (Op::Remove(name), _) => (name, None),
                (Op::Incr(name, _), Answer::Number(number)) if !was_written => (name, Some(number)),
                (Op::Update(name, _), Answer::Value(value)) if !was_written => (name, value),
                (Op::Take(name), Answer::Value(Some(_))) if !was_written => (name, None),
                (Op::Clear, _) => {
                    delta = Delta {
                        is_clear: true,
                        ..Delta::default()
                    };
                    continue;
                }
                _ => continue,
            };
            delta.changes.insert(name.to_owned(), change);
        }
        delta
    }

    pub(super) fn check_eager(&self, key: &Key, op: usize, old: &Record, new: &Record) -> Verdict {
        if self.puts.iter().any(|put| put.kind == Kind::Eager(op)) {
            return Err("an operation is applied twice".into());
        }
        if self.loaded_generation(key) != Some(old.generation) {
            return Err("an operation writes a session that got another secret".into());
        }
        let mut expected = old.attributes.clone();
        match self.request().map(|request| request.ops[op]) {
            Some(Op::Incr(name, by) | Op::Update(name, by)) => {
                *expected.entry(name.to_owned()).or_default() += by;
            }
            Some(Op::Take(name)) => _ = expected.remove(name),
            _ => {}
        }
        if new.attributes != expected {
            return Err(format!("{:?} became {:?}", old.attributes, new.attributes));
        }
        Ok(())
    }

    pub(super) fn check_attributes(&self, old: &Record, new: &Record) -> Verdict {
        let delta = self.delta();
        let loaded = match (&self.load, self.is_live()) {
            (Some(load), true) => load.record.as_ref().map(|record| &record.attributes),
            _ => None,
        };
        let nothing = Attributes::new();
        let loaded = loaded.unwrap_or(&nothing);
        let changes_nothing = delta.apply(loaded) == *loaded;
        let mut names: Vec<&String> = old.attributes.keys().chain(new.attributes.keys()).collect();
        names.extend(delta.changes.keys());
        for name in names {
            let (before, after) = (old.attributes.get(name), new.attributes.get(name));
            let wanted = match delta.changes.get(name) {
                Some(wanted) => wanted.as_ref(),
                None if delta.is_clear => None,
                None => before,
            };
            // What says what was read is no write.
            let is_no_write = changes_nothing
                || !delta.is_clear
                    && delta.changes.contains_key(name)
                    && wanted == loaded.get(name);
            if after != wanted && !(is_no_write && after == before) {
                return Err(format!(
                    "{name} was {before:?} and became {after:?}, not {wanted:?}"
                ));
            }
        }
        Ok(())
    }
}

impl Delta {
    pub(super) fn sets_something(&self) -> bool {
        self.changes.values().any(Option::is_some)
    }

    pub(super) fn apply(&self, to: &Attributes) -> Attributes {
        let mut after = if self.is_clear {
            Attributes::new()
        } else {
            to.clone()
        };
        for (name, change) in &self.changes {
            match change {
                Some(value) => _ = after.insert(name.clone(), *value),
                None => _ = after.remove(name),
            }
        }
        after
    }
}
