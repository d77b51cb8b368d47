//! How much of what is admitted in which time.

use std::time::Duration;

use super::bounds::millis;

/// A window, for [`Quota`].
pub const SECOND: Duration = Duration::from_secs(1);
/// A window, for [`Quota`].
pub const MINUTE: Duration = Duration::from_secs(60);
/// A window, for [`Quota`].
pub const HOUR: Duration = Duration::from_secs(60 * 60);
/// A window of 24 hours, for [`Quota`].
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much is admitted in which time, and how exactly.
///
/// [`Quota::sliding`] and its short forms [`per_second`](Quota::per_second) to
/// [`per_day`](Quota::per_day) admit at most `limit` in *any* window; the others are chosen by
/// name. With N the limit, W the window, B the buckets, b the burst and T = W / N, rounded
/// up to whole microseconds:
///
/// | | most in any window | sustained | full again after | stored | choose it |
/// |---|---|---|---|---|---|
/// | [`log`](Quota::log), N ≤ 10,000 | N | N / W | W | 200 bytes + 12 a hit | for small limits: exact, waits are the least possible |
/// | [`buckets`](Quota::buckets) | N | N / (W + W / B) | W + W / B | 160 bytes + 4 a bucket | for large limits that must hold in any window |
/// | [`token_bucket`](Quota::token_bucket) | b + W / T; 2 N − 1 if b = N | 1 / T | b T | 160 bytes | for an even rate with room for bursts |
/// | [`counter`](Quota::counter) | 2 N − 1; N in each aligned window | N / W | 2 W | 160 bytes | for the habits of other limiters; may deny early |
/// | [`fixed`](Quota::fixed) | 2 N − 1 | N / W | W | 160 bytes | where cheap is all that counts |
/// | [`fixed_aligned`](Quota::fixed_aligned) | 2 N, at once at an edge | N / W | W | 160 bytes | for quotas of the calendar: 1,000 a day |
///
/// Where the least possible cost of a call is above one, `2 N − 1` is `2 N`. A window of buckets is
/// cut into parts of whole milliseconds, so W + W / B is rounded up where B does not divide W.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    pub(crate) algorithm: Algorithm,
    pub(crate) limit: u64,
    pub(crate) window: Duration,
    pub(crate) weight: u32,
    /// What was said that the algorithm has no use for.
    pub(super) misplaced: Option<&'static str>,
}

/// How a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Remembers every hit of the last window: at most the limit in any window.
    Log,
    /// Counts in parts of a window, each of which counts until all of it has left the window: at
    /// most the limit in any window.
    Buckets {
        /// Into how many parts a window is cut.
        buckets: u32,
    },
    /// Holds up to `burst` tokens, and gains one each window / limit (GCRA: the generic cell rate
    /// algorithm of ITU-T I.371, in its virtual scheduling form).
    TokenBucket {
        /// How many tokens it holds: the most at one moment.
        burst: u64,
    },
    /// Weighs the count of the aligned window before this one by the share of it that the sliding
    /// window still covers.
    Counter,
    /// Counts in windows that begin with the first hit after the one before.
    Fixed,
    /// Counts in windows that begin at multiples of the window since the
    /// Unix epoch, plus an offset.
    FixedAligned {
        /// How much later each window begins; less than a window.
        offset: Duration,
    },
}

impl Quota {
    /// At most `limit` in any window of this length: a [`log`](Self::log) up to 1,000, above that
    /// 20 [`buckets`](Self::buckets).
    #[must_use]
    pub const fn sliding(limit: u64, window: Duration) -> Self {
        if limit <= 1_000 {
            Self::log(limit, window)
        } else {
            Self::buckets(limit, window, 20)
        }
    }

    /// At most `limit` in any window of this length, which is at most 10,000 since
    /// every hit is remembered.
    #[must_use]
    pub const fn log(limit: u64, window: Duration) -> Self {
        Self::with(Algorithm::Log, limit, window)
    }

    /// At most `limit` in any window of this length, which is cut into this many parts, 1 to 100.
    ///
    /// A hit counts for up to a part longer than a window: more parts admit
    /// sooner again and store more.
    #[must_use]
    pub const fn buckets(limit: u64, window: Duration, buckets: u32) -> Self {
        Self::with(Algorithm::Buckets { buckets }, limit, window)
    }

    /// A bucket of `limit` tokens, which gains as many in a window, evenly; a hit takes one.
    ///
    /// [`with_burst`](Self::with_burst) makes the bucket smaller or larger than
    /// what it gains in a window.
    #[must_use]
    pub const fn token_bucket(limit: u64, window: Duration) -> Self {
        Self::with(Algorithm::TokenBucket { burst: limit }, limit, window)
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
        Self::sliding(limit, SECOND)
    }

    /// At most `limit` in any minute.
    #[must_use]
    pub const fn per_minute(limit: u64) -> Self {
        Self::sliding(limit, MINUTE)
    }

    /// At most `limit` in any hour.
    #[must_use]
    pub const fn per_hour(limit: u64) -> Self {
        Self::sliding(limit, HOUR)
    }

    /// At most `limit` in any 24 hours.
    #[must_use]
    pub const fn per_day(limit: u64) -> Self {
        Self::sliding(limit, DAY)
    }

    /// Begins each window of [`fixed_aligned`](Self::fixed_aligned) this much later.
    ///
    /// The others have no edges to move; for them the limit is refused where it is constructed.
    #[must_use]
    pub const fn with_offset(mut self, offset: Duration) -> Self {
        match &mut self.algorithm {
            Algorithm::FixedAligned { offset: present } => *present = offset,
            _ => {
                self.misplaced = Some(
                    "with_offset is for Quota::fixed_aligned; leave it out, or choose that one",
                );
            }
        }
        self
    }

    /// Lets a [`token_bucket`](Self::token_bucket) hold this many tokens.
    ///
    /// The others have no bucket; for them the limit is refused where it is constructed.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        match &mut self.algorithm {
            Algorithm::TokenBucket { burst: present } => *present = burst,
            _ => {
                self.misplaced =
                    Some("with_burst is for Quota::token_bucket; leave it out, or choose that one");
            }
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
            misplaced: None,
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

    /// The most that one call may cost, before which everything is too much: the burst of a token
    /// bucket, the limit of the others.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { burst } => burst,
            _ => self.limit,
        }
    }

    /// How many calls of cost one it admits in a window.
    #[must_use]
    pub fn calls(&self) -> u64 {
        let calls = self.limit.checked_div(u64::from(self.weight));
        calls.unwrap_or(u64::MAX)
    }

    /// What a call of this cost counts here.
    pub(crate) const fn weighed(&self, cost: u64) -> u64 {
        cost.saturating_mul(self.weight as u64)
    }

    /// The window in milliseconds, in which all of these algorithms but the token bucket count.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Limit::new refuses windows above MAX_WINDOW"
    )]
    pub(crate) const fn window_millis(&self) -> u64 {
        self.window.as_millis() as u64
    }

    /// The algorithm with all that makes counters differ: a burst is a size, and does not.
    pub(super) const fn kind(&self) -> Algorithm {
        match self.algorithm {
            Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst: 0 },
            other => other,
        }
    }

    /// Milliseconds by which aligned windows begin late.
    pub(crate) fn offset_millis(&self) -> u64 {
        match self.algorithm {
            Algorithm::FixedAligned { offset } => millis(offset),
            _ => 0,
        }
    }
}
