//! Headers and trailers as they are stored.

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::bytes::{number_len, piece_len, put_number, put_piece, take_count, take_piece};

pub(super) fn fields_len(fields: &HeaderMap) -> usize {
    let lines = fields.iter().map(|(name, value)| {
        let name = name.as_str().as_bytes();
        piece_len(name) + piece_len(value.as_bytes())
    });
    number_len(fields.len() as u64) + lines.sum::<usize>()
}

/// `None` for more fields than a [`HeaderMap`] surely holds.
pub(super) fn put_fields(stored: &mut Vec<u8>, fields: &HeaderMap) -> Option<()> {
    if fields.len() > MAX_FIELDS {
        return None;
    }
    put_number(stored, fields.len() as u64);
    for (name, value) in fields {
        put_piece(stored, name.as_str().as_bytes());
        put_piece(stored, value.as_bytes());
    }
    Some(())
}

/// Values stay slices of what is stored; so do no names, but the common ones are not copied either.
pub(super) fn take_fields(stored: &mut Bytes) -> Option<HeaderMap> {
    let count = take_count(stored, MIN_FIELD_LEN).filter(|count| *count <= MAX_FIELDS)?;
    let mut fields = HeaderMap::try_with_capacity(count).ok()?;
    for _ in 0..count {
        let name = take_name(stored)?;
        let value = HeaderValue::from_maybe_shared(take_piece(stored)?).ok()?;
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

pub(super) fn take_name(stored: &mut Bytes) -> Option<HeaderName> {
    let len = take_count(stored, 1)?;
    let name = HeaderName::from_lowercase(stored.get(..len)?).ok()?;
    stored.advance(len);
    Some(name)
}

/// The two lengths of a field, and a name of one byte.
const MIN_FIELD_LEN: usize = 3;

/// A header map has room for 32,768 names, and doubles that room where as little as a fifth of it is
/// taken and names collide: it may refuse more than a fifth of 32,768.
pub(super) const MAX_FIELDS: usize = 4096;
