//! `grpc-status-details-bin`: what a status code and a message cannot say.
//!
//! It is a `google.rpc.Status` whose details are messages of `google/rpc/error_details.proto`, in
//! the encoding of Protocol Buffers (proto3). Two messages of two fields
//! each do not need a library.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::HeaderValue;

use super::GrpcCode;

/// The details of a status, for programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Details<'a, I> {
    /// When the same call can succeed: a `RetryInfo`.
    pub(super) retry_after: Option<Duration>,
    /// The limits that it exceeds, by name: a `QuotaFailure`.
    pub(super) exceeded: I,
    /// What is wrong, for people.
    pub(super) message: &'a str,
}

impl<'a, I: Iterator<Item = &'a str>> Details<'a, I> {
    /// The header's value, or `None` where there is nothing to say.
    ///
    /// Values of `-bin` headers are in base64, whose padding servers leave out (gRPC over HTTP/2,
    /// "Custom-Metadata").
    pub(super) fn into_header(self, code: GrpcCode) -> Option<HeaderValue> {
        let message = self.message;
        let details = [
            self.retry_after.map(retry_info),
            quota_failure(self.exceeded, message),
        ];
        if details.iter().all(Option::is_none) {
            return None;
        }
        let mut status = Vec::new();
        put_number(&mut status, 1, code.as_u8().into());
        put_bytes(&mut status, 2, message.as_bytes());
        for detail in details.iter().flatten() {
            put_bytes(&mut status, 3, detail);
        }
        HeaderValue::try_from(STANDARD_NO_PAD.encode(status)).ok()
    }
}

/// `RetryInfo { retry_delay: Duration { seconds, nanos } }`
fn retry_info(wait: Duration) -> Vec<u8> {
    let mut delay = Vec::new();
    put_number(&mut delay, 1, wait.as_secs().min(MAX_SECONDS));
    put_number(&mut delay, 2, wait.subsec_nanos().into());
    let mut info = Vec::new();
    put_bytes(&mut info, 1, &delay);
    any("type.googleapis.com/google.rpc.RetryInfo", &info)
}

/// `QuotaFailure { violations: [Violation { subject, description }, ..] }`
fn quota_failure<'a>(
    exceeded: impl Iterator<Item = &'a str>,
    description: &str,
) -> Option<Vec<u8>> {
    let mut failure = Vec::new();
    for subject in exceeded {
        let mut violation = Vec::new();
        put_bytes(&mut violation, 1, subject.as_bytes());
        put_bytes(&mut violation, 2, description.as_bytes());
        put_bytes(&mut failure, 1, &violation);
    }
    (!failure.is_empty()).then(|| any("type.googleapis.com/google.rpc.QuotaFailure", &failure))
}

/// `google.protobuf.Any { type_url, value }`
fn any(type_url: &str, message: &[u8]) -> Vec<u8> {
    let mut any = Vec::new();
    put_bytes(&mut any, 1, type_url.as_bytes());
    put_bytes(&mut any, 2, message);
    any
}

/// A field that holds a number; zero is what a missing one means.
fn put_number(message: &mut Vec<u8>, field: u8, number: u64) {
    if number > 0 {
        message.push(field << 3);
        put_varint(message, number);
    }
}

/// A field that holds text, bytes or a message: its length stands before it.
fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | LENGTH_DELIMITED);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    message.push(number.to_le_bytes()[0]);
}

/// The wire type of what has a length.
const LENGTH_DELIMITED: u8 = 2;

/// The longest `google.protobuf.Duration`: some 10,000 years.
const MAX_SECONDS: u64 = 315_576_000_000;

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::{collection::vec, option, prelude::*};
    use tonic::Status;
    use tonic_types::StatusExt as _;

    use super::*;

    /// What a client's library reads.
    fn decoded(code: GrpcCode, header: HeaderValue) -> Status {
        let number = HeaderValue::from(u16::from(code.as_u8()));
        let headers = [("grpc-status", number), ("grpc-status-details-bin", header)];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value));
        Status::from_header_map(&HeaderMap::from_iter(headers)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn details_are_decoded_as_they_were_said(
            wait in option::of((0..=MAX_SECONDS, 0..1_000_000_000_u32)),
            exceeded in vec(".{0,200}", 0..9),
            message in ".{0,200}",
        ) {
            let wait = wait.map(|(seconds, nanos)| Duration::new(seconds, nanos));
            let details = Details {
                retry_after: wait,
                exceeded: exceeded.iter().map(String::as_str),
                message: &message,
            };
            let Some(header) = details.into_header(GrpcCode::RESOURCE_EXHAUSTED) else {
                prop_assert!(wait.is_none() && exceeded.is_empty());
                return Ok(());
            };
            prop_assert!(!header.to_str().unwrap().contains('='));
            let status = decoded(GrpcCode::RESOURCE_EXHAUSTED, header);
            let retry = status.get_details_retry_info();
            prop_assert_eq!(retry.and_then(|info| info.retry_delay), wait);
            let violations: Vec<_> = status
                .get_details_quota_failure()
                .into_iter()
                .flat_map(|failure| failure.violations)
                .map(|violation| (violation.subject, violation.description))
                .collect();
            let expected: Vec<_> = exceeded.into_iter().map(|name| (name, message.clone())).collect();
            prop_assert_eq!(violations, expected);
        }
    }

    #[test]
    fn a_wait_that_no_message_can_hold_is_the_longest_one() {
        let details = Details {
            retry_after: Some(Duration::MAX),
            exceeded: std::iter::empty(),
            message: "",
        };
        let header = details.into_header(GrpcCode::UNAVAILABLE).unwrap();
        let retry = decoded(GrpcCode::UNAVAILABLE, header).get_details_retry_info();
        let delay = retry.and_then(|info| info.retry_delay).unwrap();
        assert_eq!(delay.as_secs(), MAX_SECONDS);
    }

    #[test]
    fn the_status_inside_has_the_code_and_the_message_of_the_headers() {
        let details = Details {
            retry_after: None,
            exceeded: std::iter::once("login.burst"),
            message: "too many",
        };
        let header = details.into_header(GrpcCode::UNAVAILABLE).unwrap();
        let status = STANDARD_NO_PAD.decode(header.as_bytes()).unwrap();
        assert!(
            status.starts_with(b"\x08\x0e\x12\x08too many\x1a"),
            "{status:?}"
        );
    }
}
