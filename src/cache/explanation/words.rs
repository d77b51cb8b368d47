//! The words for what would become of a request, and why.

use std::fmt;

use crate::cache::Bypass;

/// What would become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The handler answers it, and the cache has no part in that.
    Passes,
    /// The handler answers it, and what is stored of its URL is purged if that goes well.
    Invalidates,
    /// It is answered by what is stored.
    Hit,
    /// It is answered by what is stored, and stale.
    Stale,
    /// The handler is asked whether what is stored still holds.
    Validates,
    /// The handler answers it, or another request for the same that is under way.
    Fetches,
    /// It is answered with 504.
    Refuses,
    /// That cannot be said.
    Unknown,
}

/// Why something would become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No rule is for it.
    NoRule,
    /// What it does is not what is stored: its method is neither GET nor HEAD.
    Method,
    /// It is a gRPC call, which is known by its message as well.
    Message,
    /// The cache is not for it.
    Bypass(Bypass),
    /// What is stored is fresh.
    Fresh,
    /// What is stored is stale, and allowed while a new one is fetched.
    WhileRevalidate,
    /// What is stored is stale, and the request takes it so.
    MaxStale,
    /// What is stored is stale.
    Expired,
    /// What is stored is to be validated at each use.
    NoCache,
    /// What is stored was softly purged.
    SoftlyPurged,
    /// What is stored is too old for the request.
    Request,
    /// Nothing is stored of the URL.
    Absent,
    /// Of the URL nothing is stored that is for such headers or parts of the key.
    NoVariant,
    /// What was stored is purged.
    Purged,
    /// What is stored was stored by another rule, or cannot be read.
    Unusable,
    /// The request wants what is stored, which is of no use for it.
    OnlyIfCached,
    /// The backend does not answer.
    Backend,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Invalidates => "invalidates",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Validates => "validates",
            Self::Fetches => "fetches",
            Self::Refuses => "refuses",
            Self::Unknown => "unknown",
        }
    }
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Method => "method",
            Self::Message => "message",
            Self::Bypass(bypass) => bypass.as_str(),
            Self::Fresh => "fresh",
            Self::WhileRevalidate => "while_revalidate",
            Self::MaxStale => "max_stale",
            Self::Expired => "expired",
            Self::NoCache => "no_cache",
            Self::SoftlyPurged => "softly_purged",
            Self::Request => "request",
            Self::Absent => "absent",
            Self::NoVariant => "no_variant",
            Self::Purged => "purged",
            Self::Unusable => "unusable",
            Self::OnlyIfCached => "only_if_cached",
            Self::Backend => "backend",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passes => "the handler answers",
            Self::Invalidates => "the handler answers, and its URL is purged",
            Self::Hit => "answered from the store",
            Self::Stale => "answered from the store, stale",
            Self::Validates => "the handler is asked whether what is stored still holds",
            Self::Fetches => "the handler answers, and that is stored if it may be",
            Self::Refuses => "504",
            Self::Unknown => "that cannot be said",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule is for it",
            Self::Method => "of its method nothing is stored",
            Self::Message => "it is known by its message as well",
            Self::Bypass(bypass) => return write!(f, "the cache is not for it: {bypass}"),
            Self::Fresh => "fresh",
            Self::WhileRevalidate => "allowed while a new one is fetched",
            Self::MaxStale => "the request takes it so",
            Self::Expired => "what is stored is stale",
            Self::NoCache => "what is stored is validated at each use",
            Self::SoftlyPurged => "what is stored was softly purged",
            Self::Request => "what is stored is too old for the request",
            Self::Absent => "nothing is stored of the URL",
            Self::NoVariant => "nothing is stored for such headers or key parts",
            Self::Purged => "what was stored is purged",
            Self::Unusable => "what is stored is of another rule, or unreadable",
            Self::OnlyIfCached => "it wants only what is stored",
            Self::Backend => "the backend does not answer",
        })
    }
}
