//! What a client holds: which session, and the proof that it is the client's.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The public name of a session: it finds the record, and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Handle([u8; Self::LEN]);

impl Handle {
    pub(super) const LEN: usize = 16;

    pub(super) fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The proof that a client may use a session; never stored, never shown.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; Self::LEN]);

impl Secret {
    pub(super) const LEN: usize = 32;

    pub(super) fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }

    /// What is stored in its place.
    pub(super) fn digest(&self) -> SecretDigest {
        SecretDigest(blake3::derive_key(CONTEXT, &self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Stands for a secret in the store; compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct SecretDigest([u8; Self::LEN]);

impl SecretDigest {
    pub(super) const LEN: usize = 32;

    /// No secret has this digest.
    pub(super) const NONE: Self = Self([0; Self::LEN]);

    pub(super) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}

/// What a client presents: a handle and a secret, as 64 characters of base64url without spare bits,
/// so that each token has one spelling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) handle: Handle,
    pub(super) secret: Secret,
}

impl Token {
    /// The length of a token as text.
    pub(super) const TEXT_LEN: usize = 64;

    /// The token of a session that nobody has heard of.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        Self::renewed(Handle::random()?)
    }

    /// Another token of this session.
    pub(super) fn renewed(handle: Handle) -> Result<Self, getrandom::Error> {
        Ok(Self {
            handle,
            secret: Secret::random()?,
        })
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let mut bytes = [0; Handle::LEN + Secret::LEN];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (handle, secret) = bytes.get(..written)?.split_at_checked(Handle::LEN)?;
        Some(Self {
            handle: Handle(handle.try_into().ok()?),
            secret: Secret(secret.try_into().ok()?),
        })
    }

    /// The token as text: ASCII.
    pub(super) fn text(&self) -> [u8; Self::TEXT_LEN] {
        let mut bytes = [0; Handle::LEN + Secret::LEN];
        let (handle, secret) = bytes.split_at_mut(Handle::LEN);
        handle.copy_from_slice(&self.handle.0);
        secret.copy_from_slice(&self.secret.0);
        let mut text = [0; Self::TEXT_LEN];
        // There is room for all of it.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        text
    }
}

/// Equal tokens, told in constant time, and without a digest: a client may send thousands.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let secret = |token: &Self| blake3::Hash::from_bytes(token.secret.0);
        self.handle == other.handle && secret(self) == secret(other)
    }
}

impl Eq for Token {}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

const CONTEXT: &str = "tower-stash 2026 session secret v1";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token::random().unwrap();
        assert_eq!(Token::parse(&token.text()), Some(token));
    }

    #[test]
    fn a_token_of_another_length_or_alphabet_is_none() {
        let text = Token::random().unwrap().text();
        assert_eq!(Token::parse(&text[..63]), None);
        assert_eq!(Token::parse(&[&text[..], b"A"].concat()), None);
        for wrong in [b'+', b'/', b'=', b'%', b' ', 0, 0xff] {
            let mut text = text;
            text[10] = wrong;
            assert_eq!(Token::parse(&text), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let token = Token::random().unwrap();
        let shown = format!("{token:?} {:?}", token.secret.digest());
        let text = String::from_utf8(token.text().to_vec()).unwrap();
        assert!(!shown.contains(&text[24..40]));
    }

    proptest! {
        #[test]
        fn no_two_texts_are_one_token(text in "[A-Za-z0-9_-]{64}") {
            let token = Token::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&token.text()[..], text.as_bytes());
        }
    }
}
