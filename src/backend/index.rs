//! Sets whose members expire.

use std::future::Future;

use bytes::Bytes;

use super::Result;
use crate::{clock::Timestamp, key::Key};

/// Sets of byte strings under keys; every member has a deadline of its own.
///
/// # Contract
///
/// * Deadlines are absolute and on the backend's clock. A member is gone at its deadline.
/// * A set is gone with its last member, and no earlier.
/// * Writes prune: a set never keeps members whose deadline was over at its last write.
///
/// Errors and cancel safety are those of [`KeyValue`](super::KeyValue).
pub trait Index: Send + Sync + 'static {
    /// Makes this a member until the deadline, or until the one that it has if that is later: an
    /// addition that comes late takes nothing back.
    ///
    /// A deadline that is over adds nothing.
    fn add(
        &self,
        index: &Key,
        member: Bytes,
        deadline: Timestamp,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes a member, and says whether it was one.
    fn remove(&self, index: &Key, member: Bytes) -> impl Future<Output = Result<bool>> + Send;

    /// Lists members, earliest deadline first: the first ones, or those after the cursor.
    ///
    /// A member that is there through the whole listing is on at least one page; one whose deadline
    /// is moved meanwhile may be on two.
    fn members(
        &self,
        index: &Key,
        after: Option<Cursor>,
    ) -> impl Future<Output = Result<Page>> + Send;
}

/// A member of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// What was added.
    pub member: Bytes,
    /// When it stops being a member, on the backend's clock.
    pub deadline: Timestamp,
}

impl Member {
    /// A member until this deadline.
    #[must_use]
    pub const fn new(member: Bytes, deadline: Timestamp) -> Self {
        Self { member, deadline }
    }
}

/// Some members of a set, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// At most [`Page::MAX_MEMBERS`].
    pub members: Vec<Member>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

impl Page {
    /// The most members that one page has.
    pub const MAX_MEMBERS: usize = 100;

    /// A page with these members, which is the last one if it is not full.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        let next = if members.len() < Self::MAX_MEMBERS {
            None
        } else {
            members.last().cloned().map(Cursor)
        };
        Self { members, next }
    }
}

/// Where a listing goes on: behind this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) Member);

impl Cursor {
    /// The last member of the page before, behind which the listing goes on.
    #[must_use]
    pub const fn behind(&self) -> &Member {
        &self.0
    }
}
