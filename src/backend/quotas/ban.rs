//! Bans of those who are denied again and again.

use std::time::Duration;

use super::bounds::{MAX_WINDOW, is_whole_millis, millis};
use crate::{
    error::ConfigError,
    key::{KeyPart, name_id},
};

/// After how many denials in which time a subject is banned, and for how long.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::backend::Ban;
///
/// let minute = Duration::from_secs(60);
/// let ban = Ban::after(10).within(minute).lasting(15 * minute);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ban {
    after: u32,
    within: Duration,
    lasting: Duration,
}

impl Ban {
    /// Bans at this many denials, the last of which is already told of the ban.
    ///
    /// Say also [`within`](Self::within) what time and [`lasting`](Self::lasting) how long: neither
    /// has a default.
    #[must_use]
    pub const fn after(denials: u32) -> Self {
        Self {
            after: denials,
            within: Duration::ZERO,
            lasting: Duration::ZERO,
        }
    }

    /// Counts the denials of this time from the first one on, then anew.
    #[must_use]
    pub const fn within(mut self, window: Duration) -> Self {
        self.within = window;
        self
    }

    /// Bans for this long.
    #[must_use]
    pub const fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = duration;
        self
    }

    /// What cannot work, and what to write instead.
    fn check(&self) -> Result<(), &'static str> {
        let can_be = |duration: Duration| {
            !duration.is_zero() && is_whole_millis(duration) && duration <= MAX_WINDOW
        };
        if self.after == 0 {
            return Err("a ban after 0 denials bans everybody; write Ban::after(1) or more");
        }
        if !can_be(self.within) {
            return Err(
                "a ban counts denials within some time: write .within(..) with whole milliseconds, \
                 at least one and at most 366 days",
            );
        }
        if !can_be(self.lasting) {
            return Err(
                "a ban lasts some time: write .lasting(..) with whole milliseconds, at least one \
                 and at most 366 days",
            );
        }
        Ok(())
    }
}

/// A ban with the identity under which its denials are counted, as
/// [`Limit`](super::Limit) is of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Strikes {
    ban: Ban,
    /// Digest of the name.
    pub(super) id: u64,
}

impl Strikes {
    /// The denials counted under this name: strikes of one name and the same
    /// [`Ban::within`] are shared.
    ///
    /// # Errors
    ///
    /// A ban that cannot work; the message says what to write instead.
    pub fn new(name: impl KeyPart, ban: Ban) -> Result<Self, ConfigError> {
        ban.check().map_err(ConfigError::new)?;
        let id = name_id(name);
        Ok(Self { ban, id })
    }

    /// How many denials ban.
    #[must_use]
    pub const fn after(&self) -> u32 {
        self.ban.after
    }

    /// In what time they are counted.
    #[must_use]
    pub const fn within(&self) -> Duration {
        self.ban.within
    }

    /// How long a ban lasts.
    #[must_use]
    pub const fn lasting(&self) -> Duration {
        self.ban.lasting
    }

    #[cfg(feature = "redis")]
    pub(crate) fn within_millis(&self) -> u64 {
        millis(self.ban.within)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn lasting_millis(&self) -> u64 {
        millis(self.ban.lasting)
    }

    /// Under which name of a subject a backend stores them, as key-safe text.
    #[must_use]
    pub fn counter_name(&self) -> String {
        format!("x{}.{:016x}", millis(self.ban.within), self.id)
    }
}
