//! How a value is kept.

use std::time::Duration;

use crate::cache::CacheTags;

/// For how long a value is kept, and by which tags it is purged.
///
/// A [`Duration`] alone is one: for so long, and without tags.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::cache::Keep;
///
/// let keep = Keep::new(Duration::from_secs(300))
///     .with_tags(["users", "user:7"])
///     .with_stale_while_revalidate(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct Keep {
    pub(super) fresh: Duration,
    pub(super) while_revalidate: Duration,
    pub(super) if_error: Duration,
    pub(super) refreshes_early: bool,
    pub(super) tags: CacheTags,
}

impl Keep {
    /// Fresh for so long. For no time at all: it is not kept.
    #[must_use]
    pub fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            refreshes_early: false,
            tags: CacheTags::default(),
        }
    }

    /// Purging one of these tags purges the value, as it purges the responses that have it.
    ///
    /// What [`CacheTags`] says of tags holds here too: a value with too many or too long ones is not
    /// kept.
    #[must_use]
    pub fn with_tags<T: Into<Box<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().fold(self.tags, CacheTags::with_tag);
        self
    }

    /// For so long after it was fresh the value is given all the same, while one caller fetches it
    /// anew in the background.
    #[must_use]
    pub fn with_stale_while_revalidate(mut self, window: Duration) -> Self {
        self.while_revalidate = window;
        self
    }

    /// For so long after it was fresh the value is given in the place of an error.
    #[must_use]
    pub fn with_stale_if_error(mut self, window: Duration) -> Self {
        self.if_error = window;
        self
    }

    /// Now and then a caller fetches the value anew in the background shortly before it is stale, the
    /// more likely the longer that takes, so that as a rule nobody waits for it.
    #[must_use]
    pub fn with_early_refresh(mut self) -> Self {
        self.refreshes_early = true;
        self
    }
}

impl From<Duration> for Keep {
    fn from(fresh: Duration) -> Self {
        Self::new(fresh)
    }
}
