//! What a run leaves for the next attempt.
//!
//! ```text
//! label u8 + bytes, value u32 + bytes, and so on
//! ```

use bytes::{Buf as _, BufMut as _, Bytes};

/// What a run wrote down under labels, the last word on each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecoveryPoints {
    points: Vec<(Box<str>, Bytes)>,
}

impl RecoveryPoints {
    pub(super) fn get(&self, label: &str) -> Option<&Bytes> {
        let mut points = self.points.iter();
        points.find_map(|(known, value)| (**known == *label).then_some(value))
    }

    /// The same with this under the label; `None` if that is more than may be stored.
    pub(super) fn with(&self, label: &str, value: Bytes) -> Option<Self> {
        if !(1..=MAX_LABEL).contains(&label.len()) {
            return None;
        }
        let mut with = self.clone();
        with.points.retain(|(known, _)| **known != *label);
        with.points.push((label.into(), value));
        (with.encoded_len() <= MAX_LEN).then_some(with)
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut stored = Vec::with_capacity(self.encoded_len());
        for (label, value) in &self.points {
            stored.put_u8(u8::try_from(label.len()).unwrap_or(u8::MAX));
            stored.put_slice(label.as_bytes());
            stored.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
            stored.put_slice(value);
        }
        stored.into()
    }

    /// Reads what is stored; values stay slices of it.
    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let mut points = Vec::new();
        while !stored.is_empty() {
            let length = stored.try_get_u8().ok()?;
            let label = slice(&mut stored, length.into())?;
            let length = stored.try_get_u32().ok()?;
            let value = slice(&mut stored, usize::try_from(length).ok()?)?;
            points.push((str::from_utf8(&label).ok()?.into(), value));
        }
        Some(Self { points })
    }

    fn encoded_len(&self) -> usize {
        let lengths = self
            .points
            .iter()
            .map(|(label, value)| 5 + label.len() + value.len());
        lengths.sum()
    }
}

/// The next `len` bytes, not copied.
fn slice(stored: &mut Bytes, len: usize) -> Option<Bytes> {
    (stored.len() >= len).then(|| stored.split_to(len))
}

/// The most bytes of a label.
const MAX_LABEL: usize = 64;

/// The most bytes of all points of a run together, labels included.
const MAX_LEN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(points in proptest::collection::vec(("[a-c]{1,2}", proptest::collection::vec(any::<u8>(), 0..9)), 0..6)) {
            let mut all = RecoveryPoints::default();
            for (label, value) in &points {
                all = all.with(label, value.clone().into()).unwrap();
            }
            let read = RecoveryPoints::decode(all.encode()).unwrap();
            prop_assert_eq!(&read, &all);
            for (label, _) in &points {
                let last = points.iter().rev().find(|(known, _)| known == label);
                prop_assert_eq!(read.get(label).map(|value| &**value), last.map(|(_, value)| &**value));
            }
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            _ = RecoveryPoints::decode(bytes.into());
        }
    }

    #[test]
    fn more_than_may_be_stored_is_refused() {
        let none = RecoveryPoints::default();
        assert!(none.with("", Bytes::new()).is_none());
        assert!(none.with(&"a".repeat(65), Bytes::new()).is_none());
        let most = MAX_LEN - 6;
        assert!(none.with("a", vec![0; most].into()).is_some());
        assert!(none.with("a", vec![0; most + 1].into()).is_none());
        let full = none.with("a", vec![0; most].into()).unwrap();
        assert!(full.with("b", Bytes::new()).is_none());
        assert!(full.with("a", Bytes::new()).is_some());
    }

    #[test]
    fn the_bytes_are_as_the_format_says() {
        let points = RecoveryPoints::default().with("ab", Bytes::from_static(b"c"));
        assert_eq!(points.unwrap().encode(), &b"\x02ab\0\0\0\x01c"[..]);
    }
}
