//! Numbers and pieces of records.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};

use crate::{clock::Timestamp, key::Digest};

/// A number in as few bytes as it needs.
pub(super) fn put_number(stored: &mut Vec<u8>, mut number: u64) {
    while let Some(more) = more_than_seven_bits(number) {
        stored.put_u8(low_bits(number) | MORE);
        number = more;
    }
    stored.put_u8(low_bits(number));
}

/// In how many bytes [`put_number`] writes it.
pub(super) fn number_len(mut number: u64) -> usize {
    let mut len = 1;
    while let Some(more) = more_than_seven_bits(number) {
        number = more;
        len += 1;
    }
    len
}

/// `None` too if it could have been written in fewer bytes, or is none of 64 bits.
pub(super) fn take_number(stored: &mut Bytes) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = stored.try_get_u8().ok()?;
        let bits = u64::from(byte & !MORE);
        let placed = bits << shift;
        if placed >> shift != bits {
            return None;
        }
        number |= placed;
        if byte & MORE == 0 {
            let is_shortest = byte != 0 || shift == 0;
            return is_shortest.then_some(number);
        }
    }
    None
}

/// A number of things that follow, each of at least so many bytes; `None` if there cannot be as many.
pub(super) fn take_count(stored: &mut Bytes, min_len: usize) -> Option<usize> {
    let count = usize::try_from(take_number(stored)?).ok()?;
    (count <= stored.len() / min_len).then_some(count)
}

/// As many bytes as the number before them says, not copied.
pub(super) fn take_piece(stored: &mut Bytes) -> Option<Bytes> {
    let len = take_count(stored, 1)?;
    Some(stored.split_to(len))
}

pub(super) fn put_piece(stored: &mut Vec<u8>, piece: &[u8]) {
    put_number(stored, piece.len() as u64);
    stored.put_slice(piece);
}

/// In how many bytes [`put_piece`] writes it.
pub(super) fn piece_len(piece: &[u8]) -> usize {
    number_len(piece.len() as u64) + piece.len()
}

pub(super) fn take_array<const N: usize>(stored: &mut Bytes) -> Option<[u8; N]> {
    let mut array = [0; N];
    stored.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}

pub(super) fn take_digest(stored: &mut Bytes) -> Option<Digest> {
    take_array(stored).map(Digest::from_bytes)
}

pub(super) fn take_timestamp(stored: &mut Bytes) -> Option<Timestamp> {
    stored.try_get_u64().ok().map(Timestamp::from_micros)
}

pub(super) fn take_millis(stored: &mut Bytes) -> Option<Duration> {
    take_number(stored).map(Duration::from_millis)
}

/// In whole milliseconds, rounded down.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn more_than_seven_bits(number: u64) -> Option<u64> {
    Some(number >> 7).filter(|more| *more != 0)
}

fn low_bits(number: u64) -> u8 {
    let [.., low] = number.to_be_bytes();
    low & !MORE
}

/// Set in each byte of a number but its last.
const MORE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: u64) -> Vec<u8> {
        let mut stored = Vec::new();
        put_number(&mut stored, number);
        stored
    }

    fn taken(stored: &[u8]) -> Option<(u64, usize)> {
        let mut stored = Bytes::copy_from_slice(stored);
        let number = take_number(&mut stored)?;
        Some((number, stored.len()))
    }

    #[test]
    fn numbers_at_the_edges_are_read_as_they_were_written() {
        let edges = (0..u64::BITS).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1]
        });
        for number in edges.chain([u64::MAX]) {
            let stored = written(number);
            assert_eq!(stored.len(), number_len(number), "{number}");
            assert_eq!(taken(&stored), Some((number, 0)));
        }
    }

    #[test]
    fn small_numbers_take_one_byte_and_the_largest_ten() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [127]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(u64::MAX).len(), 10);
    }

    #[test]
    fn a_number_that_could_be_shorter_or_is_too_large_is_refused() {
        for stored in [
            &[][..],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0x80, 0],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[
                0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
            ],
        ] {
            assert_eq!(taken(stored), None, "{stored:?}");
        }
    }

    #[test]
    fn more_than_there_is_is_no_count() {
        let count =
            |stored: &'static [u8], min_len| take_count(&mut Bytes::from_static(stored), min_len);
        assert_eq!(count(&[2, 0, 0, 0, 0], 2), Some(2));
        assert_eq!(count(&[2, 0, 0, 0], 2), None);
        assert_eq!(count(&[0], 16), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_number_is_written_so(stored: [u8; 11]) {
            if let Some((number, rest)) = taken(&stored) {
                prop_assert_eq!(&*written(number), &stored[..stored.len() - rest]);
            }
        }
    }
}
