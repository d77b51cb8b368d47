//! Whether a stored response answers a request (RFC 9111 §4).

use std::time::Duration;

use super::{directives::RequestDirectives, storable::Flags};
use crate::cache::rule::{Authorization, Shape};

/// A stored response, as far as its use depends on time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Stored {
    /// How old it is now.
    pub(in crate::cache) age: Duration,
    /// How long it is fresh, from the age of zero.
    pub(in crate::cache) lifetime: Duration,
    pub(in crate::cache) while_revalidate: Duration,
    pub(in crate::cache) if_error: Duration,
    pub(in crate::cache) flags: Flags,
}

/// A request that a stored response may answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Asks<'a> {
    pub(in crate::cache) directives: &'a RequestDirectives,
    pub(in crate::cache) has_authorization: bool,
}

/// What becomes of a request for which there is a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Reuse {
    /// It is answered by it, which is fresh for so much longer.
    Fresh { left: Duration },
    /// It is answered by it, which has been stale for so long: the client takes it so (`max-stale`).
    Stale { by: Duration },
    /// It is answered by it, which has been stale for so long, while a new one is fetched.
    StaleWhileRevalidate { by: Duration },
    /// The response is validated first.
    Validate {
        /// Whether it may answer all the same if the handler fails.
        may_stand_in: bool,
    },
    /// The request passes.
    NotForThis(Passed),
}

/// Why a stored response is not for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Passed {
    /// The request says `no-store`.
    NoStore,
    /// The request has `Authorization`, and the response does not say that it is for all.
    Authorization,
}

impl Stored {
    /// The same, purged softly so long ago: stale since then, and for a minute from then of use as
    /// if it allowed that itself, unless it forbids to be used stale.
    pub(in crate::cache) fn purged_softly(self, ago: Duration) -> Self {
        let lifetime = self.lifetime.min(self.age.saturating_sub(ago));
        if self.flags.is_never_stale || self.flags.must_validate {
            return Self { lifetime, ..self };
        }
        Self {
            lifetime,
            while_revalidate: self.while_revalidate.max(AFTER_SOFT_PURGE),
            if_error: self.if_error.max(AFTER_SOFT_PURGE),
            ..self
        }
    }

    /// How long it has been stale; none while it is fresh (§4.2).
    fn stale_by(&self) -> Option<Duration> {
        self.age.checked_sub(self.lifetime)
    }
}

/// Whether a stored response answers a request.
///
/// `only-if-cached` is the caller's: it turns what is no answer into a 504.
pub(in crate::cache) fn judge(stored: &Stored, asks: &Asks<'_>, shape: &Shape) -> Reuse {
    if asks.directives.no_store {
        return Reuse::NotForThis(Passed::NoStore);
    }
    if asks.has_authorization && !is_for_authorized(stored, shape) {
        return Reuse::NotForThis(Passed::Authorization);
    }
    let nothing = RequestDirectives::default();
    let wishes = if shape.profile.honours_requests {
        asks.directives
    } else {
        &nothing
    };
    let validate = Reuse::Validate {
        may_stand_in: may_stand_in(stored, wishes),
    };
    if stored.flags.must_validate || wishes.no_cache || is_too_old(stored.age, wishes) {
        return validate;
    }
    let Some(by) = stored.stale_by() else {
        let left = stored.lifetime.saturating_sub(stored.age);
        let is_fresh_enough = wishes.min_fresh.is_none_or(|least| left >= least);
        return if is_fresh_enough {
            Reuse::Fresh { left }
        } else {
            validate
        };
    };
    if wishes.min_fresh.is_some() {
        return validate;
    }
    // Before `max-stale`, since this one fetches a new response.
    if by < stored.while_revalidate && minds_no_staleness(wishes, by) {
        return Reuse::StaleWhileRevalidate { by };
    }
    let is_taken_so = wishes.max_stale.is_some_and(|most| by <= most);
    if is_taken_so && !stored.flags.is_never_stale {
        return Reuse::Stale { by };
    }
    validate
}

/// §3.5, where the profile asks it of reuse too.
fn is_for_authorized(stored: &Stored, shape: &Shape) -> bool {
    if shape.covers_credentials {
        return true;
    }
    if shape.narrow.is_some() {
        return false;
    }
    match shape.profile.authorization {
        Authorization::Mind => stored.flags.is_for_all,
        Authorization::Rfc9111 => true,
    }
}

/// §5.2.1.1. `max-age=0` is how clients ask for validation, so it is that also in the moment in which
/// the response came.
fn is_too_old(age: Duration, wishes: &RequestDirectives) -> bool {
    wishes
        .max_age
        .is_some_and(|most| age > most || most.is_zero())
}

