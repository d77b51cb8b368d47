//! The task that renews the slots which this process holds.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::ledger::{Ledger, Pool};
use crate::{backend::SlotId, observe::WarnSite};

/// Renews all slots of this lease, three times in a lease, until none is held.
pub(super) async fn renew_while_held(ledger: Arc<Ledger>, lease: Duration) {
    let period = lease / 3;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once, when all slots are new.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(held) = ledger.held(lease, MAX_IDS) else {
            return;
        };
        // A backend that hangs must not keep the others' slots from being renewed.
        if timeout(period, renew_all(&ledger, held)).await.is_err() {
            UNRENEWED.warn(&"could not renew all slots in a third of their lease");
        }
    }
}

/// Renews slots, those of each pool in one call.
async fn renew_all(ledger: &Arc<Ledger>, held: Vec<(Pool, Arc<[SlotId]>)>) {
    let mut calls = JoinSet::new();
    for (pool, ids) in held {
        if calls.len() >= MAX_CALLS {
            calls.join_next().await;
        }
        calls.spawn(renew(Arc::clone(ledger), pool, ids));
    }
    while calls.join_next().await.is_some() {}
}

async fn renew(ledger: Arc<Ledger>, pool: Pool, ids: Arc<[SlotId]>) {
    let are_held = match ledger.renew(&pool, Arc::clone(&ids)).await {
        Ok(are_held) => are_held,
        Err(error) => return UNRENEWED.warn(&error),
    };
    for (id, is_held) in ids.iter().zip(are_held) {
        // One that was released meanwhile is not missed.
        if !is_held && ledger.has(&pool, *id) {
            OVERDUE.warn(&"a slot ran out while its request runs; more may run than the limit");
            hold_again(&ledger, &pool, *id).await;
        }
    }
}

/// Holds a slot that ran out, if there is room; else it is tried again with the next renewal.
async fn hold_again(ledger: &Ledger, pool: &Pool, id: SlotId) {
    match ledger.hold(pool, id).await {
        Ok(hold) if hold.is_held() && !ledger.has(pool, id) => ledger.release(pool, id).await,
        Ok(_) => {}
        Err(error) => UNRENEWED.warn(&error),
    }
}

/// Where slots are not renewed, because the backend does not answer.
static UNRENEWED: WarnSite = WarnSite::new("concurrency_limit: renew");

/// Where slots are found that ran out before they were renewed.
static OVERDUE: WarnSite = WarnSite::new("concurrency_limit: overdue");

/// The most slots that one call renews.
const MAX_IDS: usize = 1_000;

/// The most calls that renew slots at the same time.
const MAX_CALLS: usize = 64;
