//! What a request changes of a session's attributes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    names::is_reserved,
    record::{Attributes, Value},
};

/// Changes that are not written yet; the last one of a name counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Delta {
    /// Whether all that was there is removed first, but for what is this crate's own.
    is_clear: bool,
    /// What was written at once after that, so that it is not meant.
    spared: BTreeSet<Box<str>>,
    /// What is set, and with `None` what is removed.
    changes: BTreeMap<Box<str>, Option<Value>>,
}

/// What changes say about one attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Staged<'a> {
    /// Nothing: it is what is stored.
    Unchanged,
    Set(&'a Value),
    Removed,
}

impl Delta {
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.changes.insert(name.into(), Some(value));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.changes.insert(name.into(), None);
    }

    pub(super) fn clear(&mut self) {
        self.changes.retain(|name, _| is_reserved(name));
        self.spared.clear();
        self.is_clear = true;
    }

    /// Takes back what was said about this attribute.
    pub(super) fn forget(&mut self, name: &str) {
        self.changes.remove(name);
        if self.is_clear {
            self.spared.insert(name.into());
        }
    }

    pub(super) fn of(&self, name: &str) -> Staged<'_> {
        match self.changes.get(name) {
            Some(Some(value)) => Staged::Set(value),
            Some(None) => Staged::Removed,
            None if self.clears(name) => Staged::Removed,
            None => Staged::Unchanged,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_clear && self.changes.is_empty()
    }

    /// Drops what changes nothing of these: a value that says what is there already, the removal of
    /// what is not there.
    pub(super) fn forget_what_changes_nothing(&mut self, of: &Attributes) {
        let is_there = |name: &str, change: &Option<Value>| match (change, of.get(name)) {
            (Some(value), Some(stored)) => value.says_the_same(stored),
            (None, None) => true,
            _ => false,
        };
        if !self.is_clear {
            self.changes.retain(|name, change| !is_there(name, change));
            return;
        }
        let is_set_again = |name: &str| matches!(self.of(name), Staged::Set(_));
        if of
            .iter()
            .all(|(name, _)| !self.clears(name) || is_set_again(name))
            && self
                .changes
                .iter()
                .all(|(name, change)| is_there(name, change))
        {
            *self = Self::default();
        }
    }

    /// These attributes with the changes.
    pub(super) fn apply(&self, to: &Attributes) -> Attributes {
        let mut changed = to.clone();
        changed.retain(|name| !self.clears(name));
        for (name, change) in &self.changes {
            match change {
                Some(value) => changed.set(name, value.clone()),
                None => changed.remove(name),
            }
        }
        changed
    }

    /// Whether this attribute is among all that is removed.
    fn clears(&self, name: &str) -> bool {
        self.is_clear && !is_reserved(name) && !self.spared.contains(name)
    }
}
