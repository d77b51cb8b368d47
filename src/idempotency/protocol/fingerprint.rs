//! What a request asks for, in 32 bytes.

use std::fmt;

/// Stands for all that must be the same when a key comes again; compared in constant time.
#[derive(Clone, Copy)]
pub(in crate::idempotency) struct Fingerprint([u8; Self::LEN]);

impl Fingerprint {
    pub(in crate::idempotency) const LEN: usize = 32;

    pub(in crate::idempotency) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(in crate::idempotency) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Fingerprint {}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}
