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
