//! How long a session lives, by the backend's clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::record::Head;
use crate::{
    backend::Version,
    clock::{Monotonic, Timestamp, monotonic_now},
};

/// The backend's clock, as far as one answer of it tells.
///
/// What has passed since is counted from the moment the question was *sent*, so this clock is never
/// late: a session ends early by a round trip at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    then: Timestamp,
    asked: Monotonic,
}

impl ServerClock {
    /// The clock that showed this time when it answered a question sent at `asked`.
    pub(super) fn new(then: Timestamp, asked: Monotonic) -> Self {
        Self { then, asked }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.at(monotonic_now())
    }

    fn is_fresh(&self, moment: Monotonic) -> bool {
        moment.saturating_duration_since(self.asked) < FRESH
    }

    fn at(&self, moment: Monotonic) -> Timestamp {
        self.then + moment.saturating_duration_since(self.asked)
    }
}

/// What the backend's clock showed when an answer told of it last.
///
/// A question costs a second command, so one is asked once in a second and not for each read. What
/// answers tell is never behind: they are counted from their questions, and a version is at least
/// the time of its write. It may be ahead, after a step back of the clock; so of what was heard
/// within a second, the earliest is nearest.
#[derive(Debug, Default)]
pub(super) struct LastHeard(Mutex<Option<ServerClock>>);

impl LastHeard {
    pub(super) fn note(&self, clock: ServerClock) {
        let mut last = self.lock();
        let is_nearer = last.is_none_or(|last| {
            let moment = last.asked.max(clock.asked);
            clock.is_fresh(moment) && (!last.is_fresh(moment) || clock.at(moment) < last.at(moment))
        });
        if is_nearer {
            *last = Some(clock);
        }
    }

    /// The clock at this moment, if it was heard less than a second before.
    pub(super) fn at(&self, moment: Monotonic) -> Option<Timestamp> {
        let last = (*self.lock()).filter(|last| last.is_fresh(moment))?;
        Some(last.at(moment))
    }

    fn lock(&self) -> MutexGuard<'_, Option<ServerClock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What time it was when a record that was written for `ttl` had so long left: no call is needed to
/// ask for it.
pub(super) fn read_at(version: Version, ttl: Duration, expires_in: Duration) -> Timestamp {
    version.written_at() + ttl.saturating_sub(expires_in)
}

/// How long a session lives when nobody uses it, and how long at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
}

impl Timeouts {
    pub(super) fn new(idle: Duration, absolute: Duration) -> Self {
        Self { idle, absolute }
    }
}

/// How long a record that is written now is to live; `None` if its session's life is over.
pub(super) fn time_to_live(
    head: &Head,
    version: Version,
    idle: Duration,
    now: Timestamp,
) -> Option<Duration> {
    let left = head.deadline(version) - now;
    let ttl = whole_millis(idle.min(left));
    (!ttl.is_zero()).then_some(ttl)
}

/// What a record that is written again now would gain.
pub(super) fn gain(head: &Head, version: Version, ttl: Duration, now: Timestamp) -> Duration {
    (now + ttl) - (version.written_at() + head.ttl)
}

