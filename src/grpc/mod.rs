//! Just enough of the gRPC protocol to answer a call without a gRPC library.
//!
//! An answer of ours is "trailers-only": HTTP 200 whose headers carry the status and whose body has
//! ended (gRPC over HTTP/2, "Responses").

mod code;
mod details;

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

pub use self::code::GrpcCode;
use self::details::Details;
use crate::respond::Rejection;

/// Whether a request with these headers wants a gRPC answer (gRPC over HTTP/2, "Content-Type"): its
/// content type is `application/grpc`, alone or followed by a `+` or `-` suffix or parameters.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let Some((essence, suffix)) = content_type.as_bytes().split_at_checked(GRPC.len()) else {
        return false;
    };
    essence.eq_ignore_ascii_case(GRPC)
        && matches!(suffix.first(), None | Some(b'+' | b'-' | b';' | b' '))
}

/// The status that these headers or trailers carry, if any.
pub(crate) fn status(headers: &HeaderMap) -> Option<GrpcCode> {
    headers.get(GRPC_STATUS).map(GrpcCode::parse)
}

/// The status that the body of a grpc-web answer ends in (gRPC-Web, "Trailers": a frame whose first
/// bit is set, with the trailers as lines).
#[cfg(feature = "idempotency")]
pub(crate) fn status_of_web(mut body: &[u8]) -> Option<GrpcCode> {
    loop {
        let (&flags, rest) = body.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (frame, rest) = rest.split_at_checked(length)?;
        if flags & 0x80 == 0 {
            body = rest;
            continue;
        }
        return frame.split(|byte| *byte == b'\n').find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            if !name.eq_ignore_ascii_case(GRPC_STATUS.as_str().as_bytes()) {
                return None;
            }
            let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
            Some(GrpcCode::parse(&value))
        });
    }
}

/// A trailers-only answer to a call with these headers, under this code.
pub(crate) fn trailers_only<B: Default>(
    call: &HeaderMap,
    code: GrpcCode,
    rejection: &Rejection,
) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let content_type = call.get(CONTENT_TYPE).filter(|_| is_grpc(call)).cloned();
    headers.insert(
        CONTENT_TYPE,
        content_type.unwrap_or(HeaderValue::from_static("application/grpc")),
    );
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code.as_u8())));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(rejection.title())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    let details = Details {
        retry_after: rejection.retry_after(),
        exceeded: rejection.violated_policies(),
        message: rejection.title(),
    };
    if let Some(details) = details.into_header(code) {
        headers.insert(GRPC_STATUS_DETAILS, details);
    }
    response
}

/// Tells a client that retries when to: after this long, or, with `None`, not at all.
///
/// The value is a signed number of 32 bits (gRFC A6, "Pushback"), up to 24 days; what does not fit is
/// as good as never to a client.
pub(crate) fn push_back(headers: &mut HeaderMap, wait: Option<Duration>) {
    let millis = wait.map(|wait| wait.as_nanos().div_ceil(1_000_000));
    let millis = millis.and_then(|millis| i32::try_from(millis).ok());
    headers.insert(GRPC_RETRY_PUSHBACK, HeaderValue::from(millis.unwrap_or(-1)));
}

/// The encoding of `grpc-message` (gRPC over HTTP/2, "Percent-Encoded"): printable ASCII stands for
/// itself, `%` and all else are `%XX`.
fn percent_encoded(message: &str) -> String {
    message
        .bytes()
        .fold(String::with_capacity(message.len()), |mut encoded, byte| {
            match byte {
                b' '..=b'$' | b'&'..=b'~' => encoded.push(char::from(byte)),
                _ => drop(write!(encoded, "%{byte:02X}")),
            }
            encoded
        })
}

const GRPC: &[u8] = b"application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

#[cfg(test)]
mod tests {
    use super::*;

    fn is_grpc_with(content_type: &'static str) -> bool {
        is_grpc(&HeaderMap::from_iter([(
            CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        )]))
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        assert!(is_grpc_with("application/grpc"));
        assert!(is_grpc_with("application/grpc+proto"));
        assert!(is_grpc_with("Application/GRPC-Web"));
        assert!(!is_grpc_with("application/grpcx"));
        assert!(!is_grpc_with("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[cfg(feature = "idempotency")]
    #[test]
    fn the_status_of_a_web_answer_is_in_the_last_frame_of_its_body() {
        let message = b"\0\0\0\0\x03abc";
        let trailers = |text: &[u8]| {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            [&message[..], &[0x80], &length, text].concat()
        };
        let status = |text: &[u8]| status_of_web(&trailers(text));
        assert_eq!(status(b"grpc-status:0\r\n"), Some(GrpcCode::OK));
        assert_eq!(
            status(b"a: b\r\nGrpc-Status: 14\r\n"),
            Some(GrpcCode::UNAVAILABLE)
        );
        assert_eq!(status(b"a: b\r\n"), None);
        assert_eq!(status_of_web(message), None);
        assert_eq!(status_of_web(&trailers(b"grpc-status:0")[..15]), None);
    }

    #[test]
    fn a_message_is_percent_encoded_but_for_printable_ascii() {
        assert_eq!(percent_encoded("50% off\né"), "50%25 off%0A%C3%A9");
    }

    #[test]
    fn push_back_is_rounded_up_and_minus_one_for_never() {
        let mut headers = HeaderMap::new();
        push_back(&mut headers, Some(Duration::from_micros(1_001)));
        assert_eq!(headers[GRPC_RETRY_PUSHBACK], "2");
        push_back(&mut headers, None);
        assert_eq!(headers[GRPC_RETRY_PUSHBACK], "-1");
    }

    #[test]
    fn a_wait_that_push_back_cannot_hold_is_told_as_never() {
        let mut headers = HeaderMap::new();
        let longest = Duration::from_millis(2_147_483_647);
        push_back(&mut headers, Some(longest));
        assert_eq!(headers[GRPC_RETRY_PUSHBACK], "2147483647");
        push_back(&mut headers, Some(longest + Duration::from_nanos(1)));
        assert_eq!(headers[GRPC_RETRY_PUSHBACK], "-1");
    }
}
