//! The script that decides: how it is put together, what it is told, and how its reply is read.
//!
//! A script costs Redis what it does on every call, and making functions and tables is most of that. So there is
//! a script without any for each sequence of algorithms that rules have, put together from the files in
//! `scripts/acquire`: a file for each algorithm, cut into sections. Only the sequence is in the script; sizes and
//! windows are told with each call, so that rules made at run time do not fill Redis with scripts. Numbers go
//! there and back as bytes, which is cheaper to read than decimal.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
    time::Duration,
};

use bytes::{Buf, Bytes};

use super::{reply::unexpected, script::Script};
use crate::{
    backend::{Acquire, Algorithm, Decision, Limit, LimitState, Result, Retry, Take},
    clock::Timestamp,
};

/// What makes two calls the same script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    algorithms: [Option<Kind>; Acquire::MAX_LIMITS],
    has_strikes: bool,
    is_resizable: bool,
}

/// An algorithm, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Log,
    Buckets,
    TokenBucket,
    Counter,
    Fixed,
    FixedAligned,
}

/// The script for a request.
pub(super) fn script(request: &Acquire) -> Arc<Script> {
    let kinds = request.limits.iter().map(Kind::of);
    Shape::new(kinds, request.strikes.is_some(), request.resizable).script()
}

/// The scripts for a limit alone, which most rules need.
pub(super) fn common_scripts() -> Vec<Arc<Script>> {
    let alone = |kind| Shape::new([kind].into_iter(), false, false).script();
    Kind::ALL.map(alone).into()
}

static KNOWN: LazyLock<RwLock<HashMap<Shape, Arc<Script>>>> = LazyLock::new(RwLock::default);

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
    Ok((decision.with_ban(banned), unreadable))
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

impl Shape {
    fn new(kinds: impl Iterator<Item = Kind>, has_strikes: bool, is_resizable: bool) -> Self {
        let mut algorithms = [None; Acquire::MAX_LIMITS];
        for (slot, kind) in algorithms.iter_mut().zip(kinds) {
            *slot = Some(kind);
        }
        Self {
            algorithms,
            has_strikes,
            is_resizable,
        }
    }

    /// The script of this shape, which is made once.
    fn script(self) -> Arc<Script> {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(script) = known.get(&self) {
            return Arc::clone(script);
        }
        drop(known);
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        let script = known
            .entry(self)
            .or_insert_with(|| Arc::new(Script::assembled(self.source())));
        Arc::clone(script)
    }

    /// The script as Redis runs it.
    fn source(&self) -> String {
        let mut source = String::from(BEGIN);
        self.unpack(&mut source);
        let strikes = self.numbered().count() + 1;
        let strikes_key = strikes.to_string();
        if self.has_strikes {
            source += &section(STRIKES, "read").replace("strikes_key", &strikes_key);
        }
        for (number, kind) in self.numbered() {
            if self.is_resizable {
                let size = strikes + usize::from(self.has_strikes) + number - 1;
                source += &kind.size(number).replace("size_key", &size.to_string());
            }
            source += &kind.read(number);
            source += &for_limit(number, &section(DECIDE, "fitting"));
        }
        source += &section(DECIDE, "decide");
        if self.has_strikes {
            source += &section(STRIKES, "strike").replace("strikes_key", &strikes_key);
        }
        source += "if taken > 0 then\n";
        for (number, kind) in self.numbered() {
            source += &for_limit(number, &section(DECIDE, "take"));
            source += &kind.section(number, "take");
        }
        source += "end\n";
        for (number, kind) in self.numbered() {
            source += &for_limit(number, &section(DECIDE, "report"));
            source += &kind.section(number, "wait");
            source += &for_limit(number, &section(DECIDE, "reset"));
            source += &kind.section(number, "wait");
            source += &for_limit(number, &section(DECIDE, "retry"));
        }
        self.pack(&mut source);
        source
    }

    /// The limits with their numbers, from 1 on.
    fn numbered(&self) -> impl Iterator<Item = (usize, Kind)> {
        (1..).zip(self.algorithms.iter().copied().flatten())
    }

