//! By which names a stored response can be purged.

use std::fmt;

use bytes::{BufMut as _, Bytes};

use super::bytes::{number_len, put_number, take_count};
use crate::{cache::stamps::Tag, key::Digest};

/// The tags of a stored response.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::cache) struct Tags(Box<[Tag]>);

impl Tags {
    pub(in crate::cache) fn as_slice(&self) -> &[Tag] {
        &self.0
    }

    /// These and those, each once.
    #[must_use]
    pub(in crate::cache) fn with(self, others: &Self) -> Self {
        let mut tags = self.0.into_vec();
        for other in &others.0 {
            if !tags.contains(other) {
                tags.push(*other);
            }
        }
        Self(tags.into())
    }

    pub(super) fn encoded_len(&self) -> usize {
        number_len(self.0.len() as u64) + self.0.len() * Digest::LEN
    }

    pub(super) fn encode(&self, stored: &mut Vec<u8>) {
        put_number(stored, self.0.len() as u64);
        for tag in &self.0 {
            stored.put_slice(&tag.0);
        }
    }

    pub(super) fn decode(stored: &mut Bytes) -> Option<Self> {
        let count = take_count(stored, Digest::LEN)?;
        let bytes = stored.split_to(count * Digest::LEN);
        let (tags, _) = bytes.as_chunks();
        Some(tags.iter().copied().map(Tag).collect())
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        Self(tags.into_iter().collect())
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digests = self.0.iter().map(|tag| Digest::from_bytes(tag.0));
        f.debug_list().entries(digests).finish()
    }
}
