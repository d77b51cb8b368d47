//! Who fetches a response.
//!
//! ```text
//! 'l' 1 | 'f' | token 16
//! 'l' 1 | 'p' | reason u8
//! ```

use bytes::{Buf as _, Bytes};

use super::{FORMAT, LEASE, bytes::take_array};

/// What tells a lease from every other.
pub(in crate::cache) type LeaseToken = [u8; 16];

/// What stands under the key of a response that is fetched, or was tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Lease {
    /// The one that made this token fetches it, or did.
    Filling(LeaseToken),
    /// Responses are not stored at present, for this reason: nobody is to wait for one.
    Pass(u8),
}

impl Lease {
    /// The bytes to be stored.
    pub(in crate::cache) fn encode(self) -> Bytes {
        match self {
            Self::Filling(token) => [&[LEASE, FORMAT, FILLING][..], &token].concat().into(),
            Self::Pass(reason) => Bytes::copy_from_slice(&[LEASE, FORMAT, PASS, reason]),
        }
    }

    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let lease = match stored.try_get_u8().ok()? {
            FILLING => Self::Filling(take_array(&mut stored)?),
            PASS => Self::Pass(stored.try_get_u8().ok()?),
            _ => return None,
        };
        stored.is_empty().then_some(lease)
    }
}

const FILLING: u8 = b'f';
const PASS: u8 = b'p';
