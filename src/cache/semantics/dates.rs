//! Dates in headers (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use httpdate::HttpDate;

use crate::clock::Timestamp;

/// The date in a field that stands there once; a second line makes it no date.
pub(in crate::cache) fn only(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    match lines.next() {
        Some(_) => None,
        None => parse(first),
    }
}

/// The date that this is, in one of the three forms, with the right day of the week. Names of days
/// and months, and `GMT`, may be in any case (RFC 9111 §4.2).
///
/// What is before 1970, and a leap second, is no date here. The two digits of the form of RFC 850
/// are years from 1970 to 2069.
pub(in crate::cache) fn parse(value: &HeaderValue) -> Option<Timestamp> {
    let written = value.to_str().ok()?;
    let exact = written.parse::<HttpDate>();
    let date = exact.or_else(|_| in_usual_case(written).parse()).ok()?;
    let since_epoch = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::default() + since_epoch)
}

/// With each word beginning in upper case, and `GMT`.
fn in_usual_case(date: &str) -> String {
    let mut usual = date.to_ascii_lowercase();
    let mut is_in_word = false;
    for at in 0..usual.len() {
        let Some(letter) = usual.get_mut(at..=at) else {
            continue;
        };
        if !is_in_word {
            letter.make_ascii_uppercase();
        }
        is_in_word = letter.starts_with(|first: char| first.is_ascii_alphabetic());
    }
    usual.replace("Gmt", "GMT")
}

/// The second that this lies in, as a date; the end of the year 9999 for what is later.
pub(in crate::cache) fn format(at: Timestamp) -> HeaderValue {
    let seconds = (at.as_micros() / MICROS).min(LAST_SECOND);
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(date.to_string()).unwrap_or(FIRST_DATE)
}

const MICROS: u64 = 1_000_000;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

const FIRST_DATE: HeaderValue = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");

#[cfg(test)]
mod tests {
    use http::header::EXPIRES;
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
        parse(&value).map(|at| at.as_micros() / MICROS)
    }

    #[test]
    fn the_three_forms_are_dates() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "SUN, 06 nov 1994 08:49:37 gmt",
            "sunday, 06-NOV-94 08:49:37 Gmt",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
        assert!(seconds("Thursday, 18-Aug-50 02:01:18 GMT").is_some());
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        let last = seconds("Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(last, Some(LAST_SECOND));
    }

    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sat, 31 Feb 2026 00:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sat, 01 Jan 1900 00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sonntag, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GM\u{e9}",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_of_two_lines_is_no_date() {
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let mut headers = HeaderMap::new();
        assert_eq!(only(&headers, &EXPIRES), None);
        headers.append(EXPIRES, date.clone());
        assert_eq!(only(&headers, &EXPIRES), parse(&date));
        headers.append(EXPIRES, date);
        assert_eq!(only(&headers, &EXPIRES), None);
    }

    #[test]
    fn the_first_and_the_last_second_are_written() {
        assert_eq!(format(Timestamp::default()), FIRST_DATE);
        for micros in [LAST_SECOND * MICROS, u64::MAX] {
            let last = format(Timestamp::from_micros(micros));
            assert_eq!(last, "Fri, 31 Dec 9999 23:59:59 GMT");
        }
    }

    proptest! {
        #[test]
        fn a_written_date_is_the_second_that_was_meant(micros in 0..=LAST_SECOND * MICROS) {
            let whole = Timestamp::from_micros(micros / MICROS * MICROS);
            prop_assert_eq!(parse(&format(Timestamp::from_micros(micros))), Some(whole));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = parse(&value);
            }
        }

        #[test]
        fn nothing_like_a_date_makes_it_panic(
            text in "[A-Z][a-z]{2,8},? ?[0-9]{0,2}[- ][A-Z][a-z]{2}[- ][0-9 ]{1,5} ?[0-9:]{8} (GMT|[0-9]{4})",
        ) {
            let _ = seconds(&text);
        }
    }
}
