//! Bytes that are few as a rule.

use std::hash;

/// A list of bytes that allocates only if they are more than [`ROOM`](Self::ROOM), and once as a rule.
#[derive(Clone)]
pub(super) enum Frames {
    Few { bytes: [u8; Self::ROOM], len: usize },
    Many(Vec<u8>),
}

impl Frames {
    /// Enough for a known subject of 78 bytes, or of an address and one of 53.
    pub(super) const ROOM: usize = 96;

    /// Enough for what makes two requests the same, but for their bodies.
    const LARGER_ROOM: usize = 512;

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Few { bytes, len } => bytes.get(..*len).unwrap_or(bytes),
            Self::Many(bytes) => bytes,
        }
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        match self {
            Self::Few { bytes, len } => {
                let end = *len + more.len();
                if let Some(free) = bytes.get_mut(*len..end) {
                    free.copy_from_slice(more);
                    *len = end;
                } else {
                    let mut many = Vec::with_capacity(Self::LARGER_ROOM.max(end));
                    many.extend_from_slice(self.as_slice());
                    many.extend_from_slice(more);
                    *self = Self::Many(many);
                }
            }
            Self::Many(bytes) => bytes.extend_from_slice(more),
        }
    }

    /// Forgets all but the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Few { len: all, .. } => *all = len.min(*all),
            Self::Many(bytes) => bytes.truncate(len),
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::Few {
            bytes: [0; Self::ROOM],
            len: 0,
        }
    }
}

impl PartialEq for Frames {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Frames {}

impl hash::Hash for Frames {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn few_bytes_and_many_are_kept_alike(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
            cut in 0..200_usize,
        ) {
            let mut frames = Frames::default();
            let mut all = Vec::new();
            for piece in &pieces {
                frames.push(piece);
                all.extend_from_slice(piece);
                prop_assert_eq!(frames.as_slice(), &*all);
            }
            frames.truncate(cut);
            all.truncate(cut);
            prop_assert_eq!(frames.as_slice(), &*all);
            frames.push(b"more");
            all.extend_from_slice(b"more");
            prop_assert_eq!(frames.as_slice(), all);
        }
    }
}
