//! A set whose members expire.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
    time::Duration,
};

use bytes::Bytes;

use super::table::Content;
use crate::{
    backend::{Cursor, Member, Page},
    clock::Timestamp,
};

/// Members by name and by deadline.
#[derive(Debug, Default)]
pub(super) struct Set {
    deadlines: HashMap<Bytes, Timestamp>,
    order: BTreeSet<(Timestamp, Bytes)>,
    /// The sum of the members' lengths.
    bytes: usize,
}

impl Set {
    /// Makes this a member until the deadline, or the one it has if that is later; gives that.
    pub(super) fn add_or_extend(
        &mut self,
        member: &Bytes,
        deadline: Timestamp,
    ) -> Option<Timestamp> {
        let before = self.deadlines.get(member).copied();
        if before.is_none_or(|before| before < deadline) {
            self.add(member.clone(), deadline);
        }
        before
    }

    /// Makes this a member until the deadline, and gives the deadline it had before.
    pub(super) fn add(&mut self, member: Bytes, deadline: Timestamp) -> Option<Timestamp> {
        let before = self.deadlines.insert(member.clone(), deadline);
        match before {
            Some(before) => {
                self.order.remove(&(before, member.clone()));
            }
            None => self.bytes += member.len(),
        }
        self.order.insert((deadline, member));
        before
    }

    pub(super) fn remove(&mut self, member: &Bytes) -> bool {
        let Some(deadline) = self.deadlines.remove(member) else {
            return false;
        };
        self.bytes -= member.len();
        self.order.remove(&(deadline, member.clone()))
    }

    /// Removes the members whose deadline is over.
    pub(super) fn prune(&mut self, now: Timestamp) {
        while let Some((deadline, _)) = self.order.first()
            && *deadline <= now
            && let Some((_, member)) = self.order.pop_first()
        {
            self.bytes -= member.len();
            self.deadlines.remove(&member);
        }
    }

    /// The latest deadline; `None` if there are no members.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.order.last().map(|(deadline, _)| *deadline)
    }

    /// The first members whose deadline is not over, behind the cursor.
    pub(super) fn page(&self, after: Option<Cursor>, now: Timestamp) -> Page {
        let expired = (now + RESOLUTION, Bytes::new());
        let start = match after {
            Some(Cursor(Member { member, deadline })) if deadline > now => {
                Excluded((deadline, member))
            }
            _ => Included(expired),
        };
        let members = self
            .order
            .range((start, Unbounded))
            .take(Page::MAX_MEMBERS)
            .map(|(deadline, member)| Member::new(member.clone(), *deadline));
        Page::new(members.collect())
    }
}

impl Content for Set {
    fn size(&self) -> usize {
        self.bytes + MEMBER_OVERHEAD * self.deadlines.len()
    }
}

/// Bytes that the bookkeeping of a member takes: its places in both orders,
/// and its buffer's header.
const MEMBER_OVERHEAD: usize = 160;

/// The distance between two neighbouring timestamps.
const RESOLUTION: Duration = Duration::from_micros(1);
