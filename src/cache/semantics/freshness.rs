//! How long a response is fresh (RFC 9111 §4.2).

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{DATE, EXPIRES, LAST_MODIFIED},
};

use super::{dates, directives::clamped, targeted::Governing};
use crate::{
    cache::rule::{Heuristics, Shape, Ttl},
    clock::Timestamp,
};

/// How long a response is fresh, from when it was made, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Lifetime {
    pub(in crate::cache) duration: Duration,
    pub(in crate::cache) source: Source,
}

/// Who says how long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Source {
    /// `s-maxage`.
    SharedMaxAge,
    MaxAge,
    /// `Expires`, also where it is no date.
    Expires,
    /// The rule, for this status.
    Negative,
    /// The rule, against what the response says.
    Override,
    /// The rule, as the response says nothing.
    Default,
    /// §4.2.2: a guess.
    Heuristic,
    /// Nobody: it is only good for validation.
    Nobody,
}

impl Source {}

/// How long a response is fresh; none if nobody says it, and nobody may guess.
///
/// From 500 on, the rule says it only where it names the status: an error is not to outlive its
/// cause because all other answers of a route are good for an hour.
pub(in crate::cache) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    governing: &Governing,
    received: Timestamp,
    shape: &Shape,
) -> Option<Lifetime> {
    let of = |duration: Duration, source| Lifetime {
        duration: clamped_to_most(duration),
        source,
    };
    let explicit = explicit(headers, governing, received);
    let named = shape.negative.iter().rfind(|(named, _)| *named == status);
    if let Some((_, negative)) = named {
        return Some(explicit.unwrap_or(of(*negative, Source::Negative)));
    }
    let is_by_default = is_cacheable_by_default(status) || governing.directives.is_public;
    let is_listed = shape
        .statuses
        .as_ref()
        .is_some_and(|all| all.contains(&status));
    let is_rules = status.as_u16() < 500 && (is_by_default || is_listed);
    match shape.ttl {
        Ttl::Override(ttl) if is_rules || (explicit.is_some() && status.as_u16() < 500) => {
            return Some(of(ttl, Source::Override));
        }
        Ttl::Default(ttl) if is_rules => {
            return Some(explicit.unwrap_or(of(ttl, Source::Default)));
        }
        Ttl::Declared | Ttl::Default(_) | Ttl::Override(_) => {}
    }
    explicit.or_else(|| {
        let heuristics = shape.profile.heuristics.filter(|_| is_by_default)?;
        let guess = heuristic(headers, received, heuristics)?;
        Some(of(guess, Source::Heuristic))
    })
}

/// §4.2.2, RFC 9110 §15.1: those whose freshness may be guessed. 206 is not among them, since parts
/// are not stored.
pub(in crate::cache) fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// §4.2.1.
fn explicit(headers: &HeaderMap, governing: &Governing, received: Timestamp) -> Option<Lifetime> {
    let directives = &governing.directives;
    let of = |duration, source| Lifetime { duration, source };
    if let Some(shared) = directives.s_maxage {
        return Some(of(shared, Source::SharedMaxAge));
    }
    if let Some(max_age) = directives.max_age {
        return Some(of(max_age, Source::MaxAge));
    }
    if governing.is_targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    // §5.3: what is no date, such as `0`, or two dates, has expired.
    let left = dates::only(headers, &EXPIRES)
        .map_or(Duration::ZERO, |expires| expires - made(headers, received));
    Some(of(clamped_to_most(left), Source::Expires))
}

/// §4.2.2: a share of the time since the last modification.
fn heuristic(headers: &HeaderMap, received: Timestamp, how: Heuristics) -> Option<Duration> {
    let modified = dates::only(headers, &LAST_MODIFIED)?;
    let unmodified = (made(headers, received) - modified).as_secs();
    let share = unmodified.saturating_mul(u64::from(how.percent)) / 100;
    Some(Duration::from_secs(share).min(how.at_most))
}

/// RFC 9110 §6.6.1: when a response without `Date` came is its date.
fn made(headers: &HeaderMap, received: Timestamp) -> Timestamp {
    dates::only(headers, &DATE).unwrap_or(received)
}

