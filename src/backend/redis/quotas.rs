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
        let call = |mut call: Vec<Value>| {
            call.reserve(4 + 6 * request.limits.len());
            push_counters(&mut call, &routing_key, &request.limits);
            call.push(self.quota_now());
            call.push(Value::from_static_str(match request.take {
                Take::All => "all",
                Take::UpTo => "upto",
            }));
            call.push(decimal(request.cost));
            for limit in &*request.limits {
                push_limit(&mut call, limit);
            }
            call
        };
        let mut items = self
            .run(ACQUIRE_QUOTA, &ACQUIRE, &routing_key, call)
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
            .map(|limit| limit_state(limit, &mut items))
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
fn counters(routing_key: &str, limits: &[Limit]) -> impl Iterator<Item = Value> {
    limits.iter().map(move |limit| {
        let key = format!("{routing_key}:{}", limit.counter_name());
        Value::String(Str::from(key))
    })
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

/// Appends algorithm, limit, window in milliseconds, what only this algorithm has, weight.
fn push_limit(arguments: &mut Vec<Value>, limit: &Limit) {
    let quota = limit.quota();
    arguments.extend([
        letter(limit),
        decimal(quota.limit()),
        decimal(quota.window_millis()),
        decimal(match quota.algorithm() {
            Algorithm::Buckets { buckets } => buckets.into(),
            Algorithm::TokenBucket { burst } => burst,
            _ => quota.offset_millis(),
        }),
        decimal(quota.weight().into()),
    ]);
}

/// Reads what is left, the wait and the reset in microseconds, and the mark.
fn limit_state(limit: &Limit, items: &mut Items) -> Result<LimitState> {
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
    let limit = limit.quota().limit();
    Ok(LimitState::new(limit, remaining, retry, reset, mark))
}

fn decimal(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| Value::String(number.to_string().into()), Value::Integer)
}

const ACQUIRE_QUOTA: &str = "acquire a quota";
const REFUND_QUOTA: &str = "refund a quota";
const RESET_QUOTA: &str = "reset a quota";
