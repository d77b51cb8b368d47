//! Counters in memory: the shared arithmetic under one shard's lock.

use super::{MemoryBackend, budget::NoRoom, shard::Shard, table::Content};
use crate::{
    backend::{
        Acquire, Decision, Limit, Quotas, Receipt, Result,
        quotas::{self, States},
    },
    clock::Timestamp,
    key::Key,
};

impl Quotas for MemoryBackend {
    async fn acquire(&self, request: &Acquire) -> Result<Decision> {
        request.check()?;
        self.inner
            .store
            .write(&request.subject, TOO_LARGE, |shard, now| {
                decide(shard, request, now)
            })
    }

    async fn refund(&self, receipt: &Receipt) -> Result<()> {
        let subject = &receipt.subject;
        self.inner.store.with_shard(subject, |shard, now| {
            change(shard, subject, now, |states| {
                quotas::refund(states, receipt, now);
            });
        });
        Ok(())
    }

    fn is_remote(&self) -> bool {
        false
    }

    async fn reset(&self, subject: &Key, limits: &[Limit]) -> Result<()> {
        self.inner.store.with_shard(subject, |shard, now| {
            change(shard, subject, now, |states| states.reset(limits));
        });
        Ok(())
    }
}

/// Decides, and undoes what was taken if there is no room to remember it.
fn decide(
    shard: &mut Shard,
    request: &Acquire,
    now: Timestamp,
) -> std::result::Result<Decision, NoRoom> {
    let subject = &request.subject;
    let Some(stored) = shard.counters.find(subject, now) else {
        let mut states = States::default();
        let decision = quotas::decide(&mut states, request, now);
        if !states.is_empty() {
            let deadline = states.deadline();
            shard.counters.put(subject, states, deadline)?;
        }
        return Ok(decision);
    };
    let states = &mut stored.content;
    let decision = quotas::decide(states, request, now);
    if decision.taken == 0 {
        return Ok(decision);
    }
    states.prune(now);
    let deadline = states.deadline();
    shard.counters.resize(subject, deadline).inspect_err(|_| {
        if let Some(stored) = shard.counters.find(subject, now) {
            let states = &mut stored.content;
            quotas::refund(states, &decision.receipt(request), now);
            // Ended counters have left, so it takes no more room than before.
            let deadline = states.deadline();
            _ = shard.counters.resize(subject, deadline);
        }
    })?;
    Ok(decision)
}

/// Changes the counters of a subject that has any, by which they do not grow.
fn change(shard: &mut Shard, subject: &Key, now: Timestamp, change: impl FnOnce(&mut States)) {
    let Some(stored) = shard.counters.find(subject, now) else {
        return;
    };
    let states = &mut stored.content;
    change(states);
    if states.is_empty() {
        shard.counters.remove(subject);
    } else {
        let deadline = states.deadline();
        _ = shard.counters.resize(subject, deadline);
    }
}

impl Content for States {
    fn size(&self) -> usize {
        States::size(self)
    }
}

const TOO_LARGE: &str = "take from a quota: its counters are larger than all that may be stored";
