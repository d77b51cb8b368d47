//! Stored bodies in fewer bytes.

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::cache::semantics::coding::is_worth_it;

/// A body that takes less room; `None` if it would not take much less.
pub(super) async fn packed(body: &[Bytes]) -> Option<Bytes> {
    let length: usize = body.iter().map(Bytes::len).sum();
    let packed = if length > LONGEST_INLINE {
        let body = body.to_vec();
        spawn_blocking(move || gzip::pack(&body)).await.ok()??
    } else {
        gzip::pack(body)?
    };
    is_worth_it(packed.len(), length).then_some(packed)
}

/// What was [`packed`], of this length; `None` if it is not.
pub(super) async fn unpacked(packed: &Bytes, length: usize) -> Option<Bytes> {
    if length > LONGEST_INLINE {
        let packed = packed.clone();
        return spawn_blocking(move || gzip::unpack(&packed, length))
            .await
            .ok()?;
    }
    gzip::unpack(packed, length)
}

#[cfg(feature = "compression")]
mod gzip {
    use std::io::{Read as _, Write as _};

    use bytes::Bytes;
    use flate2::{Compression, read::GzDecoder, write::GzEncoder};

    pub(super) fn pack(body: &[Bytes]) -> Option<Bytes> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for chunk in body {
            encoder.write_all(chunk).ok()?;
        }
        encoder.finish().ok().map(Bytes::from)
    }

    /// No more is unpacked than was packed, whatever the bytes say.
    pub(super) fn unpack(packed: &[u8], length: usize) -> Option<Bytes> {
        let usual = packed.len().saturating_mul(USUAL_RATIO);
        let mut unpacked = Vec::with_capacity(length.min(usual));
        let one_more = u64::try_from(length).ok()?.checked_add(1)?;
        let mut decoder = GzDecoder::new(packed).take(one_more);
        decoder.read_to_end(&mut unpacked).ok()?;
        (unpacked.len() == length).then(|| unpacked.into())
    }

    /// Few texts shrink more than that; for those that do, room is made as they are unpacked.
    const USUAL_RATIO: usize = 16;
}

/// Without it nothing is packed, and what others packed is as if it were not there, but for those who
/// take it as it is.
#[cfg(not(feature = "compression"))]
mod gzip {
    use bytes::Bytes;

    pub(super) fn pack(_: &[Bytes]) -> Option<Bytes> {
        None
    }

    pub(super) fn unpack(_: &[u8], _: usize) -> Option<Bytes> {
        None
    }
}

/// What takes longer keeps others of the same thread waiting.
const LONGEST_INLINE: usize = 64 * 1024;

#[cfg(all(test, feature = "compression"))]
mod tests {
    use super::*;

    fn text(lines: usize) -> Vec<Bytes> {
        (0..lines)
            .map(|line| Bytes::from(format!("{{\"id\":{line},\"name\":\"product {line}\"}}\n")))
            .collect()
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked_the_same() {
        for lines in [100, 10_000] {
            let body = text(lines);
            let whole = body.concat();
            let packed = packed(&body).await.unwrap();
            assert!(packed.len() * 2 < whole.len());
            let unpacked = unpacked(&packed, whole.len()).await.unwrap();
            assert_eq!(unpacked, whole);
        }
    }

    #[tokio::test]
    async fn what_does_not_shrink_is_not_packed() {
        let mut random = vec![0; 4096];
        getrandom::fill(&mut random).unwrap();
        assert_eq!(packed(&[random.into()]).await, None);
        assert_eq!(packed(&[Bytes::from(vec![0; 1023])]).await, None);
        assert_eq!(packed(&[]).await, None);
    }

    #[tokio::test]
    async fn no_more_is_unpacked_than_was_packed() {
        let bomb = packed(&[Bytes::from(vec![0; 1024 * 1024])]).await.unwrap();
        assert!(bomb.len() < 2048);
        for length in [0, 1, 1024 * 1024 - 1, 1024 * 1024 + 1, usize::MAX] {
            assert_eq!(unpacked(&bomb, length).await, None);
        }
    }

    #[tokio::test]
    async fn damaged_bytes_are_not_unpacked() {
        let body = text(100);
        let length = body.concat().len();
        let packed = packed(&body).await.unwrap();
        for at in 0..packed.len() {
            let mut damaged = packed.to_vec();
            damaged[at] ^= 1;
            // What is not compressed data, such as the time in its head, may differ.
            if let Some(unpacked) = unpacked(&damaged.into(), length).await {
                assert_eq!(unpacked, body.concat());
            }
            assert_eq!(super::unpacked(&packed.slice(..at), length).await, None);
        }
    }
}
