//! The call that decides: which script it runs, what it is told, and how its reply is read.
//!
//! Numbers go there and back as bytes, which costs Redis less than decimal.

mod source;

use std::time::Duration;

use bytes::{Buf, Bytes};

pub(super) use self::source::{known_scripts, script};
use super::reply::unexpected;
use crate::{
    backend::{Acquire, Algorithm, Decision, LimitState, Result, Retry, Take},
    clock::Timestamp,
};

/// What the script is told of a request.
pub(super) fn numbers(request: &Acquire) -> Bytes {
    let mut numbers = Numbers(Vec::with_capacity(64));
    numbers.put(u64::from(request.take == Take::UpTo), 1);
    // Beyond what a limit can be, more is not told from less.
    numbers.put(request.cost.min(1 << 53), 7);
    for limit in &*request.limits {
        let quota = limit.quota();
        numbers.put(quota.limit(), 7);
        numbers.put(quota.window_millis(), 5);
        numbers.put(quota.weight().into(), 4);
        match quota.algorithm() {
            Algorithm::Buckets { buckets } => numbers.put(buckets.into(), 4),
            Algorithm::TokenBucket { burst } => numbers.put(burst, 7),
            Algorithm::FixedAligned { .. } => numbers.put(quota.offset_millis(), 5),
            Algorithm::Log | Algorithm::Counter | Algorithm::Fixed => {}
        }
    }
    if let Some(strikes) = &request.strikes {
        numbers.put(strikes.after().into(), 4);
        numbers.put(strikes.within_millis(), 5);
        numbers.put(strikes.lasting_millis(), 5);
    }
    numbers.0.into()
}

/// What a script answered, and how many stored states it could not read.
pub(super) fn decision(
    attempted: &'static str,
    request: &Acquire,
    mut reply: Bytes,
) -> Result<(Decision, u64)> {
    if reply.len() != HEAD + request.limits.len() * STATE {
        return Err(unexpected(attempted));
    }
    let taken = reply.get_uint(7);
    let now = Timestamp::from_micros(reply.get_uint(7));
    let unreadable = reply.get_uint(1);
    let banned = match reply.get_uint(5) {
        0 => None,
        millis => Some(Duration::from_millis(millis)),
    };
    let states = request.limits.iter().map(|_| state(&mut reply));
    let states = states.collect();
    let decision = if taken > 0 || request.cost == 0 {
        Decision::admitted(taken, now, states)
    } else {
        Decision::denied(now, states)
    };
    Ok((decision.with_banned(banned), unreadable))
}

/// The next limit's state.
fn state(reply: &mut Bytes) -> LimitState {
    let limit = reply.get_uint(7);
    let remaining = reply.get_uint(7);
    let retry = match reply.get_uint(7) {
        0 => Retry::Now,
        NONE => Retry::Never,
        micros => Retry::After(Duration::from_micros(micros)),
    };
    let reset = match reply.get_uint(7) {
        NONE => None,
        micros => Some(Duration::from_micros(micros)),
    };
    let mark = reply.get_uint(7);
    LimitState::new(limit, remaining, retry, reset, mark)
}

/// Numbers one after the other, each in as many bytes as its kind needs.
struct Numbers(Vec<u8>);

impl Numbers {
    fn put(&mut self, number: u64, bytes: usize) {
        let all = number.to_be_bytes();
        self.0.extend(all.iter().skip(all.len() - bytes));
    }
}

/// Bytes of a reply before the states of limits, and of each of those.
const HEAD: usize = 7 + 7 + 1 + 5;
const STATE: usize = 5 * 7;

/// How a script writes -1.
const NONE: u64 = (1 << 56) - 1;
