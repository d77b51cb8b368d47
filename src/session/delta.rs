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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staged<V> {
    /// Nothing: it is what is stored.
    Unchanged,
    Set(V),
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

    pub(super) fn of(&self, name: &str) -> Staged<&Value> {
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

impl<V> Staged<V> {
    pub(super) fn as_ref(&self) -> Staged<&V> {
        match self {
            Self::Unchanged => Staged::Unchanged,
            Self::Set(value) => Staged::Set(value),
            Self::Removed => Staged::Removed,
        }
    }

    /// What the attribute is, over what is stored of it.
    pub(super) fn over(self, stored: Option<V>) -> Option<V> {
        match self {
            Self::Unchanged => stored,
            Self::Set(value) => Some(value),
            Self::Removed => None,
        }
    }
}

impl<V: Clone> Staged<&V> {
    pub(super) fn cloned(self) -> Staged<V> {
        match self {
            Self::Unchanged => Staged::Unchanged,
            Self::Set(value) => Staged::Set(value.clone()),
            Self::Removed => Staged::Removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{super::record::Codec, *};

    fn json(text: &str) -> Value {
        Value {
            codec: Codec::Json,
            bytes: text.to_owned().into(),
        }
    }

    /// What a handler may do, to a few attributes and one of the crate's own.
    #[derive(Clone, Debug)]
    enum Step {
        Set(String, Value),
        Remove(String),
        /// It is written at once, so what is stored is meant.
        AtOnce(String),
        Clear,
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![4 => "[a-d]", 1 => Just("~own".to_owned())]
    }

    /// Few values, two of which say the same.
    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[0-2]".prop_map(|text| json(&text)),
            Just(json(r#"{"x":1,"y":2}"#)),
            Just(json(r#"{"y":2,"x":1}"#)),
        ]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (any_name(), any_value()).prop_map(|(name, value)| Step::Set(name, value)),
            3 => any_name().prop_map(Step::Remove),
            2 => any_name().prop_map(Step::AtOnce),
            2 => Just(Step::Clear),
        ]
    }

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        vec(any_step(), 0..8)
    }

    fn any_attributes() -> impl Strategy<Value = Attributes> {
        vec((any_name(), any_value()), 0..6).prop_map(|values| {
            let mut attributes = Attributes::default();
            for (name, value) in values {
                attributes.set(&name, value);
            }
            attributes
        })
    }

    fn staged(steps: &[Step]) -> Delta {
        let mut delta = Delta::default();
        for step in steps {
            match step {
                Step::Set(name, value) => delta.set(name, value.clone()),
                Step::Remove(name) => delta.remove(name),
                Step::AtOnce(name) => delta.forget(name),
                Step::Clear => delta.clear(),
            }
        }
        delta
    }

    /// The steps, each done at once.
    fn done(steps: &[Step], to: &Attributes) -> Attributes {
        let mut attributes = to.clone();
        for step in steps {
            match step {
                Step::Set(name, value) => attributes.set(name, value.clone()),
                Step::Remove(name) => attributes.remove(name),
                Step::AtOnce(name) => match to.get(name) {
                    Some(value) => attributes.set(name, value.clone()),
                    None => attributes.remove(name),
                },
                Step::Clear => attributes.retain(|name| name == "~own"),
            }
        }
        attributes
    }

    fn say_the_same(one: &Attributes, other: &Attributes) -> bool {
        one.iter().count() == other.iter().count()
            && one
                .iter()
                .zip(other.iter())
                .all(|(one, other)| one.0 == other.0 && one.1.says_the_same(other.1))
    }

    #[test]
    fn what_is_forgotten_is_as_it_is_stored() {
        let mut delta = staged(&[Step::Set("a".into(), json("1")), Step::Remove("b".into())]);
        delta.forget("a");
        delta.forget("b");
        assert!(delta.is_empty());
        delta.clear();
        delta.set("a", json("1"));
        delta.forget("a");
        assert!(
            matches!(delta.of("a"), Staged::Unchanged),
            "it was written at once, after the clear"
        );
    }

    #[test]
    fn clearing_leaves_what_is_the_crates_own() {
        let mut attributes = Attributes::default();
        attributes.set("a", json("1"));
        attributes.set("~own", json("1"));
        let mut delta = staged(&[Step::Set("~own".into(), json("2")), Step::Clear]);
        let cleared = delta.apply(&attributes);
        assert_eq!(cleared.get("a"), None);
        assert_eq!(cleared.get("~own"), Some(&json("2")));
        assert!(matches!(delta.of("~other"), Staged::Unchanged));
        delta.forget_what_changes_nothing(&attributes);
        assert!(!delta.is_empty());
    }

    #[test]
    fn clearing_what_is_empty_is_nothing() {
        let mut own = Attributes::default();
        own.set("~own", json("1"));
        for stored in [Attributes::default(), own] {
            let mut delta = staged(&[Step::Clear]);
            assert!(!delta.is_empty());
            delta.forget_what_changes_nothing(&stored);
            assert!(delta.is_empty());
        }
    }

    proptest! {
        #[test]
        fn staged_steps_do_what_they_would_have_done_at_once(
            steps in any_steps(),
            stored in any_attributes(),
        ) {
            let delta = staged(&steps);
            prop_assert_eq!(delta.apply(&stored), done(&steps, &stored));
        }

        #[test]
        fn what_a_delta_says_of_a_name_is_what_it_does(
            steps in any_steps(),
            stored in any_attributes(),
        ) {
            let delta = staged(&steps);
            let applied = delta.apply(&stored);
            for name in ["a", "b", "c", "d", "e", "~own"] {
                let expected = match delta.of(name) {
                    Staged::Set(value) => Some(value),
                    Staged::Removed => None,
                    Staged::Unchanged => stored.get(name),
                };
                prop_assert_eq!(applied.get(name), expected, "{}", name);
            }
        }

        #[test]
        fn twice_is_once(steps in any_steps(), stored in any_attributes()) {
            let delta = staged(&steps);
            let once = delta.apply(&stored);
            prop_assert_eq!(delta.apply(&once), once);
        }

        #[test]
        fn nothing_is_left_of_a_delta_that_changes_nothing(
            steps in any_steps(),
            stored in any_attributes(),
        ) {
            let mut delta = staged(&steps);
            let changed = delta.apply(&stored);
            delta.forget_what_changes_nothing(&stored);
            prop_assert_eq!(delta.is_empty(), say_the_same(&changed, &stored));
            prop_assert!(say_the_same(&delta.apply(&stored), &changed));
        }

        #[test]
        fn what_a_request_did_not_change_stays_what_others_made_of_it(
            steps in any_steps(),
            loaded in any_attributes(),
            others in any_attributes(),
        ) {
            let mut delta = staged(&steps);
            let changed = delta.apply(&loaded);
            delta.forget_what_changes_nothing(&loaded);
            let has_cleared = steps.iter().any(|step| matches!(step, Step::Clear));
            let merged = delta.apply(&others);
            for name in ["a", "b", "c", "d", "~own"] {
                let is_same = match (changed.get(name), loaded.get(name)) {
                    (Some(changed), Some(loaded)) => changed.says_the_same(loaded),
                    (changed, loaded) => changed == loaded,
                };
                if is_same && !has_cleared {
                    prop_assert_eq!(merged.get(name), others.get(name), "{}", name);
                } else if !is_same {
                    prop_assert_eq!(merged.get(name), changed.get(name), "{}", name);
                }
            }
        }
    }
}
