//! By which names a stored response can be purged.

use std::fmt;

use bytes::{BufMut as _, Bytes};

use super::bytes::{number_len, put_number, take_count};
use crate::key::Digest;

/// What stands for a tag.
pub(in crate::cache) type TagDigest = [u8; Digest::LEN];

/// The tags of a stored response, as slices of its record.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::cache) struct Tags(Bytes);

impl Tags {
    pub(in crate::cache) fn as_slice(&self) -> &[TagDigest] {
        let (tags, _) = self.0.as_chunks();
        tags
    }

    pub(super) fn encoded_len(&self) -> usize {
        number_len(self.as_slice().len() as u64) + self.0.len()
    }

    pub(super) fn encode(&self, stored: &mut Vec<u8>) {
        put_number(stored, self.as_slice().len() as u64);
        stored.put_slice(&self.0);
    }

    pub(super) fn decode(stored: &mut Bytes) -> Option<Self> {
        let count = take_count(stored, Digest::LEN)?;
        Some(Self(stored.split_to(count * Digest::LEN)))
    }
}

impl FromIterator<TagDigest> for Tags {
    fn from_iter<I: IntoIterator<Item = TagDigest>>(tags: I) -> Self {
        let tags = tags.into_iter();
        let mut bytes = Vec::with_capacity(tags.size_hint().0 * Digest::LEN);
        tags.for_each(|tag| bytes.extend_from_slice(&tag));
        Self(bytes.into())
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digests = self.as_slice().iter().copied().map(Digest::from_bytes);
        f.debug_list().entries(digests).finish()
    }
}