/// §5.2.1.1: a client that says how old a response may be wants no stale one, unless it says so.
fn minds_no_staleness(wishes: &RequestDirectives, by: Duration) -> bool {
    match (wishes.max_stale, wishes.max_age) {
        (Some(most), _) => by <= most,
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

/// RFC 5861 §4: within its window, or that of the request.
fn may_stand_in(stored: &Stored, wishes: &RequestDirectives) -> bool {
    if stored.flags.must_validate || wishes.no_cache {
        return false;
    }
    let by = stored.stale_by().unwrap_or_default();
    let allowed = wishes
        .stale_if_error
        .filter(|_| !stored.flags.is_never_stale)
        .unwrap_or_default();
    by < stored.if_error.max(allowed)
}

/// Section 2.16 of the design.
const AFTER_SOFT_PURGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::rule::{CacheRule, Profile};

    const FRESH: Stored = Stored {
        age: secs(10),
        lifetime: secs(60),
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        flags: Flags {
            must_validate: false,
            is_never_stale: false,
            is_for_all: false,
        },
    };
    const STALE: Stored = Stored {
        age: secs(70),
        ..FRESH
    };
    const MUST_VALIDATE: Reuse = Reuse::Validate {
        may_stand_in: false,
    };
    const MAY_STAND_IN: Reuse = Reuse::Validate { may_stand_in: true };

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rule() -> CacheRule {
        CacheRule::new("test").unwrap()
    }

    fn compliant() -> CacheRule {
        rule().with_profile(Profile::compliance())
    }

    fn reuse_by(rule: &CacheRule, stored: &Stored, line: &str) -> Reuse {
        let value = HeaderValue::from_str(line).unwrap();
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
        let asks = Asks {
            directives: &RequestDirectives::read(&headers),
            has_authorization: false,
        };
        judge(stored, &asks, rule.shape())
    }

    fn authorized(rule: &CacheRule, stored: &Stored) -> Reuse {
        let asks = Asks {
            directives: &RequestDirectives::default(),
            has_authorization: true,
        };
        judge(stored, &asks, rule.shape())
    }

    #[test]
    fn a_response_is_fresh_until_it_is_as_old_as_its_lifetime() {
        let aged = |age| reuse_by(&rule(), &Stored { age, ..FRESH }, "");
        assert_eq!(aged(Duration::ZERO), Reuse::Fresh { left: secs(60) });
        let nearly = secs(60).saturating_sub(Duration::from_micros(1));
        assert_eq!(
            aged(nearly),
            Reuse::Fresh {
                left: Duration::from_micros(1)
            }
        );
        assert_eq!(aged(secs(60)), MUST_VALIDATE);
        let none = Stored {
            age: Duration::ZERO,
            lifetime: Duration::ZERO,
            ..FRESH
        };
        assert_eq!(reuse_by(&rule(), &none, ""), MUST_VALIDATE);
    }

    #[test]
    fn a_stale_response_is_given_within_its_window_while_a_new_one_is_fetched() {
        let stored = Stored {
            while_revalidate: secs(30),
            ..FRESH
        };
        let aged = |age| reuse_by(&rule(), &Stored { age, ..stored }, "");
        assert_eq!(
            aged(secs(60)),
            Reuse::StaleWhileRevalidate { by: Duration::ZERO }
        );
        assert_eq!(aged(secs(89)), Reuse::StaleWhileRevalidate { by: secs(29) });
        assert_eq!(aged(secs(90)), MUST_VALIDATE);
    }

    #[test]
    fn a_stale_response_stands_in_for_errors_within_its_window() {
        let stored = Stored {
            if_error: secs(30),
            ..STALE
        };
        assert_eq!(reuse_by(&rule(), &stored, ""), MAY_STAND_IN);
        let late = Stored {
            age: secs(90),
            ..stored
        };
        assert_eq!(reuse_by(&rule(), &late, ""), MUST_VALIDATE);
    }

    #[test]
    fn what_must_be_validated_is_validated_and_never_stands_in() {
        let flags = Flags {
            must_validate: true,
            ..Flags::default()
        };
        let stored = Stored {
            flags,
            while_revalidate: secs(90),
            if_error: secs(90),
            ..FRESH
        };
        assert_eq!(reuse_by(&compliant(), &stored, ""), MUST_VALIDATE);
        assert_eq!(reuse_by(&compliant(), &stored, "max-stale"), MUST_VALIDATE);
    }

    #[test]
    fn a_request_with_no_store_passes_in_each_profile() {
        for rule in [rule(), compliant()] {
            let passed = reuse_by(&rule, &FRESH, "no-store");
            assert_eq!(passed, Reuse::NotForThis(Passed::NoStore));
        }
    }

    #[test]
    fn what_requests_wish_counts_only_where_the_profile_honours_it() {
        for line in ["no-cache", "max-age=0", "max-age=9", "min-fresh=51", "a=\""] {
            assert_eq!(
                reuse_by(&compliant(), &FRESH, line),
                MUST_VALIDATE,
                "{line}"
            );
            assert_eq!(
                reuse_by(&rule(), &FRESH, line),
                Reuse::Fresh { left: secs(50) },
                "{line}"
            );
        }
        for line in ["max-age=10", "min-fresh=50", "max-stale", "x"] {
            assert_eq!(
                reuse_by(&compliant(), &FRESH, line),
                Reuse::Fresh { left: secs(50) }
            );
        }
        assert_eq!(reuse_by(&rule(), &STALE, "max-stale"), MUST_VALIDATE);
    }

    #[test]
    fn max_age_zero_asks_for_validation_at_once() {
        let new = Stored {
            age: Duration::ZERO,
            ..FRESH
        };
        assert_eq!(reuse_by(&compliant(), &new, "max-age=0"), MUST_VALIDATE);
    }

    #[test]
    fn a_client_takes_a_stale_response_as_far_as_it_says() {
        let stale = Reuse::Stale { by: secs(10) };
        assert_eq!(reuse_by(&compliant(), &STALE, "max-stale"), stale);
        assert_eq!(reuse_by(&compliant(), &STALE, "max-stale=10"), stale);
        assert_eq!(reuse_by(&compliant(), &STALE, "max-stale=9"), MUST_VALIDATE);
        assert_eq!(reuse_by(&compliant(), &STALE, "max-stale=x"), MUST_VALIDATE);
        assert_eq!(
            reuse_by(&compliant(), &STALE, "max-stale, max-age=69"),
            MUST_VALIDATE
        );
        assert_eq!(
            reuse_by(&compliant(), &STALE, "max-stale, max-age=70"),
            stale
        );
        assert_eq!(
            reuse_by(&compliant(), &STALE, "max-stale, min-fresh=0"),
            MUST_VALIDATE
        );
        let flags = Flags {
            is_never_stale: true,
            ..Flags::default()
        };
        let never = Stored { flags, ..STALE };
        assert_eq!(reuse_by(&compliant(), &never, "max-stale"), MUST_VALIDATE);
    }

    #[test]
    fn a_client_that_says_how_old_a_response_may_be_is_given_no_stale_one() {
        let stored = Stored {
            while_revalidate: secs(30),
            ..STALE
        };
        let given = Reuse::StaleWhileRevalidate { by: secs(10) };
        assert_eq!(reuse_by(&compliant(), &stored, ""), given);
        assert_eq!(
            reuse_by(&compliant(), &stored, "max-age=100"),
            MUST_VALIDATE
        );
        assert_eq!(
            reuse_by(&compliant(), &stored, "min-fresh=0"),
            MUST_VALIDATE
        );
        assert_eq!(
            reuse_by(&compliant(), &stored, "max-age=100, max-stale"),
            given
        );
        assert_eq!(
            reuse_by(&compliant(), &stored, "max-stale=9"),
            MUST_VALIDATE
        );
        assert_eq!(reuse_by(&rule(), &stored, "max-age=100"), given);
    }

    #[test]
    fn a_client_may_take_a_stale_response_for_an_error() {
        assert_eq!(
            reuse_by(&compliant(), &STALE, "stale-if-error=11"),
            MAY_STAND_IN
        );
        assert_eq!(
            reuse_by(&compliant(), &STALE, "stale-if-error=10"),
            MUST_VALIDATE
        );
        assert_eq!(
            reuse_by(&rule(), &STALE, "stale-if-error=11"),
            MUST_VALIDATE
        );
        let flags = Flags {
            is_never_stale: true,
            ..Flags::default()
        };
        let never = Stored { flags, ..STALE };
        assert_eq!(
            reuse_by(&compliant(), &never, "stale-if-error=11"),
            MUST_VALIDATE
        );
        let stored = Stored {
            if_error: secs(90),
            ..FRESH
        };
        assert_eq!(reuse_by(&compliant(), &stored, "no-cache"), MUST_VALIDATE);
        assert_eq!(reuse_by(&compliant(), &stored, "max-age=0"), MAY_STAND_IN);
    }

    #[test]
    fn a_request_with_authorization_is_given_what_is_for_all() {
        let for_all = Stored {
            flags: Flags {
                is_for_all: true,
                ..Flags::default()
            },
            ..FRESH
        };
        let fresh = Reuse::Fresh { left: secs(50) };
        let passed = Reuse::NotForThis(Passed::Authorization);
        assert_eq!(authorized(&rule(), &FRESH), passed);
        assert_eq!(authorized(&rule(), &for_all), fresh);
        assert_eq!(authorized(&compliant(), &FRESH), fresh);
        let narrow = rule().with_narrow([]);
        assert_eq!(authorized(&narrow, &for_all), passed);
        assert_eq!(
            authorized(&narrow.with_credentials_covered(), &FRESH),
            fresh
        );
        assert_eq!(
            authorized(&rule().with_credentials_covered(), &FRESH),
            fresh
        );
    }

    #[test]
    fn a_soft_purge_makes_a_response_stale_and_leaves_it_a_minute() {
        let reuse = |stored: Stored, ago| reuse_by(&rule(), &stored.purged_softly(secs(ago)), "");
        assert_eq!(
            reuse(FRESH, 0),
            Reuse::StaleWhileRevalidate { by: Duration::ZERO }
        );
        assert_eq!(reuse(FRESH, 5), Reuse::StaleWhileRevalidate { by: secs(5) });
        let old = Stored {
            age: secs(1_000),
            lifetime: secs(5_000),
            ..FRESH
        };
        assert_eq!(reuse(old, 59), Reuse::StaleWhileRevalidate { by: secs(59) });
        assert_eq!(reuse(old, 60), MUST_VALIDATE);
        let longer = Stored {
            while_revalidate: secs(100),
            if_error: secs(200),
            ..old
        };
        assert_eq!(
            reuse(longer, 99),
            Reuse::StaleWhileRevalidate { by: secs(99) }
        );
        assert_eq!(reuse(longer, 199), MAY_STAND_IN);
        // What was stale before is not made less so.
        assert_eq!(STALE.purged_softly(secs(1)).lifetime, STALE.lifetime);
    }

    #[test]
    fn a_soft_purge_leaves_nothing_of_what_forbids_stale() {
        let flags = Flags {
            is_never_stale: true,
            ..Flags::default()
        };
        let stored = Stored { flags, ..FRESH }.purged_softly(secs(1));
        assert_eq!(reuse_by(&rule(), &stored, ""), MUST_VALIDATE);
    }

    fn stored() -> impl Strategy<Value = Stored> {
        let time = || (0_u64..200).prop_map(secs);
        (time(), time(), time(), time(), 0_u8..8).prop_map(|(age, lifetime, swr, sie, bits)| {
            Stored {
                age,
                lifetime,
                while_revalidate: swr,
                if_error: sie,
                flags: Flags {
                    must_validate: bits & 1 != 0,
                    is_never_stale: bits & 2 != 0,
                    is_for_all: bits & 4 != 0,
                },
            }
        })
    }

    /// The smaller, the more is asked of the handler.
    fn rank(reuse: Reuse) -> u8 {
        match reuse {
            Reuse::NotForThis(_) => 0,
            Reuse::Validate {
                may_stand_in: false,
            } => 1,
            Reuse::Validate { may_stand_in: true } => 2,
            Reuse::StaleWhileRevalidate { .. } | Reuse::Stale { .. } => 3,
            Reuse::Fresh { .. } => 4,
        }
    }

    proptest! {
        #[test]
        fn growing_older_makes_nothing_fresher(stored in stored(), by in 0_u64..200, line in "(max-stale=[0-9]{2}|min-fresh=[0-9]{2}|max-age=[0-9]{2})?") {
            let older = Stored { age: stored.age + secs(by), ..stored };
            let before = rank(reuse_by(&compliant(), &stored, &line));
            prop_assert!(rank(reuse_by(&compliant(), &older, &line)) <= before);
        }

        #[test]
        fn a_soft_purge_makes_nothing_fresher(stored in stored(), ago in 0_u64..200) {
            let before = rank(reuse_by(&rule(), &stored, ""));
            let after = reuse_by(&rule(), &stored.purged_softly(secs(ago)), "");
            let is_fresh = matches!(after, Reuse::Fresh { .. });
            prop_assert!(!is_fresh && (rank(after) <= before || rank(after) <= 3));
        }

        #[test]
        fn nothing_makes_it_panic(
            age in any::<Duration>(), lifetime in any::<Duration>(), window in any::<Duration>(), ago in any::<Duration>(),
        ) {
            let stored = Stored { age, lifetime, while_revalidate: window, if_error: window, flags: Flags::default() };
            reuse_by(&compliant(), &stored, "max-stale, stale-if-error=5");
            reuse_by(&compliant(), &stored.purged_softly(ago), "max-age=5");
        }
    }
}
