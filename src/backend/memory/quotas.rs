//! Counters in memory: the shared arithmetic under one shard's lock.

use super::{MemoryBackend, budget::NoRoom, shard::Shard, table::Content};
use crate::{
    backend::{
        Acquire, Amendment, Decision, Limit, Quotas, Receipt, Result,
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
                states.refund(receipt, now);
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

    async fn amend(&self, subject: &Key, amendment: &Amendment) -> Result<()> {
        amendment.check()?;
        self.inner.store.write(subject, TOO_LARGE, |shard, now| {
            amend(shard, subject, amendment, now)
        })
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
    let strikes = states.strikes(request);
    let decision = quotas::decide(states, request, now);
    if decision.taken == 0 && states.strikes(request) == strikes {
        return Ok(decision);
    }
    states.prune(now);
    let deadline = states.deadline();
    shard.counters.resize(subject, deadline).inspect_err(|_| {
        if let Some(stored) = shard.counters.find(subject, now) {
            let states = &mut stored.content;
            states.refund(&decision.receipt(request), now);
            states.restore_strikes(request, strikes);
            // Ended counters have left, so it takes no more room than before.
            let deadline = states.deadline();
            _ = shard.counters.resize(subject, deadline);
        }
    })?;
    Ok(decision)
}

/// Makes a change to a copy, in place of which it is stored if there is room for it.
fn amend(
    shard: &mut Shard,
    subject: &Key,
    amendment: &Amendment,
    now: Timestamp,
) -> std::result::Result<(), NoRoom> {
    let stored = shard.counters.find(subject, now);
    let mut states = stored.map_or_else(States::default, |stored| stored.content.clone());
    states.amend(amendment, now);
    states.prune(now);
    if states.is_empty() {
        shard.counters.remove(subject);
        return Ok(());
    }
    let deadline = states.deadline();
    shard.counters.put(subject, states, deadline)
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
