//! Versioned records as strings: eight bytes of version, then the value.

use std::time::Duration;

use bytes::{Buf, Bytes};
use fred::{bytes_utils::Str, types::Value};

use super::{
    RedisBackend,
    client::ManagedClient,
    reply::Reply,
    script::{DELETE, PUT, TOUCH},
};
use crate::{
    backend::{
        BackendError, BackendErrorKind, Entry, GetOptions, KeyValue, Op, Precondition, Put,
        PutOptions, Result, Version,
    },
    clock::Timestamp,
    key::Key,
};

impl KeyValue for RedisBackend {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        let key = self.name(key);
        let client = self.client(Op::Get.attempt())?;
        if !options.expiry {
            return self.read(client, key).await;
        }
        // Two commands on one connection, in this order, and no pipeline: fred's
        // costs more than it saves.
        let (entry, left) =
            tokio::join!(self.read(client, key.clone()), self.time_left(client, key));
        let (Some(entry), left) = (entry?, left?) else {
            return Ok(None);
        };
        Ok(match left {
            RemainingTtl::Gone => None,
            RemainingTtl::Endless => Some(entry),
            RemainingTtl::For(left) => Some(entry.with_expires_in(left)),
        })
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        let ttl = millis(options.ttl)?;
        let key = self.name(key);
        let precondition = match options.precondition {
            Precondition::Any => Value::from_static_str("any"),
            Precondition::Absent => Value::from_static_str("absent"),
            Precondition::Matches(version) => {
                let mut wanted = [b'v'; 1 + VERSION_LEN];
                for (to, from) in wanted
                    .iter_mut()
                    .skip(1)
                    .zip(version.as_u64().to_be_bytes())
                {
                    *to = from;
                }
                Value::Bytes(Bytes::copy_from_slice(&wanted))
            }
        };
        let arguments = [Value::Bytes(value), Value::Integer(ttl), precondition];
        let reply = self
            .run_on(Op::Put.attempt(), &PUT, &key, &arguments)
            .await?;
        if !reply.is_array() {
            return Ok(Put::Stored(Version::from_u64(reply.unsigned()?)));
        }
        let mut items = reply.items()?;
        let now = Timestamp::from_micros(items.next()?.unsigned()?);
        let (held, left) = (
            items.next()?,
            RemainingTtl::from_pttl(items.next()?.integer()?),
        );
        let current = match entry(Op::Put.attempt(), held)? {
            Some(entry) => match left {
                RemainingTtl::Gone | RemainingTtl::Endless => Some(entry),
                RemainingTtl::For(left) => Some(entry.with_expires_in(left)),
            },
            None => None,
        };
        Ok(Put::Conflict { current, now })
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        let key = self.name(key);
        let removed = match precondition {
            Precondition::Absent => {
                self.check_open(Op::Delete.attempt())?;
                return Ok(false);
            }
            Precondition::Any => {
                self.command(
                    Op::Delete.attempt(),
                    "DEL",
                    &key,
                    vec![Value::String(key.clone())],
                )
                .await?
            }
            Precondition::Matches(version) => {
                self.run_on(Op::Delete.attempt(), &DELETE, &key, &[raw(version)])
                    .await?
            }
        };
        Ok(removed.integer()? > 0)
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        let ttl = Value::Integer(millis(ttl)?);
        let key = self.name(key);
        let touched = match precondition {
            Precondition::Absent => {
                self.check_open(Op::Touch.attempt())?;
                return Ok(false);
            }
            Precondition::Any => {
                let args = vec![Value::String(key.clone()), ttl];
                self.command(Op::Touch.attempt(), "PEXPIRE", &key, args)
                    .await?
            }
            Precondition::Matches(version) => {
                self.run_on(Op::Touch.attempt(), &TOUCH, &key, &[raw(version), ttl])
                    .await?
            }
        };
        Ok(touched.integer()? > 0)
    }

    fn clock_skew(&self) -> Duration {
        self.clock_skew
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl RedisBackend {
    async fn read(&self, client: &ManagedClient, key: Str) -> Result<Option<Entry>> {
        let reply = self.ask_on(client, Op::Get.attempt(), "GET", key).await?;
        entry(Op::Get.attempt(), reply)
    }

    async fn time_left(&self, client: &ManagedClient, key: Str) -> Result<RemainingTtl> {
        let reply = self.ask_on(client, Op::Get.attempt(), "PTTL", key).await?;
        reply.integer().map(RemainingTtl::from_pttl)
    }
}

/// How long a record has left to live.
#[derive(Clone, Copy)]
enum RemainingTtl {
    Gone,
    /// Someone else took its deadline away; we write none without.
    Endless,
    For(Duration),
}

impl RemainingTtl {
    fn from_pttl(millis: i64) -> Self {
        match u64::try_from(millis) {
            Ok(millis) => Self::For(Duration::from_millis(millis)),
            Err(_) if millis == -1 => Self::Endless,
            Err(_) => Self::Gone,
        }
    }
}

/// The record in a reply that holds its string, or nothing.
fn entry(attempted: &'static str, reply: Reply) -> Result<Option<Entry>> {
    if reply.is_nothing() {
        return Ok(None);
    }
    let mut record = reply.bytes()?;
    let Ok(version) = record.try_get_u64() else {
        return Err(BackendError::new(
            BackendErrorKind::Corrupt,
            format!("{attempted}: it is too short to have a version"),
        ));
    };
    Ok(Some(Entry::new(record, Version::from_u64(version))))
}

/// A version as it is stored.
fn raw(version: Version) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&version.as_u64().to_be_bytes()))
}

/// A time to live in milliseconds, rounded up.
fn millis(ttl: Duration) -> Result<i64> {
    if ttl.is_zero() {
        return Err(BackendError::zero_ttl());
    }
    let millis = ttl.min(MAX_TTL).as_nanos().div_ceil(1_000_000);
    Ok(i64::try_from(millis).unwrap_or(i64::MAX))
}

const VERSION_LEN: usize = 8;

/// A hundred years; Redis overflows somewhere above.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up_to_milliseconds() {
        assert_eq!(millis(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(millis(Duration::from_micros(1_001)).unwrap(), 2);
        assert_eq!(millis(Duration::from_millis(7)).unwrap(), 7);
    }

    #[test]
    fn an_absurd_time_to_live_is_a_hundred_years() {
        assert_eq!(millis(Duration::MAX).unwrap(), 3_153_600_000_000);
    }

    #[test]
    fn no_time_to_live_is_invalid() {
        assert_eq!(
            millis(Duration::ZERO).unwrap_err().kind(),
            BackendErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_string_without_a_whole_version_is_corrupt() {
        let short = Reply::new(
            "test",
            fred::types::Resp3Frame::BlobString {
                data: Bytes::from_static(b"1234567"),
                attributes: None,
            },
        );
        assert_eq!(
            entry("test", short).unwrap_err().kind(),
            BackendErrorKind::Corrupt
        );
    }
}
