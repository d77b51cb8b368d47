//! How old a response is (RFC 9111 §4.2.3, §5.1).

use std::time::Duration;

use http::{
    HeaderMap,
    header::{AGE, DATE},
};

use super::{dates, directives::delta_seconds};
use crate::clock::Timestamp;

/// How old a response was when it came: `corrected_initial_age` of §4.2.3. It grows with the time
/// since.
///
/// A `Date` is a whole second, so what it makes of the age is whole seconds too: a response that was
/// made in the second in which it came is not old.
pub(in crate::cache) fn initial(
    headers: &HeaderMap,
    requested: Timestamp,
    received: Timestamp,
) -> Duration {
    let date = dates::only(headers, &DATE);
    let apparent = date.map_or(Duration::ZERO, |date| received - date);
    let apparent = Duration::from_secs(apparent.as_secs());
    let corrected = declared(headers).saturating_add(received - requested);
    apparent.max(corrected)
}

/// §5.1: the first member of `Age`; none if that is no number of seconds.
fn declared(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(AGE).into_iter();
    let mut members = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    members.next().and_then(delta_seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const RECEIVED: Timestamp = Timestamp::from_millis(1_800_000_000_900);

    fn aged(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AGE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn age_of(lines: &[&str]) -> u64 {
        initial(&aged(lines), RECEIVED, RECEIVED).as_secs()
    }

    fn dated(date: Timestamp) -> HeaderMap {
        HeaderMap::from_iter([(DATE, dates::format(date))])
    }

    #[test]
    fn the_first_member_of_age_counts() {
        assert_eq!(age_of(&[]), 0);
        assert_eq!(age_of(&["7200"]), 7_200);
        assert_eq!(age_of(&["7200,0"]), 7_200);
        assert_eq!(age_of(&["0, 7200"]), 0);
        assert_eq!(age_of(&["7200", "0"]), 7_200);
        assert_eq!(age_of(&["0", "7200"]), 0);
        assert_eq!(age_of(&["", " , 7200"]), 7_200);
    }

    #[test]
    fn an_age_that_is_no_number_is_none() {
        for age in [
            "abc",
            "-7200",
            "7200.0",
            "7200;foo=bar",
            "+1",
            "\"5\"",
            "\u{e9}",
            "abc, 7200",
        ] {
            assert_eq!(age_of(&[age]), 0, "{age}");
        }
        assert_eq!(age_of(&["abc", "7200"]), 0);
    }

    #[test]
    fn a_huge_age_is_clamped() {
        assert_eq!(age_of(&["99999999999999999999999999"]), 1 << 31);
    }

    #[test]
    fn a_date_in_the_past_makes_a_response_old() {
        let headers = dated(RECEIVED - Duration::from_secs(7_200));
        assert_eq!(
            initial(&headers, RECEIVED, RECEIVED),
            Duration::from_secs(7_200)
        );
    }

    #[test]
    fn a_date_in_the_future_or_none_makes_it_new() {
        for date in [
            RECEIVED,
            RECEIVED + Duration::from_secs(7_200),
            Timestamp::from_micros(u64::MAX),
        ] {
            assert_eq!(initial(&dated(date), RECEIVED, RECEIVED), Duration::ZERO);
        }
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static("foo"))]);
        assert_eq!(initial(&headers, RECEIVED, RECEIVED), Duration::ZERO);
    }

    #[test]
    fn what_the_handler_took_is_added_to_age_and_not_to_the_date() {
        let requested = RECEIVED - Duration::from_millis(2_500);
        let age = initial(&aged(&["10"]), requested, RECEIVED);
        assert_eq!(age, Duration::from_millis(12_500));
        let mut headers = dated(RECEIVED - Duration::from_secs(20));
        assert_eq!(
            initial(&headers, requested, RECEIVED),
            Duration::from_secs(20)
        );
        headers.insert(AGE, HeaderValue::from_static("30"));
        let age = initial(&headers, requested, RECEIVED);
        assert_eq!(age, Duration::from_millis(32_500));
    }

    proptest! {
        #[test]
        fn no_age_is_too_much(
            age in "[0-9]{0,30}", requested in any::<u64>(), received in any::<u64>(), date in any::<u64>(),
        ) {
            let mut headers = aged(&[&age]);
            headers.insert(DATE, dates::format(Timestamp::from_micros(date)));
            initial(&headers, Timestamp::from_micros(requested), Timestamp::from_micros(received));
        }
    }
}
