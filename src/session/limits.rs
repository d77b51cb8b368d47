//! How much a session may hold.

use super::{
    SessionError, SessionErrorKind,
    record::{Attributes, Record},
};

/// Whether a session may hold these: at most 64, and in all 64 KiB.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), SessionError> {
    check(attributes.len(), attributes.encoded_len())
}

/// Whether this may be stored.
pub(super) fn check_record(record: &Record) -> Result<(), SessionError> {
    check(record.attributes.len(), record.encoded_len())
}

fn check(attributes: usize, bytes: usize) -> Result<(), SessionError> {
    if attributes <= MAX_ATTRIBUTES && bytes <= MAX_BYTES {
        Ok(())
    } else {
        Err(SessionErrorKind::TooLarge.into())
    }
}

const MAX_ATTRIBUTES: usize = 64;
const MAX_BYTES: usize = 64 * 1_024;
