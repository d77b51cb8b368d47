//! A bounded number of stamps.

use hashlink::LinkedHashMap;

use super::stamp::{StampState, Tag};

/// Stamps of so many tags; the one that was written longest ago leaves first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TagMap {
    stamps: LinkedHashMap<Tag, StampState>,
    capacity: usize,
}

impl TagMap {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            stamps: LinkedHashMap::new(),
            capacity,
        }
    }

    pub(super) fn find(&self, tag: &Tag) -> Option<StampState> {
        self.stamps.get(tag).copied()
    }

    /// Adds to what is known of a tag; says which one had to leave.
    pub(super) fn merge(&mut self, tag: Tag, state: StampState) -> Option<(Tag, StampState)> {
        let mut merged = self.stamps.remove(&tag).unwrap_or_default();
        merged.merge(state);
        self.stamps.insert(tag, merged);
        if self.stamps.len() > self.capacity {
            return self.stamps.pop_front();
        }
        None
    }

    /// Adds to what is known of a tag, if anything is.
    pub(super) fn merge_known(&mut self, tag: &Tag, state: StampState) {
        if let Some(known) = self.stamps.get_mut(tag) {
            known.merge(state);
        }
    }

    pub(super) fn clear(&mut self) {
        self.stamps.clear();
    }
}
