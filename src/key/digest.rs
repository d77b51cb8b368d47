//! What stands for the parts in a key.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{KeyPart, KeyParts};

/// Turns parts into digests, under a key of its own.
///
/// With the default key anyone can compute the digest of a guess, so who reads the store can test
/// whether a given address is in it, and who picks identifiers freely can look for one in a given
/// Cluster slot. With a secret neither works.
#[derive(Clone)]
pub(crate) struct Digester {
    key: [u8; blake3::KEY_LEN],
}

impl Digester {
    /// Digests under this secret, which all instances must share.
    pub(crate) fn with_secret(secret: &[u8]) -> Self {
        Self {
            key: blake3::derive_key("tower-stash 2026 key digest v1", secret),
        }
    }

    pub(crate) fn digest(&self, parts: &KeyParts) -> Digest {
        let (digest, _) = halves(self.hash(parts));
        digest
    }

    /// The [`digest`](Self::digest), and as many bits again, by which what is stored under its key
    /// can be told from what belongs to other parts of the same digest.
    #[cfg(feature = "cache")]
    pub(crate) fn digest_and_check(&self, parts: &KeyParts) -> (Digest, Digest) {
        halves(self.hash(parts))
    }

    /// All that a digest could be; compared in constant time.
    pub(crate) fn hash(&self, parts: &KeyParts) -> blake3::Hash {
        blake3::keyed_hash(&self.key, parts.as_bytes())
    }

    /// The [`hash`](Self::hash) of these parts and one more of bytes, which are not copied.
    #[cfg(feature = "idempotency")]
    pub(crate) fn hash_with_tail(&self, parts: &KeyParts, tail: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(parts.as_bytes());
        hasher.update(&KeyParts::frame_of_bytes(tail.len()));
        hasher.update(tail);
        hasher.finalize()
    }
}

impl Default for Digester {
    fn default() -> Self {
        Self::with_secret(b"")
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

fn halves(hash: blake3::Hash) -> (Digest, Digest) {
    let mut halves = (Digest([0; Digest::LEN]), Digest([0; Digest::LEN]));
    let (first, second) = hash.as_bytes().split_at(Digest::LEN);
    halves.0.0.copy_from_slice(first);
    halves.1.0.copy_from_slice(second);
    halves
}

/// What tells apart the few things of one subject that have this name.
///
/// Not under a secret: names are the program's own.
pub(crate) fn name_id(name: impl KeyPart) -> u64 {
    let name = KeyParts::new().with(name);
    Digester::default().digest(&name).short()
}

/// 128 bits that stand for some parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; Self::LEN]);

impl Digest {
    pub(crate) const LEN: usize = 16;

    /// Length in base64url without padding.
    pub(super) const TEXT_LEN: usize = 22;

    /// The digest of these bytes, which were once read from [`as_bytes`](Self::as_bytes).
    #[cfg(feature = "cache")]
    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    #[cfg(feature = "cache")]
    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The digest as base64url.
    pub(super) fn text(self) -> [u8; Self::TEXT_LEN] {
        let mut text = [0; Self::TEXT_LEN];
        // There is room for all of it.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        text
    }

    /// The first 64 bits.
    pub(crate) fn short(self) -> u64 {
        self.0
            .iter()
            .take(8)
            .fold(0, |short, byte| (short << 8) | u64::from(*byte))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}
