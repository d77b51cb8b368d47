//! The frames in which messages come (gRPC over HTTP/2, "Length-Prefixed-Message").

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    cache::semantics::NotStored,
    grpc::{self, GrpcCode},
};

/// Whether the whole body of a response, with its trailers or what its head says in their place, is
/// one message of a call that went well.
pub(in crate::cache) fn is_answer(
    body: &[Bytes],
    trailers: Option<&HeaderMap>,
    head: &HeaderMap,
) -> Result<(), NotStored> {
    let status = trailers
        .and_then(grpc::status)
        .or_else(|| grpc::status(head));
    if status != Some(GrpcCode::OK) {
        return Err(NotStored::GrpcStatus);
    }
    let length: usize = body.iter().map(Bytes::len).sum();
    if expected(body) == Some(length) {
        Ok(())
    } else {
        Err(NotStored::NotUnary)
    }
}

/// How long a body of one message is that begins so, with the frame; `None` if that cannot be told
/// yet.
pub(super) fn expected(chunks: &[Bytes]) -> Option<usize> {
    let mut bytes = chunks.iter().flatten().copied();
    let _is_compressed = bytes.next()?;
    let mut length = [0; 4];
    for byte in &mut length {
        *byte = bytes.next()?;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    length.checked_add(PREFIX)
}

const PREFIX: usize = 5;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn chunks(chunks: &[&'static [u8]]) -> Vec<Bytes> {
        chunks
            .iter()
            .map(|chunk| Bytes::from_static(chunk))
            .collect()
    }

    fn status(status: &'static str) -> HeaderMap {
        let name = HeaderName::from_static("grpc-status");
        HeaderMap::from_iter([(name, HeaderValue::from_static(status))])
    }

    #[test]
    fn the_length_of_a_message_is_known_from_its_prefix() {
        assert_eq!(expected(&[]), None);
        assert_eq!(expected(&chunks(&[b"\0\0\0", b"\0"])), None);
        assert_eq!(
            expected(&chunks(&[b"\0\0\0", b"", b"\x01\x02"])),
            Some(5 + 258)
        );
        assert_eq!(expected(&chunks(&[b"\0\0\0\0\0"])), Some(5));
    }

    #[test]
    fn an_answer_is_one_whole_message() {
        let ok = status("0");
        let judge = |body: &[&'static [u8]]| is_answer(&chunks(body), Some(&ok), &HeaderMap::new());
        assert_eq!(judge(&[b"\0\0\0\0\x02ab"]), Ok(()));
        assert_eq!(judge(&[b"\0\0\0\0", b"\x02", b"ab"]), Ok(()));
        assert_eq!(judge(&[b"\0\0\0\0\0"]), Ok(()));
        let bodies: [&[&[u8]]; 4] = [&[], &[b"\0\0\0\0\x02a"], &[b"\0\0\0\0\x01ab"], &[b"\0"]];
        for body in bodies {
            assert_eq!(judge(body), Err(NotStored::NotUnary));
        }
    }

    #[test]
    fn an_answer_says_that_the_call_went_well() {
        let body = chunks(&[b"\0\0\0\0\0"]);
        let none = HeaderMap::new();
        let (failed, went_well) = (status("2"), status("0"));
        let judge = |trailers, head| is_answer(&body, trailers, head);
        assert_eq!(judge(None, &none), Err(NotStored::GrpcStatus));
        assert_eq!(judge(Some(&none), &none), Err(NotStored::GrpcStatus));
        assert_eq!(judge(Some(&failed), &none), Err(NotStored::GrpcStatus));
        assert_eq!(judge(Some(&failed), &went_well), Err(NotStored::GrpcStatus));
        assert_eq!(judge(None, &went_well), Ok(()));
    }
}
