//! The keys that sign or encrypt cookies.

use std::fmt;

use blake3::{Hash, Hasher};

use crate::{
    error::ConfigError,
    secret::{self, Root},
};

/// One to four keys, made from secrets: the first writes cookies, all of them read.
///
/// To replace a secret, put the new one first and keep the old one until the cookies that it wrote
/// have run out. While instances with the old list still run, they cannot read what the new key
/// writes; to avoid that, put the new secret last in one rollout and first in the next.
///
/// A secret is 32 random bytes or more, as text or not; `openssl rand -base64 32` prints one. All
/// instances need the same. The ring keeps what it derives from them, and shows none of it.
///
/// ```
/// use tower_stash::session::KeyRing;
///
/// # let (current, previous) = ("kK8mkOIw0ZyLzHnlqvHhTFQ7jTfs5rYhd5VSy0pBUnQ=", "AeLb8TjEJt7k3LFRmdHcmzCQWZlvBKUN7oI0TzbpEqw=");
/// let keys = KeyRing::new([current, previous])?;
/// assert_eq!(format!("{keys:?}"), "KeyRing(2 keys)");
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    /// One or more.
    roots: Vec<Root>,
}

impl KeyRing {
    /// As many keys as a ring may have: four.
    pub const MAX_KEYS: usize = 4;

    /// The shortest secret: 32 bytes.
    pub const MIN_SECRET_LEN: usize = secret::MIN_LEN;

    /// The ring of these secrets, the one that writes first.
    ///
    /// # Errors
    ///
    /// No secret, more than four, one that is shorter than 32 bytes, and one that is there twice.
    pub fn new<I>(secrets: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut ring = Self { roots: Vec::new() };
        for secret in secrets {
            ring.push(secret.as_ref())?;
        }
        if ring.roots.is_empty() {
            return Err(ConfigError::new(format!(
                "key ring: no secret; write one of {} random bytes or more, as \
                 `openssl rand -base64 32` prints it",
                Self::MIN_SECRET_LEN
            )));
        }
        Ok(ring)
    }

    /// `N` bytes of each key for the use that `context` names, the writing key's first.
    pub(super) fn derive<const N: usize>(
        &self,
        context: &'static str,
    ) -> impl Iterator<Item = [u8; N]> {
        self.roots.iter().map(|root| {
            let mut key = [0; N];
            Hasher::new_derive_key(context)
                .update(root)
                .finalize_xof()
                .fill(&mut key);
            key
        })
    }

    fn push(&mut self, secret: &[u8]) -> Result<(), ConfigError> {
        let root = secret::root("key ring", CONTEXT, secret)?;
        if self.roots.len() == Self::MAX_KEYS {
            return Err(ConfigError::new(format!(
                "key ring: more than {} secrets; leave out the oldest, whose cookies have run out",
                Self::MAX_KEYS
            )));
        }
        if self.roots.contains(&root) {
            return Err(ConfigError::new(
                "key ring: a secret is there twice; write each once, the newest first",
            ));
        }
        self.roots.push(root);
        Ok(())
    }
}

/// Compares in constant time.
impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        self.roots.len() == other.roots.len()
            && self
                .roots
                .iter()
                .zip(&other.roots)
                .all(|(one, other)| Hash::from_bytes(*one) == Hash::from_bytes(*other))
    }
}

impl Eq for KeyRing {}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.roots.len() {
            1 => f.write_str("KeyRing(1 key)"),
            keys => write!(f, "KeyRing({keys} keys)"),
        }
    }
}

const CONTEXT: &str = "tower-stash 2026 session key ring v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<const N: usize>(secrets: [&str; N]) -> String {
        KeyRing::new(secrets).unwrap_err().to_string()
    }

    #[test]
    fn a_ring_of_no_too_many_or_short_secrets_is_refused_and_says_how_to_make_one() {
        assert!(problem([]).contains("openssl rand -base64 32"));
        assert!(problem([&"x".repeat(31)]).contains("openssl rand -base64 32"));
        assert!(problem([&"x".repeat(32), ""]).contains("a secret of 0 bytes"));
        let five = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(32));
        assert!(KeyRing::new(&five[..4]).is_ok());
        let refused = KeyRing::new(&five).unwrap_err().to_string();
        assert!(refused.contains("leave out the oldest"));
        assert!(problem([&five[0], &five[0]]).contains("there twice"));
    }

    #[test]
    fn rings_are_equal_if_their_secrets_are_in_order() {
        let [a, b] = ["a", "b"].map(|letter| letter.repeat(32));
        let ring = KeyRing::new([&a, &b]).unwrap();
        assert_eq!(ring, KeyRing::new([&a, &b]).unwrap());
        assert_ne!(ring, KeyRing::new([&b, &a]).unwrap());
        assert_ne!(ring, KeyRing::new([&a]).unwrap());
    }

    #[test]
    fn no_message_shows_a_secret() {
        let secret = "correct horse battery";
        assert!(!problem([secret]).contains(secret));
        let ring = KeyRing::new([secret.repeat(2)]).unwrap();
        assert_eq!(format!("{ring:?}"), "KeyRing(1 key)");
    }
}