/// Rounded down, so that nothing lives longer than it may.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// How long what a clock showed is gone by; so late is a step of it noticed.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{csrf::CsrfSeed, record::Trail, token::SecretDigest},
        *,
    };

    fn head(born: Option<Timestamp>, life: Duration, ttl: Duration) -> Head {
        Head {
            is_new_secret_used: false,
            ttl,
            born,
            life,
            generation: 1,
            rotated: Timestamp::default(),
            digest: SecretDigest::NONE,
            previous: SecretDigest::NONE,
            previous_until: Timestamp::default(),
            csrf_seed: CsrfSeed::from_bytes([0; 16]),
            trail: Trail::default(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + SECOND * u32::try_from(seconds).unwrap()
    }

    fn version(at: Timestamp) -> Version {
        Version::from_u64(at.as_micros())
    }

    #[test]
    fn a_record_lives_for_the_idle_time_or_until_its_deadline() {
        let head = head(Some(at(100)), 50 * SECOND, SECOND);
        let left = |idle, now| time_to_live(&head, version(at(140)), idle * SECOND, now);
        assert_eq!(left(20, at(120)), Some(20 * SECOND));
        assert_eq!(left(20, at(130)), Some(20 * SECOND));
        assert_eq!(left(20, at(131)), Some(19 * SECOND));
        assert_eq!(left(20, at(149)), Some(SECOND));
        assert_eq!(left(20, at(150)), None);
        assert_eq!(left(20, at(151)), None);
        let less_than_a_millisecond = at(150) - Duration::from_micros(999);
        assert_eq!(left(20, less_than_a_millisecond), None);
    }

    #[test]
    fn who_is_not_born_yet_is_born_with_its_record() {
        let head = head(None, 50 * SECOND, SECOND);
        assert_eq!(head.born(version(at(100))), at(100));
        assert_eq!(head.deadline(version(at(100))), at(150));
        let left = time_to_live(&head, version(at(100)), 60 * SECOND, at(110));
        assert_eq!(left, Some(40 * SECOND));
    }

    #[test]
    fn a_slide_gains_what_the_end_moves() {
        let head = head(Some(at(0)), 1_000 * SECOND, 20 * SECOND);
        let gain = |ttl, now| gain(&head, version(at(100)), ttl * SECOND, now);
        assert_eq!(gain(20, at(100)), Duration::ZERO);
        assert_eq!(gain(20, at(107)), 7 * SECOND);
        assert_eq!(gain(5, at(107)), Duration::ZERO, "it would end earlier");
    }

    #[test]
    fn what_a_record_has_left_tells_the_time() {
        let read = |left: u64| read_at(version(at(100)), 20 * SECOND, Duration::from_millis(left));
        assert_eq!(read(20_000), at(100));
        assert_eq!(read(12_500), at(107) + Duration::from_millis(500));
        assert_eq!(read(20_001), at(100), "rounded up by the backend");
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_clock_goes_on_from_when_it_was_asked() {
        let asked = monotonic_now();
        tokio::time::advance(3 * SECOND).await;
        let clock = ServerClock::new(at(100), asked);
        assert_eq!(clock.now(), at(103), "the answer took three seconds");
        tokio::time::advance(SECOND).await;
        assert_eq!(clock.now(), at(104));
    }

    proptest! {
        #[test]
        fn no_record_outlives_its_session(
            born in 0..1_000_000_u64,
            life in 0..1_000_000_u64,
            idle in 1_000..1_000_000_u64,
            since in 0..2_000_000_u64,
        ) {
            let born = Timestamp::from_micros(born);
            let head = head(Some(born), Duration::from_micros(life), SECOND);
            let idle = Duration::from_micros(idle);
            let now = born + Duration::from_micros(since);
            let ttl = time_to_live(&head, version(now), idle, now);
            let left = life.saturating_sub(since);
            prop_assert_eq!(ttl.is_none(), left < 1_000);
            let ttl = ttl.unwrap_or_default();
            prop_assert!(ttl <= idle && ttl <= Duration::from_micros(left));
            prop_assert_eq!(ttl.subsec_nanos() % 1_000_000, 0, "whole milliseconds");
            let most = idle.min(Duration::from_micros(left));
            prop_assert!(most < ttl + Duration::from_millis(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_is_gone_by_for_a_second() {
        let heard = LastHeard::default();
        assert_eq!(heard.at(monotonic_now()), None);
        let asked = monotonic_now();
        heard.note(ServerClock::new(Timestamp::from_millis(50_000), asked));
        let after = |millis| heard.at(asked + Duration::from_millis(millis));
        assert_eq!(after(0), Some(Timestamp::from_millis(50_000)));
        assert_eq!(after(999), Some(Timestamp::from_millis(50_999)));
        assert_eq!(after(1_000), None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_told_within_a_second_the_earliest_counts() {
        let began = monotonic_now();
        let told = |millis, time| {
            let asked = began + Duration::from_millis(millis);
            ServerClock::new(Timestamp::from_millis(time), asked)
        };
        let moment = began + Duration::from_millis(500);
        for answers in [
            [told(0, 50_000), told(10, 70_000)],
            [told(10, 70_000), told(0, 50_000)],
        ] {
            let heard = LastHeard::default();
            for answer in answers {
                heard.note(answer);
            }
            assert_eq!(heard.at(moment), Some(Timestamp::from_millis(50_500)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_a_second_counts_for_nothing_either_way() {
        let heard = LastHeard::default();
        let began = monotonic_now();
        let second = began + Duration::from_secs(1);
        heard.note(ServerClock::new(Timestamp::from_millis(50_000), began));
        heard.note(ServerClock::new(Timestamp::from_millis(70_000), second));
        assert_eq!(heard.at(second), Some(Timestamp::from_millis(70_000)));
        heard.note(ServerClock::new(Timestamp::from_millis(50_000), began));
        assert_eq!(heard.at(second), Some(Timestamp::from_millis(70_000)));
    }
}
