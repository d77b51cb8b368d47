//! What became of a request, in one word.

use std::fmt;

use super::{Bypass, NotStored};

/// What the cache did for a request; in the extensions of each response that a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOutcome {
    /// What became of the request.
    pub kind: OutcomeKind,
    /// Why the cache was not for the request, if it was not.
    pub bypass: Option<Bypass>,
    /// Why its response was not stored, where that is known with its head.
    pub not_stored: Option<NotStored>,
}

/// What became of a request; the [module](super) has the words in one table.
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
            bypass: None,
            not_stored: None,
        }
    }

    /// The cache is not for the request.
    pub(super) const fn passed(bypass: Bypass) -> Self {
        Self {
            bypass: Some(bypass),
            ..Self::new(OutcomeKind::Bypass)
        }
    }

    /// The handler's response is not stored, for this reason.
    pub(super) const fn unstored(kind: OutcomeKind, reason: NotStored) -> Self {
        Self {
            not_stored: Some(reason),
            ..Self::new(kind)
        }
    }

    /// The one reason that the client is told.
    pub(super) fn detail(self) -> Option<&'static str> {
        let bypass = self.bypass.map(Bypass::as_str);
        bypass.or_else(|| self.not_stored.map(NotStored::as_str))
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
