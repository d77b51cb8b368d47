//! Which quotas work: what is refused, and what a size from elsewhere is cut to.

use std::time::Duration;

use super::{Algorithm, Quota};

impl Quota {
    /// The same with another size: this limit, or the most that the algorithm can count.
    ///
    /// A burst keeps its proportion to the limit, rounded up.
    pub(super) fn resized(mut self, limit: u64) -> Self {
        let base = self.limit;
        self.limit = limit.min(match self.algorithm {
            Algorithm::Log => MAX_LOG,
            Algorithm::Buckets { .. } => MAX_BUCKETED,
            Algorithm::TokenBucket { .. } => micros(self.window),
            Algorithm::Counter => (EXACT - 1) / self.window_millis(),
            Algorithm::Fixed | Algorithm::FixedAligned { .. } => MAX_LIMIT,
        });
        if let Algorithm::TokenBucket { burst } = self.algorithm {
            let most = (EXACT - 1) / self.interval_micros();
            let burst = in_proportion(burst, self.limit, base).min(most);
            self.algorithm = Algorithm::TokenBucket { burst };
        }
        self
    }

    /// How much a cost of one changes a counter's numbers: units, or
    /// microseconds of a token bucket.
    #[cfg(feature = "redis")]
    pub(crate) fn counts_by(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { .. } => self.weighed(self.interval_micros()),
            _ => self.weighed(1),
        }
    }

    /// The [mark](super::LimitState::mark) of what a call took before its last units of this cost,
    /// as if it had been a call of its own.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn mark_before(&self, mark: u64, cost: u64) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { .. } => {
                mark.saturating_sub(self.weighed(cost).saturating_mul(self.interval_micros()))
            }
            _ => mark,
        }
    }

    /// How long a token bucket takes to gain a token, in microseconds, rounded up so that it never
    /// gains more than its limit in a window.
    pub(crate) fn interval_micros(&self) -> u64 {
        micros(self.window).div_ceil(self.limit.max(1))
    }

    /// What cannot work, and what to write instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self {
            algorithm,
            limit,
            window,
            weight,
            misplaced,
        } = *self;
        if let Some(misplaced) = misplaced {
            return Err(misplaced.into());
        }
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
            return Err("a window of 0 limits nothing; write how long, e.g. MINUTE".into());
        }
        if !is_whole_millis(window) || window > MAX_WINDOW {
            return Err("the window must be whole milliseconds, at most 366 days".into());
        }
        if weight == 0 {
            return Err(
                "a weight of 0 counts nothing; write 1 or more, or leave the limit out".into(),
            );
        }
        match algorithm {
            Algorithm::Log if limit > MAX_LOG => Err(format!(
                "an exact sliding window remembers every hit, so its limit is at most {MAX_LOG}; \
                 write Quota::sliding({limit}, ..), which counts in buckets"
            )),
            Algorithm::Buckets { .. } if limit > MAX_BUCKETED => Err(format!(
                "a limit of buckets is at most {MAX_BUCKETED}; write a smaller limit over a shorter window"
            )),
            Algorithm::Buckets { buckets }
                if !(1..=MAX_BUCKETS).contains(&buckets)
                    || u64::from(buckets) > self.window_millis() =>
            {
                Err(format!(
                    "a window is cut into 1 to {MAX_BUCKETS} buckets of at least a millisecond"
                ))
            }
            Algorithm::TokenBucket { .. } if limit > micros(window) => Err(
                "a token bucket gains at most one token a microsecond; write a smaller limit or a longer window".into(),
            ),
            Algorithm::TokenBucket { burst: 0 } => {
                Err("a burst of 0 admits nothing; write 1 or more, or leave with_burst out".into())
            }
            Algorithm::TokenBucket { burst } if burst.saturating_mul(self.interval_micros()) >= EXACT => {
                Err("burst × window / limit must stay below 2^51 microseconds; write a smaller burst".into())
            }
            Algorithm::Counter if limit.saturating_mul(self.window_millis()) >= EXACT =>
            {
                Err("limit × window in milliseconds must stay below 2^51; write a smaller limit over a shorter window".into())
            }
            Algorithm::FixedAligned { offset } if offset >= window || !is_whole_millis(offset) => {
                Err("the offset must be whole milliseconds and less than the window".into())
            }
            _ if u64::from(weight) > self.capacity() => Err(format!(
                "a weight of {weight} never fits a limit of {}; write a larger limit",
                self.capacity()
            )),
            _ => Ok(()),
        }
    }
}

/// `burst × limit / base`, rounded up; a base of 0 has no proportion to keep.
fn in_proportion(burst: u64, limit: u64, base: u64) -> u64 {
    if base == 0 {
        return limit;
    }
    let product = u128::from(burst) * u128::from(limit);
    u64::try_from(product.div_ceil(base.into())).unwrap_or(u64::MAX)
}

/// Whole milliseconds; only as large as [`MAX_WINDOW`] once checked.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds; only as large as [`MAX_WINDOW`] once checked.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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

/// The most that a bucket counts in its 32 bits.
const MAX_BUCKETED: u64 = u32::MAX as u64;

/// More would hardly admit sooner: a hit counts for at most a hundredth of the window too long.
const MAX_BUCKETS: u32 = 100;

/// Products below this are exact in the double-precision numbers of Redis'
/// scripts, with two bits to spare.
const EXACT: u64 = 1 << 51;
