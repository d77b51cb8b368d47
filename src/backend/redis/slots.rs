//! Slots on leases, as sorted sets by deadline.

use bytes::Bytes;
use fred::{bytes_utils::Str, types::Value};

use super::{
    RedisBackend,
    quotas::decimal,
    reply::unexpected,
    script::{SLOTS_HOLD, SLOTS_RENEW},
};
use crate::{
    backend::{Hold, Op, Result, SlotId, SlotLimit, Slots},
    key::Key,
};

impl Slots for RedisBackend {
    async fn hold(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<Hold> {
        let arguments = [
            self.quota_now(),
            lease(limit),
            decimal(limit.limit()),
            member(slot),
        ];
        let pool = self.pool(subject, limit);
        let mut items = self
            .run_on(Op::SlotsHold.attempt(), &SLOTS_HOLD, &pool, &arguments)
            .await?
            .items()?;
        let is_held = items.next()?.integer()? != 0;
        let in_use = items.next()?.unsigned()?;
        Ok(if is_held {
            Hold::Held { in_use }
        } else {
            Hold::Full { in_use }
        })
    }

    async fn renew(&self, subject: &Key, limit: &SlotLimit, slots: &[SlotId]) -> Result<Vec<bool>> {
        let attempted = Op::SlotsRenew.attempt();
        if slots.is_empty() {
            self.check_open(attempted)?;
            return Ok(Vec::new());
        }
        let mut arguments = Vec::with_capacity(2 + slots.len());
        arguments.extend([self.quota_now(), lease(limit)]);
        arguments.extend(slots.iter().copied().map(member));
        let pool = self.pool(subject, limit);
        let mut items = self
            .run_on(attempted, &SLOTS_RENEW, &pool, &arguments)
            .await?
            .items()?;
        let are_held = slots
            .iter()
            .map(|_| Ok(items.next()?.integer()? != 0))
            .collect::<Result<_>>()?;
        if !items.is_empty() {
            return Err(unexpected(attempted));
        }
        Ok(are_held)
    }

    async fn release(&self, subject: &Key, limit: &SlotLimit, slot: SlotId) -> Result<()> {
        let pool = self.pool(subject, limit);
        let arguments = vec![Value::String(pool.clone()), member(slot)];
        self.command(Op::SlotsRelease.attempt(), "ZREM", &pool, arguments)
            .await?
            .integer()?;
        Ok(())
    }
}

impl RedisBackend {
    /// The key of the slots of this name; its hash tag is the subject's.
    fn pool(&self, subject: &Key, limit: &SlotLimit) -> Str {
        Str::from(format!("{}:{}", self.name(subject), limit.pool_name()))
    }
}

fn lease(limit: &SlotLimit) -> Value {
    let micros = u64::try_from(limit.lease().as_micros()).unwrap_or(u64::MAX);
    decimal(micros)
}

fn member(slot: SlotId) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&slot.as_u128().to_be_bytes()))
}
