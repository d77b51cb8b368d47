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

/// The date that this is, in one of the three forms, each as exact as the RFC has it: names of days
/// and months in their case, the right day of the week, `GMT`.
///
/// What is before 1970, and a leap second, is no date here. The two digits of the form of RFC 850
/// are years from 1970 to 2069.
pub(in crate::cache) fn parse(value: &HeaderValue) -> Option<Timestamp> {
    let date = value.to_str().ok()?.parse::<HttpDate>().ok()?;
    let since_epoch = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::default() + since_epoch)
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