fn clamped_to_most(duration: Duration) -> Duration {
    duration.min(clamped(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{
        rule::{CacheRule, Profile},
        semantics::targeted::governing,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rule() -> CacheRule {
        CacheRule::new("test").unwrap()
    }

    fn compliant() -> CacheRule {
        rule().with_profile(Profile::compliance())
    }

    fn date(offset: i64) -> String {
        let distance = secs(offset.unsigned_abs());
        let at = if offset < 0 {
            NOW - distance
        } else {
            NOW + distance
        };
        dates::format(at).to_str().unwrap().to_owned()
    }

    fn found(rule: &CacheRule, status: u16, lines: &[(&'static str, &str)]) -> Option<Lifetime> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let shape = rule.shape();
        let governing = governing(&headers, &shape.profile.targeted);
        let status = StatusCode::from_u16(status).unwrap();
        lifetime(status, &headers, &governing, NOW, shape)
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is compared with what was found"
    )]
    fn of(seconds: u64, source: Source) -> Option<Lifetime> {
        let duration = secs(seconds);
        Some(Lifetime { duration, source })
    }

    #[test]
    fn s_maxage_goes_before_max_age_and_that_before_expires() {
        let expires = ("expires", &*date(30));
        let plain = ("date", &*date(0));
        let all = ("cache-control", "max-age=20, s-maxage=10");
        let two = ("cache-control", "max-age=20");
        assert_eq!(
            found(&rule(), 200, &[expires, plain, all]),
            of(10, Source::SharedMaxAge)
        );
        assert_eq!(
            found(&rule(), 200, &[expires, plain, two]),
            of(20, Source::MaxAge)
        );
        assert_eq!(
            found(&rule(), 200, &[expires, plain]),
            of(30, Source::Expires)
        );
        assert_eq!(found(&rule(), 200, &[plain]), None);
    }

    #[test]
    fn a_max_age_that_is_none_does_not_give_way_to_expires() {
        let lines = [("expires", &*date(30)), ("cache-control", "max-age=x")];
        assert_eq!(found(&compliant(), 200, &lines), of(0, Source::MaxAge));
        let lines = [("cache-control", "max-age=60, s-maxage=x")];
        assert_eq!(found(&rule(), 200, &lines), of(0, Source::SharedMaxAge));
    }

    #[test]
    fn expires_counts_from_the_date_or_from_when_it_came() {
        let expires = ("expires", &*date(30));
        assert_eq!(found(&rule(), 200, &[expires]), of(30, Source::Expires));
        assert_eq!(
            found(&rule(), 200, &[expires, ("date", "foo")]),
            of(30, Source::Expires)
        );
        assert_eq!(
            found(&rule(), 200, &[expires, ("date", &date(-10))]),
            of(40, Source::Expires)
        );
        assert_eq!(
            found(&rule(), 200, &[expires, ("date", &date(20))]),
            of(10, Source::Expires)
        );
        assert_eq!(
            found(&rule(), 200, &[expires, ("date", &date(40))]),
            of(0, Source::Expires)
        );
    }

    #[test]
    fn an_expires_that_is_no_date_has_passed() {
        let good = date(30);
        for invalid in ["0", "-1", "", "foo", "Thu, 18 Aug 2050 02:01:18 UTC"] {
            assert_eq!(
                found(&compliant(), 200, &[("expires", invalid)]),
                of(0, Source::Expires)
            );
        }
        let twice = [("expires", &*good), ("expires", &*good)];
        assert_eq!(found(&compliant(), 200, &twice), of(0, Source::Expires));
        // It is something that the response says, so the rule's time is not for it.
        let ttl = rule().with_ttl(secs(60));
        assert_eq!(
            found(&ttl, 200, &[("expires", "0")]),
            of(0, Source::Expires)
        );
    }

    #[test]
    fn a_targeted_field_makes_expires_mean_nothing() {
        let lines = [("expires", &*date(30)), ("stash-cache-control", "public")];
        assert_eq!(found(&rule(), 200, &lines), None);
        let lines = [
            ("cache-control", "max-age=5"),
            ("stash-cache-control", "max-age=9"),
        ];
        assert_eq!(found(&rule(), 200, &lines), of(9, Source::MaxAge));
    }

    #[test]
    fn a_tenth_of_the_time_unmodified_is_guessed_and_at_most_a_day() {
        let guess = |modified: i64| {
            found(
                &compliant(),
                200,
                &[("last-modified", &date(modified)), ("date", &date(0))],
            )
        };
        assert_eq!(guess(-1_000), of(100, Source::Heuristic));
        assert_eq!(
            guess(-100 * 24 * 3_600),
            of(DAY.as_secs(), Source::Heuristic)
        );
        assert_eq!(guess(10), of(0, Source::Heuristic));
        assert_eq!(found(&compliant(), 200, &[("last-modified", "foo")]), None);
        let without_date = [("last-modified", &*date(-1_000))];
        assert_eq!(
            found(&compliant(), 200, &without_date),
            of(100, Source::Heuristic)
        );
        assert_eq!(found(&rule(), 200, &without_date), None);
    }

    #[test]
    fn the_statuses_that_may_be_guessed_of_are_those_of_the_rfc() {
        let modified = ("last-modified", &*date(-1_000));
        for status in 200..600 {
            let is_guessed = found(&compliant(), status, &[modified]).is_some();
            let is_in_list =
                [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
            assert_eq!(is_guessed, is_in_list, "{status}");
            let public = [modified, ("cache-control", "public")];
            assert_eq!(
                found(&compliant(), status, &public),
                of(100, Source::Heuristic)
            );
        }
    }

    #[test]
    fn the_rules_time_is_for_what_says_nothing() {
        let ttl = rule().with_ttl(secs(60));
        assert_eq!(found(&ttl, 200, &[]), of(60, Source::Default));
        assert_eq!(found(&ttl, 404, &[]), of(60, Source::Default));
        assert_eq!(
            found(&ttl, 200, &[("cache-control", "max-age=0")]),
            of(0, Source::MaxAge)
        );
        let modified = ("last-modified", &*date(-1_000));
        let compliant = compliant().with_ttl(secs(60));
        assert_eq!(found(&compliant, 200, &[modified]), of(60, Source::Default));
    }

    #[test]
    fn the_rules_time_makes_nothing_fresh_that_only_its_server_could() {
        let ttl = rule().with_ttl(secs(60));
        for status in [201, 202, 302, 303, 307, 400, 401, 403, 500, 501, 503, 599] {
            assert_eq!(found(&ttl, status, &[]), None, "{status}");
        }
        assert_eq!(
            found(&ttl, 302, &[("cache-control", "public")]),
            of(60, Source::Default)
        );
        let found_too = ttl.with_statuses([StatusCode::OK, StatusCode::FOUND]);
        assert_eq!(found(&found_too, 302, &[]), of(60, Source::Default));
        let errors = rule()
            .with_ttl(secs(60))
            .with_statuses([StatusCode::INTERNAL_SERVER_ERROR]);
        assert_eq!(found(&errors, 500, &[]), None);
    }

    #[test]
    fn an_overriding_time_beats_what_the_response_says() {
        let ours = rule().with_override_ttl(secs(60));
        assert_eq!(
            found(&ours, 200, &[("cache-control", "max-age=5")]),
            of(60, Source::Override)
        );
        assert_eq!(
            found(&ours, 200, &[("expires", "0")]),
            of(60, Source::Override)
        );
        assert_eq!(found(&ours, 200, &[]), of(60, Source::Override));
        assert_eq!(found(&ours, 302, &[]), None);
        assert_eq!(
            found(&ours, 302, &[("cache-control", "max-age=5")]),
            of(60, Source::Override)
        );
        assert_eq!(
            found(&ours, 500, &[("cache-control", "max-age=5")]),
            of(5, Source::MaxAge)
        );
        assert_eq!(found(&ours, 500, &[]), None);
    }

    #[test]
    fn a_status_that_the_rule_names_has_a_time_of_its_own() {
        let ours = rule()
            .with_override_ttl(secs(60))
            .with_negative_ttl(StatusCode::NOT_FOUND, secs(1))
            .with_negative_ttl(StatusCode::NOT_FOUND, secs(2))
            .with_negative_ttl(StatusCode::BAD_GATEWAY, secs(3));
        assert_eq!(found(&ours, 404, &[]), of(2, Source::Negative));
        assert_eq!(found(&ours, 502, &[]), of(3, Source::Negative));
        assert_eq!(found(&ours, 410, &[]), of(60, Source::Override));
        assert_eq!(
            found(&ours, 404, &[("cache-control", "max-age=9")]),
            of(9, Source::MaxAge)
        );
    }

    #[test]
    fn a_time_of_the_rule_is_clamped() {
        for rule in [
            rule().with_ttl(Duration::MAX),
            rule().with_override_ttl(Duration::MAX),
            rule().with_negative_ttl(StatusCode::OK, Duration::MAX),
        ] {
            assert_eq!(found(&rule, 200, &[]).unwrap().duration, secs(1 << 31));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            expires in any::<u64>(), made in any::<u64>(), modified in any::<u64>(),
            percent in any::<u32>(), received in any::<u64>(),
        ) {
            let date = |micros| dates::format(Timestamp::from_micros(micros));
            let profile = Profile::compliance().with_heuristics(percent, Duration::MAX);
            let rule = rule().with_profile(profile);
            let received = Timestamp::from_micros(received);
            let mut headers = HeaderMap::from_iter([(DATE, date(made)), (LAST_MODIFIED, date(modified))]);
            for _ in 0..2 {
                let found = lifetime(StatusCode::OK, &headers, &Governing::default(), received, rule.shape());
                prop_assert!(found.is_none_or(|found| found.duration <= secs(1 << 31)));
                headers.insert(EXPIRES, date(expires));
            }
        }
    }
}
