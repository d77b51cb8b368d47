//! A quota that has a name.

use super::{Algorithm, Quota};
use crate::{
    error::ConfigError,
    key::{KeyPart, name_id},
};

/// A quota with the identity under which its hits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub(crate) quota: Quota,
    /// Digest of the name.
    pub(crate) id: u64,
}

impl Limit {
    /// The quota counted under this name: limits with the same name, algorithm and window share a
    /// counter, whatever their size.
    ///
    /// # Errors
    ///
    /// A limit, window, weight or offset that cannot work; the message says what to write instead.
    pub fn new(name: impl KeyPart, quota: Quota) -> Result<Self, ConfigError> {
        quota.check().map_err(ConfigError::new)?;
        let id = name_id(name);
        Ok(Self { quota, id })
    }

    /// The same counter with another size, for limits that depend on who asks: plans, tenants.
    ///
    /// Resize the limit that was constructed, not a resized one. 0 admits nothing, whatever the
    /// cost. A size above what the algorithm can count is that maximum: 10,000 for a log, 2^32 − 1
    /// for buckets, one token a microsecond for a token bucket, 2^51 / window in ms for a counter.
    /// A burst keeps its proportion to the limit, rounded up, so a lower size
    /// may have a token more left.
    #[must_use]
    pub fn resized(&self, limit: u64) -> Self {
        Self {
            quota: self.quota.resized(limit),
            id: self.id,
        }
    }

    /// What is counted how.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Whether hits of one are hits of the other: all but the size is the same.
    pub(super) fn shares_counter_with(&self, other: &Self) -> bool {
        self.id == other.id
            && self.quota.kind() == other.quota.kind()
            && self.quota.window == other.quota.window
    }

    /// Which counter of a subject this is, as key-safe text: algorithm, window in milliseconds,
    /// buckets or offset, and the name's digest in hexadecimal. A backend stores each counter
    /// under a name of its own.
    #[must_use]
    pub fn counter_name(&self) -> String {
        let Self { quota, id } = self;
        let window = quota.window_millis();
        match quota.algorithm {
            Algorithm::Log => format!("l{window}.{id:016x}"),
            Algorithm::Buckets { buckets } => format!("b{window}x{buckets}.{id:016x}"),
            Algorithm::TokenBucket { .. } => format!("g{window}.{id:016x}"),
            Algorithm::Counter => format!("c{window}.{id:016x}"),
            Algorithm::Fixed => format!("f{window}.{id:016x}"),
            Algorithm::FixedAligned { .. } => {
                format!("a{window}+{}.{id:016x}", quota.offset_millis())
            }
        }
    }
}
