//! The bytes of a stored answer.
//!
//! ```text
//! status u16 | fields | 0, or 1 and fields: the trailers | body
//! fields: count u16, and for each: name u16 + bytes | value u32 + bytes
//! ```
//!
//! Numbers are big-endian and names lower-case, so an answer has one form only. The body comes last;
//! it and the values stay slices of what was read.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};

/// What is stored of a response.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::idempotency) struct StoredAnswer {
    pub(in crate::idempotency) status: StatusCode,
    pub(in crate::idempotency) headers: Fields,
    pub(in crate::idempotency) trailers: Option<Fields>,
    pub(in crate::idempotency) body: Bytes,
}

/// Headers or trailers in their order; a name may come several times.
pub(in crate::idempotency) type Fields = Vec<(HeaderName, HeaderValue)>;

impl StoredAnswer {
    /// The bytes to be stored; `None` for an answer that does not fit their format, which is too
    /// large to keep.
    pub(in crate::idempotency) fn encode(&self) -> Option<Bytes> {
        let trailers_len = self.trailers.as_deref().map_or(0, fields_len);
        let len = HEAD_LEN + fields_len(&self.headers) + trailers_len + self.body.len();
        let mut stored = Vec::with_capacity(len);
        stored.put_u16(self.status.as_u16());
        put_fields(&mut stored, &self.headers)?;
        stored.put_u8(u8::from(self.trailers.is_some()));
        if let Some(trailers) = &self.trailers {
            put_fields(&mut stored, trailers)?;
        }
        stored.put_slice(&self.body);
        Some(stored.into())
    }

    /// Reads what is stored; `None` for what is no answer.
    pub(in crate::idempotency) fn decode(mut stored: Bytes) -> Option<Self> {
        let status = StatusCode::from_u16(stored.try_get_u16().ok()?).ok()?;
        let headers = take_fields(&mut stored)?;
        let trailers = match stored.try_get_u8().ok()? {
            0 => None,
            1 => Some(take_fields(&mut stored)?),
            _ => return None,
        };
        Some(Self {
            status,
            headers,
            trailers,
            body: stored,
        })
    }
}

/// Says how much there is, and nothing of it.
impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAnswer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("trailers", &self.trailers.as_ref().map(Vec::len))
            .field("body", &self.body.len())
            .finish()
    }
}

fn fields_len(fields: &[(HeaderName, HeaderValue)]) -> usize {
    let sum: usize = fields
        .iter()
        .map(|(name, value)| MIN_FIELD_LEN + name.as_str().len() + value.len())
        .sum();
    COUNT_LEN + sum
}

fn put_fields(stored: &mut Vec<u8>, fields: &[(HeaderName, HeaderValue)]) -> Option<()> {
    stored.put_u16(count(fields.len())?);
    for (name, value) in fields {
        stored.put_u16(u16::try_from(name.as_str().len()).ok()?);
        stored.put_slice(name.as_str().as_bytes());
        stored.put_u32(u32::try_from(value.len()).ok()?);
        stored.put_slice(value.as_bytes());
    }
    Some(())
}

fn take_fields(stored: &mut Bytes) -> Option<Fields> {
    let count = usize::from(count(stored.try_get_u16().ok()?)?);
    // What it claims is not believed further than there are bytes for it.
    let mut fields = Vec::with_capacity(count.min(stored.len() / MIN_FIELD_LEN));
    for _ in 0..count {
        let name_len = usize::from(stored.try_get_u16().ok()?);
        let name = HeaderName::from_lowercase(&take(stored, name_len)?).ok()?;
        let value_len = usize::try_from(stored.try_get_u32().ok()?).ok()?;
        let value = HeaderValue::from_maybe_shared(take(stored, value_len)?).ok()?;
        fields.push((name, value));
    }
    Some(fields)
}

fn take(stored: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= stored.len()).then(|| stored.split_to(len))
}

/// How many fields there are, if a [`HeaderMap`](http::HeaderMap) can surely hold as many.
fn count(fields: impl TryInto<u16>) -> Option<u16> {
    fields.try_into().ok().filter(|count| *count <= MAX_FIELDS)
}

/// The status, and whether there are trailers.
const HEAD_LEN: usize = 3;

const COUNT_LEN: usize = 2;

/// The two lengths of a field without name and value.
const MIN_FIELD_LEN: usize = 6;

/// A header map has room for 32,768 names, and doubles that room where as little as a fifth of it is
/// taken and names collide: it may refuse more than a fifth of 32,768.
pub(super) const MAX_FIELDS: u16 = 4096;
