//! Sets whose members expire, in memory.

use bytes::Bytes;

use super::{MemoryBackend, set::Set, shard::Shard};
use crate::{
    backend::{Cursor, Index, Page, Result},
    clock::Timestamp,
    key::Key,
};

impl Index for MemoryBackend {
    async fn add(&self, index: &Key, member: Bytes, deadline: Timestamp) -> Result<()> {
        let member = Bytes::copy_from_slice(&member);
        self.inner.store.write(index, TOO_LARGE, |shard, now| {
            if deadline <= now {
                return Ok(());
            }
            let Some(stored) = shard.sets.find(index, now) else {
                let mut set = Set::default();
                set.add(member.clone(), deadline);
                return shard.sets.put(index, set, deadline);
            };
            let set = &mut stored.content;
            set.prune(now);
            let before = set.add_or_extend(&member, deadline);
            let latest = set.deadline().unwrap_or(deadline);
            shard
                .sets
                .resize(index, latest)
                .inspect_err(|_| undo_add(shard, index, &member, before, now))
        })
    }

    async fn remove(&self, index: &Key, member: Bytes) -> Result<bool> {
        let removed = self
            .inner
            .store
            .with_shard(index, |shard, now| remove(shard, index, &member, now));
        Ok(removed)
    }

    async fn members(&self, index: &Key, after: Option<Cursor>) -> Result<Page> {
        let page = self.inner.store.with_shard(index, |shard, now| {
            let set = shard.sets.find(index, now);
            set.map(|stored| stored.content.page(after, now))
        });
        Ok(page.unwrap_or_default())
    }
}

fn remove(shard: &mut Shard, index: &Key, member: &Bytes, now: Timestamp) -> bool {
    let Some(stored) = shard.sets.find(index, now) else {
        return false;
    };
    let set = &mut stored.content;
    set.prune(now);
    let removed = set.remove(member);
    match set.deadline() {
        Some(latest) => _ = shard.sets.resize(index, latest),
        None => shard.sets.remove(index),
    }
    removed
}

/// Makes a member what it was before it was added.
fn undo_add(
    shard: &mut Shard,
    index: &Key,
    member: &Bytes,
    before: Option<Timestamp>,
    now: Timestamp,
) {
    let Some(deadline) = before else {
        remove(shard, index, member, now);
        return;
    };
    if let Some(stored) = shard.sets.find(index, now) {
        stored.content.add(member.clone(), deadline);
        let latest = stored.content.deadline().unwrap_or(deadline);
        _ = shard.sets.resize(index, latest);
    }
}

const TOO_LARGE: &str = "add a member: its index is larger than all that may be stored";
