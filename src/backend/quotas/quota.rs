//! How much of what is admitted in which time.

use std::time::Duration;

/// How much is admitted in which time, and how exactly.
///
/// [`Quota::sliding`] and its short forms [`per_second`](Quota::per_second) to [`per_day`](Quota::per_day)
/// admit at most `limit` in *any* window. Cheaper approximations are chosen by name:
///
/// | | most in any window | stored |
/// |---|---|---|
/// | [`sliding`](Quota::sliding) | limit | up to 12 bytes a hit |
/// | [`counter`](Quota::counter) | 2 × limit − 1; limit in each aligned window | one value |
/// | [`fixed`](Quota::fixed) | 2 × limit − 1 | one value |
/// | [`fixed_aligned`](Quota::fixed_aligned) | 2 × limit, at once at an edge | one value |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    pub(crate) algorithm: Algorithm,
    pub(crate) limit: u64,
    pub(crate) window: Duration,
    pub(crate) weight: u32,
}

/// How a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Remembers every hit of the last window: at most the limit in any window.
    Log,
    /// Weighs the count of the aligned window before this one by the share of it that the sliding window still
    /// covers.
    Counter,
    /// Counts in windows that begin with the first hit after the one before.
    Fixed,
    /// Counts in windows that begin at multiples of the window since the Unix epoch, plus an offset.
    FixedAligned {
        /// How much later each window begins; less than a window.
        offset: Duration,
    },
}

impl Quota {
    /// At most `limit` in any window of this length.
    #[must_use]
    pub const fn sliding(limit: u64, window: Duration) -> Self {
        Self::with(Algorithm::Log, limit, window)
    }

    /// About `limit` in any window, from the counts of two aligned windows.
    ///
    /// It never admits more than `limit` in one aligned window, nor `2 × limit` in any; and it may
    /// deny early, as if the hits of the window before had come evenly.
    #[must_use]
    pub const fn counter(limit: u64, window: Duration) -> Self {
        Self::with(Algorithm::Counter, limit, window)
    }

    /// At most `limit` in a window that begins with its first hit.
    #[must_use]
    pub const fn fixed(limit: u64, window: Duration) -> Self {
        Self::with(Algorithm::Fixed, limit, window)
    }

    /// At most `limit` in each window of the calendar: full seconds, minutes, hours or days (UTC).
    ///
    /// Windows begin at multiples of their length since 1970-01-01 00:00 UTC, so a week begins on
    /// Thursday unless [`with_offset`](Self::with_offset) says 4 days.
    #[must_use]
    pub const fn fixed_aligned(limit: u64, window: Duration) -> Self {
        Self::with(
            Algorithm::FixedAligned {
                offset: Duration::ZERO,
            },
            limit,
            window,
        )
    }

    /// At most `limit` in any second.
    #[must_use]
    pub const fn per_second(limit: u64) -> Self {
        Self::sliding(limit, Duration::from_secs(1))
    }

    /// At most `limit` in any minute.
    #[must_use]
    pub const fn per_minute(limit: u64) -> Self {
        Self::sliding(limit, Duration::from_secs(60))
    }

    /// At most `limit` in any hour.
    #[must_use]
    pub const fn per_hour(limit: u64) -> Self {
        Self::sliding(limit, Duration::from_secs(60 * 60))
    }

    /// At most `limit` in any 24 hours.
    #[must_use]
    pub const fn per_day(limit: u64) -> Self {
        Self::sliding(limit, Duration::from_secs(24 * 60 * 60))
    }

    /// Begins each window of [`fixed_aligned`](Self::fixed_aligned) this much later; the others have
    /// no edges to move.
    #[must_use]
    pub const fn with_offset(mut self, offset: Duration) -> Self {
        if let Algorithm::FixedAligned { .. } = self.algorithm {
            self.algorithm = Algorithm::FixedAligned { offset };
        }
        self
    }

    /// Multiplies every cost by this before it is counted here.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    const fn with(algorithm: Algorithm, limit: u64, window: Duration) -> Self {
        Self {
            algorithm,
            limit,
            window,
            weight: 1,
        }
    }

    /// How it counts.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How much it admits in a window.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// What every cost is multiplied by.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// How many calls of cost one it admits in a window.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.limit / u64::from(self.weight)
    }

    /// What a call of this cost counts here.
    pub(crate) const fn weighed(&self, cost: u64) -> u64 {
        cost.saturating_mul(self.weight as u64)
    }

    /// The window in milliseconds, in which all of these algorithms count.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Limit::new refuses windows above MAX_WINDOW"
    )]
    pub(crate) const fn window_millis(&self) -> u64 {
        self.window.as_millis() as u64
    }

    /// Milliseconds by which aligned windows begin late.
    pub(crate) fn offset_millis(&self) -> u64 {
        match self.algorithm {
            Algorithm::FixedAligned { offset } => millis(offset),
            _ => 0,
        }
    }

    /// The same with another size: this limit, or the most that the algorithm can count.
    pub(super) fn resized(mut self, limit: u64) -> Self {
        self.limit = limit.min(match self.algorithm {
            Algorithm::Log => MAX_LOG,
            Algorithm::Counter => (EXACT - 1) / self.window_millis(),
            Algorithm::Fixed | Algorithm::FixedAligned { .. } => MAX_LIMIT,
        });
        self
    }

    /// What cannot work, and what to write instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self {
            algorithm,
            limit,
            window,
            weight,
        } = *self;
        if limit == 0 {
            return Err(
                "a limit of 0 admits nothing; write 1 or more, or refuse the route in the handler"
                    .into(),
            );
        }
        if limit > MAX_LIMIT {
            return Err(format!(
                "a limit is at most {MAX_LIMIT}, the largest number that headers can tell"
            ));
        }
        if window.is_zero() {
            return Err(
                "a window of 0 limits nothing; write how long, e.g. Duration::from_secs(60)".into(),
            );
        }
        if !is_whole_millis(window) || window > MAX_WINDOW {
            return Err("the window must be whole milliseconds, at most 366 days".into());
        }
        if weight == 0 {
            return Err(
                "a weight of 0 counts nothing; write 1 or more, or leave the limit out".into(),
            );
        }
        if u64::from(weight) > limit {
            return Err(format!(
                "a weight of {weight} never fits a limit of {limit}; write a larger limit"
            ));
        }
        match algorithm {
            Algorithm::Log if limit > MAX_LOG => Err(format!(
                "an exact sliding window remembers every hit, so its limit is at most {MAX_LOG}; \
                 write Quota::counter({limit}, ..) or Quota::fixed({limit}, ..)"
            )),
            Algorithm::Counter if limit.saturating_mul(self.window_millis()) >= EXACT =>
            {
                Err("limit × window in milliseconds must stay below 2^51; write a smaller limit over a shorter window".into())
            }
            Algorithm::FixedAligned { offset } if offset >= window || !is_whole_millis(offset) => {
                Err("the offset must be whole milliseconds and less than the window".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whole milliseconds; only as large as [`MAX_WINDOW`] once checked.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether it has no fraction of a millisecond.
pub(super) fn is_whole_millis(duration: Duration) -> bool {
    duration.subsec_nanos().is_multiple_of(1_000_000)
}

pub(super) const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The largest Integer of a structured field (RFC 9651 §3.3.1).
const MAX_LIMIT: u64 = 999_999_999_999_999;

/// The most hits that an exact sliding window remembers.
const MAX_LOG: u64 = 10_000;

/// Products below this are exact in the double-precision numbers of Redis' scripts, with two bits to spare.
const EXACT: u64 = 1 << 51;
