//! What is read of a request before it may run.

mod canonical_json;
#[cfg(feature = "testing")]
mod doorway;
mod fingerprint;
mod key_syntax;
mod structured;

use bytes::{Buf as _, Bytes};

pub use self::{canonical_json::canonical_json, key_syntax::KeySyntax};
pub(super) use self::{fingerprint::Recipe, key_syntax::IdempotencyKey};

/// Whether the body of a gRPC call has one message and nothing else (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
pub(super) fn is_one_message(body: &Bytes) -> bool {
    let mut rest = body.clone();
    let (Ok(_compressed), Ok(length)) = (rest.try_get_u8(), rest.try_get_u32()) else {
        return false;
    };
    usize::try_from(length).is_ok_and(|length| length == rest.len())
}
