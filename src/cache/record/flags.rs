//! What is either so or not of a stored response.

use std::fmt;

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cache) struct Flags(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(in crate::cache) enum Flag {
    /// It is not given without asking whether it still holds: `no-cache`.
    AlwaysValidated = 1,
    /// It is not given once it is stale (RFC 9111 §4.2.4): `must-revalidate`, `proxy-revalidate`,
    /// `s-maxage`, `no-cache`.
    NeverStale = 1 << 1,
    /// It says itself that requests with credentials may share it.
    ForAll = 1 << 2,
    /// Other requests may wait for such a response.
    Coalescable = 1 << 3,
    /// Its URL was softly purged when the record was written: it is stale since then.
    SoftlyPurged = 1 << 4,
    /// Its freshness is a guess (RFC 9111 §4.2.2).
    Heuristic = 1 << 5,
    /// Its body is stored in gzip; its headers are as if it were not.
    Gzip = 1 << 6,
}

impl Flags {
    pub(in crate::cache) const fn none() -> Self {
        Self(0)
    }

    #[must_use]
    pub(in crate::cache) const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u16)
    }

    /// With this one where that holds.
    #[must_use]
    pub(in crate::cache) const fn with_if(self, flag: Flag, holds: bool) -> Self {
        if holds { self.with(flag) } else { self }
    }

    pub(in crate::cache) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u16 != 0
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    /// `None` if one is not known: it may forbid what is done without it.
    pub(super) fn from_bits(bits: u16) -> Option<Self> {
        let known = Flag::ALL.into_iter().fold(Self::none(), Self::with);
        (bits & !known.0 == 0).then_some(Self(bits))
    }
}

impl Flag {
    const ALL: [Self; 7] = [
        Self::AlwaysValidated,
        Self::NeverStale,
        Self::ForAll,
        Self::Coalescable,
        Self::SoftlyPurged,
        Self::Heuristic,
        Self::Gzip,
    ];
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Flag::ALL.into_iter().filter(|flag| self.has(*flag));
        f.debug_set().entries(set).finish()
    }
}
