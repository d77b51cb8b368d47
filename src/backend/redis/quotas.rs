//! Counters that admit or deny, each under a key of its own beside its subject's others.

use std::time::Duration;

use fred::{bytes_utils::Str, types::Value};

use super::{
    RedisBackend,
    reply::{Items, unexpected},
    script::{ACQUIRE, REFUND},
};
use crate::{
    backend::{
        Acquire, Algorithm, BackendError, BackendErrorKind, Decision, Limit, LimitState, Quotas,
        Receipt, Result, Retry, Take,
    },
    clock::Timestamp,
    key::Key,
    observe::WarnSite,
};

/// Where counters are found that cannot be read.
static COUNTERS: WarnSite = WarnSite::new("redis: acquire");

impl Quotas for RedisBackend {
    async fn acquire(&self, request: &Acquire) -> Result<Decision> {
        request.check()?;
        let routing_key = self.name(&request.subject);
        let mut arguments = Vec::with_capacity(3 + 5 * request.limits.len());
        arguments.push(self.quota_now());
        arguments.push(Value::from_static_str(match request.take {
            Take::All => "all",
            Take::UpTo => "upto",
        }));
        arguments.push(decimal(request.cost));
        for limit in &*request.limits {
            push_limit(&mut arguments, limit);
        }
        let keys = counters(&routing_key, &request.limits);
        let mut items = self
            .run(ACQUIRE_QUOTA, &ACQUIRE, &routing_key, &keys, &arguments)
            .await?
            .items()?;
        let admitted = items.next()?.integer()? != 0;
        let taken = items.next()?.unsigned()?;
        let now = Timestamp::from_micros(items.next()?.unsigned()?);
        if items.next()?.unsigned()? > 0 {
            COUNTERS.warn(&"found counters that cannot be read; they count as empty");
        }
        let limits = request
            .limits
            .iter()
            .map(|_| limit_state(&mut items))
            .collect::<Result<_>>()?;
        if !items.is_empty() {
            return Err(unexpected(ACQUIRE_QUOTA));
        }
        Ok(if admitted {
            Decision::admitted(taken, now, limits)
        } else {
            Decision::denied(now, limits)
        })
    }

    async fn refund(&self, receipt: &Receipt) -> Result<()> {
        if receipt.marks.len() != receipt.limits.len() {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                format!("{REFUND_QUOTA}: a receipt has one mark for each limit"),
            ));
        }
        let routing_key = self.name(&receipt.subject);
        let mut arguments = Vec::with_capacity(1 + 3 * receipt.limits.len());
        arguments.push(decimal(receipt.taken));
        for (limit, mark) in receipt.limits.iter().zip(&receipt.marks) {
            arguments.push(letter(limit));
            arguments.push(decimal(u64::from(limit.quota().weight())));
            arguments.push(decimal(*mark));
        }
        let keys = counters(&routing_key, &receipt.limits);
        self.run(REFUND_QUOTA, &REFUND, &routing_key, &keys, &arguments)
            .await?;
        Ok(())
    }

    async fn reset(&self, subject: &Key, limits: &[Limit]) -> Result<()> {
        if limits.is_empty() {
            return self.check_open(RESET_QUOTA);
        }
        let routing_key = self.name(subject);
        let keys = counters(&routing_key, limits)
            .into_iter()
            .map(Value::String);
        self.command(RESET_QUOTA, "DEL", &routing_key, keys.collect())
            .await?
            .integer()?;
        Ok(())
    }
}

impl RedisBackend {
    /// The time to decide by, in microseconds; empty for the server's own.
    fn quota_now(&self) -> Value {
        match &self.quota_clock {
            Some(clock) => decimal(clock.now().as_micros()),
            None => Value::from_static_str(""),
        }
    }
}

/// The keys of a subject's counters; its hash tag keeps them in one slot.
fn counters(routing_key: &str, limits: &[Limit]) -> Vec<Str> {
    limits
        .iter()
        .map(|limit| Str::from(format!("{routing_key}:{}", limit.counter_name())))
        .collect()
}

/// The scripts' name of an algorithm.
fn letter(limit: &Limit) -> Value {
    Value::from_static_str(match limit.quota().algorithm() {
        Algorithm::Log => "l",
        Algorithm::Counter => "c",
        Algorithm::Fixed => "f",
        Algorithm::FixedAligned { .. } => "a",
    })
}

/// Appends algorithm, limit, window and offset in milliseconds, weight.
fn push_limit(arguments: &mut Vec<Value>, limit: &Limit) {
    let quota = limit.quota();
    arguments.extend([
        letter(limit),
        decimal(quota.limit()),
        decimal(quota.window_millis()),
        decimal(quota.offset_millis()),
        decimal(quota.weight().into()),
    ]);
}

/// Reads what is left, the wait and the reset in microseconds, and the mark.
fn limit_state(items: &mut Items) -> Result<LimitState> {
    let remaining = items.next()?.unsigned()?;
    let retry = match u64::try_from(items.next()?.integer()?) {
        Ok(0) => Retry::Now,
        Ok(micros) => Retry::After(Duration::from_micros(micros)),
        Err(_) => Retry::Never,
    };
    let reset = u64::try_from(items.next()?.integer()?)
        .ok()
        .map(Duration::from_micros);
    let mark = items.next()?.unsigned()?;
    Ok(LimitState::new(remaining, retry, reset, mark))
}

fn decimal(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| Value::String(number.to_string().into()), Value::Integer)
}

const ACQUIRE_QUOTA: &str = "acquire a quota";
const REFUND_QUOTA: &str = "refund a quota";
const RESET_QUOTA: &str = "reset a quota";
