//! The scripts that decide.
//!
//! A script costs Redis what it does on every call, and making functions and tables is most of
//! that. So there is a script without any for each sequence of algorithms that rules have, put
//! together from the files in `scripts/acquire`: a file for each algorithm, cut into sections. Only
//! the sequence is in the script; sizes and windows are told with each call, so that rules made at
//! run time do not fill Redis with scripts.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use crate::backend::{Acquire, Algorithm, Limit, redis::script::Script};

/// The script for a request.
pub(in crate::backend::redis) fn script(request: &Acquire) -> Arc<Script> {
    let kinds = request.limits.iter().map(Kind::of);
    Shape::new(kinds, request.strikes.is_some(), request.resizable).script()
}

/// The scripts that were called so far, and those for a limit alone, which most rules need.
pub(in crate::backend::redis) fn known_scripts() -> Vec<Arc<Script>> {
    for kind in Kind::ALL {
        Shape::new([kind].into_iter(), false, false).script();
    }
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    known.values().map(Arc::clone).collect()
}

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

    /// Reads what [`numbers`](super::numbers) writes.
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
        source.extend([
            "local ",
            &names,
            " = struct.unpack('>",
            &format,
            "', ARGV[2])\nlocal fitting = math.huge\nlocal units, wait, lasting\n",
        ]);
    }

    /// Writes what [`decision`](super::decision) reads.
    fn pack(&self, source: &mut String) {
        let format = "I7".repeat(5 * self.numbered().count());
        source.extend([
            "return struct.pack('>I7I7I1I5",
            &format,
            "', taken, now_us, unreadable, banned",
        ]);
        source.extend(
            self.numbered()
                .map(|(number, _)| for_limit(number, ", limit$, calls$, retry$, reset$, mark$")),
        );
        source.push_str(")\n");
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
            Self::Log => include_str!("../scripts/acquire/log.lua"),
            Self::Buckets => include_str!("../scripts/acquire/buckets.lua"),
            Self::TokenBucket => include_str!("../scripts/acquire/token_bucket.lua"),
            Self::Counter => include_str!("../scripts/acquire/counter.lua"),
            Self::Fixed | Self::FixedAligned => include_str!("../scripts/acquire/fixed.lua"),
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

const BEGIN: &str = include_str!("../scripts/acquire/begin.lua");
const DECIDE: &str = include_str!("../scripts/acquire/decide.lua");
const FIXED_ALIGNED: &str = include_str!("../scripts/acquire/fixed_aligned.lua");
const SIZE: &str = include_str!("../scripts/acquire/size.lua");
const STRIKES: &str = include_str!("../scripts/acquire/strikes.lua");

static KNOWN: LazyLock<RwLock<HashMap<Shape, Arc<Script>>>> = LazyLock::new(RwLock::default);

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kinds: &[Kind], has_strikes: bool, is_resizable: bool) -> String {
        Shape::new(kinds.iter().copied(), has_strikes, is_resizable).source()
    }

    #[test]
    fn every_algorithm_has_all_its_sections() {
        for kind in Kind::ALL {
            for name in ["read", "wait", "take"] {
                let section = kind.section(1, name);
                assert!(!section.trim().is_empty(), "{kind:?} has no section {name}");
            }
        }
        for (file, name) in [
            (DECIDE, "fitting"),
            (DECIDE, "decide"),
            (DECIDE, "take"),
            (DECIDE, "report"),
            (DECIDE, "reset"),
            (DECIDE, "retry"),
            (FIXED_ALIGNED, "fresh"),
            (SIZE, "read"),
            (SIZE, "burst"),
            (SIZE, "end"),
            (STRIKES, "read"),
            (STRIKES, "strike"),
        ] {
            assert!(!section(file, name).trim().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_script_has_each_limit_once_and_makes_no_function() {
        for has_strikes in [false, true] {
            for is_resizable in [false, true] {
                let script = source(&Kind::ALL, has_strikes, is_resizable);
                let code = script.lines().filter(|line| !line.trim().starts_with("--"));
                let code = code.collect::<Vec<_>>().join("\n");
                for placeholder in ["$", "size_key", "strikes_key", "function", "----"] {
                    assert!(!code.contains(placeholder), "{placeholder} in {code}");
                }
                for number in 1..=Kind::ALL.len() {
                    let own = format!("redis.call('GET', KEYS[{number}])");
                    let list = format!("redis.call('LLEN', KEYS[{number}])");
                    let reads = code.matches(&own).count() + code.matches(&list).count();
                    assert_eq!(reads, 1, "limit {number}");
                }
            }
        }
    }

    #[test]
    fn calls_of_one_shape_share_a_script() {
        let shape = || Shape::new([Kind::Log, Kind::Fixed].into_iter(), true, false);
        assert!(Arc::ptr_eq(&shape().script(), &shape().script()));
        let other = Shape::new([Kind::Fixed, Kind::Log].into_iter(), true, false);
        assert!(!Arc::ptr_eq(&shape().script(), &other.script()));
    }
}
