//! How much a session may hold.

use super::{
    SessionError, SessionErrorKind,
    names::LABEL,
    record::{Attributes, encoded_len},
};

/// Whether a session may hold these: at most 64, and in all 64 KiB.
///
/// What the layer adds of its own, a label and a user, does not count: a login adds it, and nothing
/// that fits before may be too much then.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), SessionError> {
    let counted = attributes.iter().filter(|(name, _)| *name != LABEL);
    let sizes = counted.map(|(name, value)| encoded_len(name, value));
    let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    if count <= MAX_ATTRIBUTES && bytes <= MAX_BYTES {
        Ok(())
    } else {
        Err(SessionErrorKind::TooLarge.into())
    }
}

const MAX_ATTRIBUTES: u32 = 64;
const MAX_BYTES: usize = 64 * 1_024;
