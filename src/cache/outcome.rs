//! What became of a request, in one word.

use std::fmt;

use super::NotStored;

/// What the cache did for a request; in the extensions of each response that a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOutcome {
    /// What became of the request.
    pub kind: OutcomeKind,
    /// Why its response was not stored, where that is known with its head.
    pub not_stored: Option<NotStored>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutcomeKind {
    /// It was answered from the store, by a fresh response.
    Hit,
    /// It was answered from the store, by a stale response.
    Stale,
    /// It was answered from the store, by a stale response in the place of an error.
    StaleIfError,
    /// It was answered by what another request fetched meanwhile.
    Collapsed,
    /// It was answered from the store, by a response that the handler said still holds.
    Revalidated,
    /// The handler answered it.
    Miss,
    /// The handler answered it, as the cache is not for such a request.
    Bypass,
    /// The handler answered it, as the backend did not.
    Unavailable,
    /// It was to be answered from the store only, which could not.
    OnlyIfCached,
    /// The handler answered it, and what was stored of its URL is purged.
    Invalidated,
}

impl CacheOutcome {
    pub(super) const fn new(kind: OutcomeKind) -> Self {
        Self {
            kind,
            not_stored: None,
        }
    }

    /// Whether the response came from the store.
    #[must_use]
    pub const fn is_hit(&self) -> bool {
        use OutcomeKind::{Collapsed, Hit, Revalidated, Stale, StaleIfError};
        matches!(
            self.kind,
            Hit | Stale | StaleIfError | Collapsed | Revalidated
        )
    }
}

impl OutcomeKind {
    /// The word for it, in metrics and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleIfError => "stale_if_error",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Unavailable => "unavailable",
            Self::OnlyIfCached => "only_if_cached",
            Self::Invalidated => "invalidated",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