    /// Reads what [`numbers`] writes.
    fn unpack(&self, source: &mut String) {
        let mut names = String::from("up_to, cost");
        let mut format = String::from("I1I7");
        for (number, kind) in self.numbered() {
            names += &for_limit(number, ", limit$, window$, weight$");
            format += "I7I5I4";
            if let Some((name, width)) = kind.own_number() {
                names += &for_limit(number, &format!(", {name}$"));
                format += width;
            }
        }
        if self.has_strikes {
            names += ", after, within, ban_lasting";
            format += "I4I5I5";
        }
        *source += &format!("local {names} = struct.unpack('>{format}', ARGV[2])\n");
        *source += "local fitting = math.huge\nlocal units, wait, lasting\n";
    }

    /// Writes what [`decision`] reads.
    fn pack(&self, source: &mut String) {
        let format = "I7".repeat(5 * self.numbered().count());
        let states = self
            .numbered()
            .map(|(number, _)| for_limit(number, ", limit$, calls$, retry$, reset$, mark$"));
        *source += &format!(
            "return struct.pack('>I7I7I1I5{format}', taken, now_us, unreadable, banned{})\n",
            states.collect::<String>()
        );
    }
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Log,
        Self::Buckets,
        Self::TokenBucket,
        Self::Counter,
        Self::Fixed,
        Self::FixedAligned,
    ];

    fn of(limit: &Limit) -> Self {
        match limit.quota().algorithm() {
            Algorithm::Log => Self::Log,
            Algorithm::Buckets { .. } => Self::Buckets,
            Algorithm::TokenBucket { .. } => Self::TokenBucket,
            Algorithm::Counter => Self::Counter,
            Algorithm::Fixed => Self::Fixed,
            Algorithm::FixedAligned { .. } => Self::FixedAligned,
        }
    }

    /// The name and width of the number that only this algorithm has.
    const fn own_number(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Buckets => Some(("buckets", "I4")),
            Self::TokenBucket => Some(("burst", "I7")),
            Self::FixedAligned => Some(("offset", "I5")),
            Self::Log | Self::Counter | Self::Fixed => None,
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Log => include_str!("scripts/acquire/log.lua"),
            Self::Buckets => include_str!("scripts/acquire/buckets.lua"),
            Self::TokenBucket => include_str!("scripts/acquire/token_bucket.lua"),
            Self::Counter => include_str!("scripts/acquire/counter.lua"),
            Self::Fixed | Self::FixedAligned => include_str!("scripts/acquire/fixed.lua"),
        }
    }

    fn read(self, number: usize) -> String {
        let fresh = match self {
            Self::Fixed => section(self.file(), "fresh"),
            Self::FixedAligned => section(FIXED_ALIGNED, "fresh"),
            _ => String::new(),
        };
        for_limit(number, &fresh) + &self.section(number, "read")
    }

    fn size(self, number: usize) -> String {
        let burst = if self == Self::TokenBucket {
            section(SIZE, "burst")
        } else {
            String::new()
        };
        for_limit(number, &section(SIZE, "read"))
            + &for_limit(number, &burst)
            + &section(SIZE, "end")
    }

    fn section(self, number: usize, name: &str) -> String {
        for_limit(number, &section(self.file(), name))
    }
}

/// The section of this name in a file: the lines after `---- name`, up to the next section.
fn section(file: &str, name: &str) -> String {
    let mut sections = file.split("\n---- ").skip(1);
    let found = sections.find_map(|section| {
        let (title, lines) = section.split_once('\n')?;
        let (title, _) = title.split_once(':').unwrap_or((title, ""));
        (title == name).then(|| format!("{}\n", lines.trim_end()))
    });
    found.unwrap_or_default()
}

/// Lua for the limit of this number.
fn for_limit(number: usize, lua: &str) -> String {
    lua.replace('$', &number.to_string())
}

const BEGIN: &str = include_str!("scripts/acquire/begin.lua");
const DECIDE: &str = include_str!("scripts/acquire/decide.lua");
const FIXED_ALIGNED: &str = include_str!("scripts/acquire/fixed_aligned.lua");
const SIZE: &str = include_str!("scripts/acquire/size.lua");
const STRIKES: &str = include_str!("scripts/acquire/strikes.lua");

/// Bytes of a reply before the states of limits, and of each of those.
const HEAD: usize = 7 + 7 + 1 + 5;
const STATE: usize = 5 * 7;

/// How a script writes -1.
const NONE: u64 = (1 << 56) - 1;
