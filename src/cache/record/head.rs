//! By what one of several responses of a URL is chosen.
//!
//! ```text
//! 'h' 1 | check 16 | generation u64 µs | softly purged u64 µs, 0 for never
//! count n | names of headers, n + bytes each | count n | names of parts, n + bytes each
//! ```

use bytes::{BufMut as _, Bytes};
use http::HeaderName;

use super::{
    FORMAT, HEAD,
    bytes::{
        number_len, piece_len, put_number, put_piece, take_count, take_digest, take_piece,
        take_timestamp,
    },
    fields::take_name,
};
use crate::{clock::Timestamp, key::Digest};

/// What stands under the key of a URL whose responses are chosen by requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Head {
    /// Which of the URLs it belongs to that could have this key.
    pub(in crate::cache) check: Digest,
    /// When the fill began that made it. A head made after a purge has another one, so that no
    /// response of an earlier one is found.
    pub(in crate::cache) generation: Timestamp,
    /// When its URL was last purged softly; zero is never. The responses that it tells of and that
    /// were last checked no later are stale since then.
    pub(in crate::cache) softly_purged: Timestamp,
    /// Of the request headers that choose; sorted, each once.
    pub(in crate::cache) headers: Vec<HeaderName>,
    /// Of the rule's parts that choose; sorted, each once.
    pub(in crate::cache) parts: Vec<Box<str>>,
}

impl Head {
    /// The bytes to be stored.
    pub(in crate::cache) fn encode(&self) -> Bytes {
        let headers = || self.headers.iter().map(HeaderName::as_str);
        let parts = || self.parts.iter().map(AsRef::as_ref);
        let len = FIXED_LEN + names_len(headers()) + names_len(parts());
        let mut stored = Vec::with_capacity(len);
        stored.put_slice(&[HEAD, FORMAT]);
        stored.put_slice(self.check.as_bytes());
        stored.put_u64(self.generation.as_micros());
        stored.put_u64(self.softly_purged.as_micros());
        put_names(&mut stored, headers());
        put_names(&mut stored, parts());
        stored.into()
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let stored = &mut stored;
        let head = Self {
            check: take_digest(stored)?,
            generation: take_timestamp(stored)?,
            softly_purged: take_timestamp(stored)?,
            headers: take_names(stored, take_name)?,
            parts: take_names(stored, |stored| {
                let name = take_piece(stored)?;
                str::from_utf8(&name).ok().map(Into::into)
            })?,
        };
        let is_sorted = is_strictly_sorted(head.headers.iter().map(HeaderName::as_str))
            && is_strictly_sorted(head.parts.iter().map(AsRef::as_ref));
        (stored.is_empty() && is_sorted).then_some(head)
    }
}

fn names_len<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> usize {
    let count_len = number_len(names.len() as u64);
    count_len + names.map(|name| piece_len(name.as_bytes())).sum::<usize>()
}

fn put_names<'a>(stored: &mut Vec<u8>, names: impl ExactSizeIterator<Item = &'a str>) {
    put_number(stored, names.len() as u64);
    for name in names {
        put_piece(stored, name.as_bytes());
    }
}

fn take_names<N>(stored: &mut Bytes, take: impl Fn(&mut Bytes) -> Option<N>) -> Option<Vec<N>> {
    // Each name has at least its length, so that there are not many more than bytes.
    let count = take_count(stored, 1)?;
    (0..count).map(|_| take(stored)).collect()
}

fn is_strictly_sorted<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    names.is_sorted_by(|one, next| one < next)
}

/// Of kind, format, check and the two times.
const FIXED_LEN: usize = 34;
