//! The bytes of a stored answer.
//!
//! ```text
//! status u16 | fields | 0, or 1 and fields: the trailers | body
//! fields: count u16, and for each: name u16 + bytes | value u32 + bytes
//! ```
//!
//! Numbers are big-endian and names lower-case, so an answer has one form only. The body comes last;
//! it and the values stay slices of what was read.

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Fields, StoredAnswer};

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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn field(name: &str, value: &[u8]) -> (HeaderName, HeaderValue) {
        (
            name.parse().unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        )
    }

    /// What [`GOLDEN`] says.
    fn full() -> StoredAnswer {
        StoredAnswer {
            status: StatusCode::CREATED,
            headers: vec![
                field("location", b"/p/1"),
                field("x", b"\xff"),
                field("x", b""),
            ],
            trailers: Some(vec![field("grpc-status", b"0")]),
            body: Bytes::from_static(b"paid"),
        }
    }

    /// Never changed: what a version of the crate has written must stay readable.
    const GOLDEN: &[u8] = b"\x00\xc9\
        \x00\x03\
        \x00\x08location\x00\x00\x00\x04/p/1\
        \x00\x01x\x00\x00\x00\x01\xff\
        \x00\x01x\x00\x00\x00\x00\
        \x01\x00\x01\
        \x00\x0bgrpc-status\x00\x00\x00\x010\
        paid";

    fn decode(stored: &[u8]) -> Option<StoredAnswer> {
        StoredAnswer::decode(Bytes::copy_from_slice(stored))
    }

    /// Status 200, these bytes as the headers, and no trailers and body.
    fn with_headers(headers: &[u8]) -> Vec<u8> {
        [&[0, 200][..], headers, &[0]].concat()
    }

    #[test]
    fn the_format_is_what_it_always_was() {
        assert_eq!(full().encode().unwrap(), GOLDEN);
        assert_eq!(decode(GOLDEN), Some(full()));
    }

    #[test]
    fn an_answer_is_written_with_one_allocation() {
        let answer = full();
        let allocated = allocation_counter::measure(|| drop(answer.encode()));
        assert_eq!(allocated.count_total, 1);
    }

    #[test]
    fn body_and_values_are_slices_of_what_is_stored() {
        let stored = Bytes::from_static(GOLDEN);
        let range = stored.as_ptr_range();
        let answer = StoredAnswer::decode(stored).unwrap();
        assert!(range.contains(&answer.body.as_ptr()));
        assert!(range.contains(&answer.headers[0].1.as_bytes().as_ptr()));
    }

    #[test]
    fn no_part_of_an_answer_but_its_body_may_be_cut_off() {
        let head_len = GOLDEN.len() - full().body.len();
        for end in 0..GOLDEN.len() {
            let is_read = decode(&GOLDEN[..end]).is_some();
            assert_eq!(is_read, end >= head_len, "{end} bytes");
        }
    }

    #[test]
    fn absent_trailers_are_not_empty_ones() {
        let answer = |trailers| StoredAnswer { trailers, ..full() };
        let (absent, empty) = (answer(None), answer(Some(Vec::new())));
        assert_eq!(StoredAnswer::decode(absent.encode().unwrap()), Some(absent));
        assert_eq!(StoredAnswer::decode(empty.encode().unwrap()), Some(empty));
    }

    #[test]
    fn what_is_no_header_or_status_is_refused() {
        assert!(decode(&with_headers(b"\0\x01\0\x01a\0\0\0\x01b")).is_some());
        let names = [&b"A"[..], b"a b", b"a\0", b"\xff", b"", b":"];
        for name in names {
            let len = [u8::try_from(name.len()).unwrap()];
            let headers = [b"\0\x01\0", &len[..], name, b"\0\0\0\x01b"].concat();
            assert_eq!(decode(&with_headers(&headers)), None, "{name:?}");
        }
        for value in *b"\n\r\0\x7f" {
            let headers = [b"\0\x01\0\x01a\0\0\0\x01", &[value][..]].concat();
            assert_eq!(decode(&with_headers(&headers)), None, "{value}");
        }
        for status in [0, 99, 1000, u16::MAX] {
            let stored = [&status.to_be_bytes()[..], b"\0\0\0"].concat();
            assert_eq!(decode(&stored), None, "{status}");
        }
        assert_eq!(decode(b"\0\xc8\0\0\x02\0\0"), None);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(decode(&with_headers(b"\x0f\xff")), None);
        assert_eq!(decode(&with_headers(b"\0\x01\xff\xffa\0\0\0\x01b")), None);
        assert_eq!(
            decode(&with_headers(b"\0\x01\0\x01a\xff\xff\xff\xffb")),
            None
        );
    }

    #[test]
    fn a_count_that_lies_allocates_nothing() {
        let allocated = allocation_counter::measure(|| {
            let stored = Bytes::from_static(b"\0\xc8\x0f\xff");
            assert_eq!(StoredAnswer::decode(stored), None);
        });
        assert_eq!(allocated.count_total, 0);
    }

    #[test]
    fn more_fields_than_a_header_map_surely_holds_are_neither_written_nor_read() {
        let most = usize::from(MAX_FIELDS);
        let answer = |len: usize| StoredAnswer {
            headers: (0..len).map(|name| field(&name.to_string(), b"")).collect(),
            ..full()
        };
        let stored = answer(most).encode().unwrap();
        let read = StoredAnswer::decode(stored).unwrap();
        assert_eq!(read.into_response().headers().len(), most + 1);
        assert_eq!(answer(most + 1).encode(), None);
        assert_eq!(answer(usize::from(u16::MAX) + 2).encode(), None);

        let one_too_many = [
            &(MAX_FIELDS + 1).to_be_bytes()[..],
            &b"\0\x01a\0\0\0\0".repeat(most + 1),
        ]
        .concat();
        assert_eq!(decode(&with_headers(&one_too_many)), None);
    }

    #[test]
    fn nothing_that_a_user_wrote_is_shown() {
        let shown = format!("{:?}", full());
        assert_eq!(
            shown,
            "StoredAnswer { status: 201, headers: 3, trailers: Some(1), body: 4 }"
        );
    }

    /// Names from a few, so that some come again, or with a start that no header has which is left
    /// out of replays.
    fn header_maps() -> impl Strategy<Value = HeaderMap> {
        let value = vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8], 0..20);
        vec(("[a-e]|x-z[a-z0-9_.-]{0,70}|etag|set-cookie", value), 0..20).prop_map(|fields| {
            let fields = fields.iter().map(|(name, value)| field(name, value));
            fields.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
        })
    }

    fn fields(headers: &HeaderMap) -> Fields {
        let fields = headers.iter();
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            status in 100..1000_u16,
            headers in header_maps(),
            trailers in option::of(header_maps()),
            body in vec(any::<u8>(), 0..100),
        ) {
            let answer = StoredAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: fields(&headers),
                trailers: trailers.as_ref().map(fields),
                body: body.into(),
            };
            let read = StoredAnswer::decode(answer.encode().unwrap());
            prop_assert_eq!(read.as_ref(), Some(&answer));

            let mut replay = answer.into_response();
            prop_assert_eq!(replay.headers_mut().remove("idempotent-replayed").unwrap(), "true");
            prop_assert_eq!(replay.headers(), &headers);
            prop_assert_eq!(replay.body().trailers.as_ref(), trailers.as_ref());
        }

        #[test]
        fn an_answer_has_one_form_only(
            position in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut stored = GOLDEN.to_vec();
            stored[position.index(GOLDEN.len())] = byte;
            if let Some(answer) = decode(&stored) {
                prop_assert_eq!(answer.encode().unwrap(), stored);
            }
        }
    }
}
