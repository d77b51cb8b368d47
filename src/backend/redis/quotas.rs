//! Counters that admit or deny, each under a key of its own beside its subject's others.

use std::time::Duration;

use fred::{bytes_utils::Str, types::Value};

use super::{
    RedisBackend, acquire,
    script::{AMEND, REFUND},
};
use crate::{
    backend::{
        Acquire, Algorithm, Amendment, BackendError, BackendErrorKind, Decision, Limit, Quotas,
        Receipt, Result, Strikes,
    },
    key::Key,
    observe::WarnSite,
};

/// Where counters are found that cannot be read.
static COUNTERS: WarnSite = WarnSite::new("redis: acquire");

impl Quotas for RedisBackend {
    async fn acquire(&self, request: &Acquire) -> Result<Decision> {
        request.check()?;
        let routing_key = self.name(&request.subject);
        let call = |mut call: Vec<Value>| {
            call.reserve(4 + 2 * request.limits.len());
            push_keys(&mut call, &routing_key, request);
            call.push(self.quota_now());
            call.push(Value::Bytes(acquire::numbers(request)));
            call
        };
        let script = acquire::script(request);
        let reply = self.run(ACQUIRE_QUOTA, &script, &routing_key, call).await?;
        let (decision, unreadable) = acquire::decision(ACQUIRE_QUOTA, request, reply.bytes()?)?;
        if unreadable > 0 {
            COUNTERS.warn(&"found counters that cannot be read; they count as empty");
        }
        Ok(decision)
    }

    async fn refund(&self, receipt: &Receipt) -> Result<()> {
        if receipt.marks.len() != receipt.limits.len() {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!("{REFUND_QUOTA}: a receipt has one mark for each limit"),
            ));
        }
        let routing_key = self.name(&receipt.subject);
        let call = |mut call: Vec<Value>| {
            push_counters(&mut call, &routing_key, &receipt.limits);
            call.push(self.quota_now());
            call.push(decimal(receipt.taken));
            for (limit, mark) in receipt.limits.iter().zip(&receipt.marks) {
                call.push(letter(limit));
                call.push(decimal(limit.quota().counts_by()));
                call.push(decimal(*mark));
            }
            call
        };
        self.run(REFUND_QUOTA, &REFUND, &routing_key, call).await?;
        Ok(())
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn reset(&self, subject: &Key, limits: &[Limit]) -> Result<()> {
        if limits.is_empty() {
            return self.check_open(RESET_QUOTA);
        }
        let routing_key = self.name(subject);
        let keys = counters(&routing_key, limits).collect();
        self.command(RESET_QUOTA, "DEL", &routing_key, keys)
            .await?
            .integer()?;
        Ok(())
    }

    async fn amend(&self, subject: &Key, amendment: &Amendment) -> Result<()> {
        amendment.check()?;
        let routing_key = self.name(subject);
        match amendment {
            Amendment::Ban { strikes, lasting } => {
                let key = strikes_key(&routing_key, strikes);
                let ban = [decimal(strikes.after().into())];
                self.put_amendment(&routing_key, key, *lasting, &ban).await
            }
            Amendment::Resize { limit, to, lasting } => {
                let key = size_key(&routing_key, limit);
                let resized = limit.resized(*to);
                let quota = resized.quota();
                let size = [decimal(quota.limit()), decimal(quota.capacity())];
                self.put_amendment(&routing_key, key, *lasting, &size).await
            }
            Amendment::Unban { strikes } => {
                let key = strikes_key(&routing_key, strikes);
                self.drop_amendment(&routing_key, key).await
            }
            Amendment::Restore { limit } => {
                let key = size_key(&routing_key, limit);
                self.drop_amendment(&routing_key, key).await
            }
        }
    }
}

impl RedisBackend {
    /// Stores a ban or a size that ends by itself.
    async fn put_amendment(
        &self,
        routing_key: &str,
        key: Value,
        lasting: Duration,
        what: &[Value],
    ) -> Result<()> {
        let millis = lasting.as_nanos().div_ceil(1_000_000);
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let call = |mut call: Vec<Value>| {
            call.extend([decimal(1), key.clone(), self.quota_now(), decimal(millis)]);
            call.extend_from_slice(what);
            call
        };
        self.run(AMEND_QUOTA, &AMEND, routing_key, call).await?;
        Ok(())
    }

    async fn drop_amendment(&self, routing_key: &str, key: Value) -> Result<()> {
        self.command(AMEND_QUOTA, "DEL", routing_key, vec![key])
            .await?
            .integer()?;
        Ok(())
    }

    /// The time to decide by, in microseconds; empty for the server's own.
    pub(super) fn quota_now(&self) -> Value {
        match &self.quota_clock {
            Some(clock) => decimal(clock.now().as_micros()),
            None => Value::from_static_str(""),
        }
    }
}

/// The keys of a subject's counters; its hash tag keeps them in one slot.
fn counters(routing_key: &str, limits: &[Limit]) -> impl Iterator<Item = Value> {
    limits.iter().map(move |limit| {
        let key = format!("{routing_key}:{}", limit.counter_name());
        Value::String(Str::from(key))
    })
}

/// The key of a subject's strikes.
fn strikes_key(routing_key: &str, strikes: &Strikes) -> Value {
    Value::String(format!("{routing_key}:{}", strikes.counter_name()).into())
}

/// The key of the size that a limit has for one subject.
fn size_key(routing_key: &str, limit: &Limit) -> Value {
    Value::String(format!("{routing_key}:o{}", limit.counter_name()).into())
}

/// Appends the number of keys that a decision reads, and the keys: counters, strikes, sizes.
fn push_keys(call: &mut Vec<Value>, routing_key: &str, request: &Acquire) {
    let sizes = if request.resizable {
        &*request.limits
    } else {
        &[]
    };
    let keys = request.limits.len() + usize::from(request.strikes.is_some()) + sizes.len();
    call.push(decimal(keys as u64));
    call.extend(counters(routing_key, &request.limits));
    let strikes = request.strikes.iter();
    call.extend(strikes.map(|strikes| strikes_key(routing_key, strikes)));
    call.extend(sizes.iter().map(|limit| size_key(routing_key, limit)));
}

/// Appends the number of a subject's counters, and their keys.
fn push_counters(call: &mut Vec<Value>, routing_key: &str, limits: &[Limit]) {
    call.push(decimal(limits.len() as u64));
    call.extend(counters(routing_key, limits));
}

/// The scripts' name of an algorithm.
fn letter(limit: &Limit) -> Value {
    Value::from_static_str(match limit.quota().algorithm() {
        Algorithm::Log => "l",
        Algorithm::Buckets { .. } => "b",
        Algorithm::TokenBucket { .. } => "g",
        Algorithm::Counter => "c",
        Algorithm::Fixed => "f",
        Algorithm::FixedAligned { .. } => "a",
    })
}

/// A number in decimal; as text where it is so large that redis-protocol 6.0 may count its digits
/// wrongly and spoil the connection: it takes the logarithm of 999,999,999,999,999 for 15.
pub(super) fn decimal(number: u64) -> Value {
    match i64::try_from(number) {
        Ok(small) if small < 1_000_000_000_000 => Value::Integer(small),
        _ => Value::String(number.to_string().into()),
    }
}

const ACQUIRE_QUOTA: &str = "acquire a quota";
const REFUND_QUOTA: &str = "refund a quota";
const RESET_QUOTA: &str = "reset a quota";
const AMEND_QUOTA: &str = "amend a quota";
