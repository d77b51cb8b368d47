//! Tokens that only their writer can read.

use cookie::{Cookie, CookieJar, Key};

use super::KeyRing;
use crate::session::token::Token;

/// Encrypts and decrypts the values of one cookie: AES-256-GCM as the `cookie` crate's private jar
/// does it, with the cookie's name as associated data.
pub(super) struct Cipher {
    name: Box<str>,
    keys: Box<[Key]>,
}

impl Cipher {
    pub(super) fn new(name: &str, keys: &KeyRing) -> Self {
        Self {
            name: name.into(),
            keys: keys
                .derive::<KEY_LEN>(CONTEXT)
                .map(|key| Key::from(&key))
                .collect(),
        }
    }

    /// The token of this value, if one of the keys encrypted it.
    pub(super) fn read(&self, value: &[u8]) -> Option<Token> {
        if value.len() != ENCRYPTED_LEN {
            return None;
        }
        let value = str::from_utf8(value).ok()?;
        let decrypted = |key| {
            let encrypted = Cookie::new(self.name.to_string(), value.to_owned());
            CookieJar::new().private(key).decrypt(encrypted)
        };
        let cookie = self.keys.iter().find_map(decrypted)?;
        Token::parse(cookie.value().as_bytes())
    }

    /// The token, encrypted by the first key.
    pub(super) fn encrypt(&self, token: &Token) -> Vec<u8> {
        let text = String::from_utf8_lossy(&token.text()).into_owned();
        let mut jar = CookieJar::new();
        if let Some(key) = self.keys.first() {
            jar.private_mut(key)
                .add(Cookie::new(self.name.to_string(), text));
        }
        let encrypted = jar.get(&self.name).map(|cookie| cookie.value().into());
        encrypted.unwrap_or_default()
    }
}

const CONTEXT: &str = "tower-stash 2026 session cookie encryption v1";

/// Of a key of the `cookie` crate, of which the latter half encrypts.
const KEY_LEN: usize = 64;

/// A nonce of 12 bytes, the token, a tag of 16; as padded base64.
const ENCRYPTED_LEN: usize = (12 + Token::TEXT_LEN + 16).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(name: &str, secrets: &[&[u8]]) -> Cipher {
        Cipher::new(name, &KeyRing::new(secrets).unwrap())
    }

    const A: &[u8] = &[b'a'; 32];
    const B: &[u8] = &[b'b'; 32];

    #[test]
    fn an_encrypted_token_shows_nothing_and_is_read_back() {
        let token = Token::random().unwrap();
        let cipher = cipher("id", &[A]);
        let encrypted = cipher.encrypt(&token);
        assert_eq!(encrypted.len(), 124);
        assert_eq!(cipher.read(&encrypted), Some(token));
        assert!(
            !encrypted
                .windows(8)
                .any(|part| token.text().starts_with(part))
        );
        assert_ne!(cipher.encrypt(&token), encrypted);
    }

    #[test]
    fn a_token_alone_is_no_encrypted_token() {
        let token = Token::random().unwrap();
        let cipher = cipher("id", &[A]);
        assert_eq!(cipher.read(&token.text()), None);
        let encrypted = cipher.encrypt(&token);
        assert_eq!(cipher.read(&encrypted[..123]), None);
        assert_eq!(cipher.read(&[&encrypted[..], b"="].concat()), None);
        assert_eq!(cipher.read(&[0xff; 124]), None);
    }

    #[test]
    fn an_encrypted_token_holds_in_each_bit() {
        let cipher = cipher("id", &[A]);
        let encrypted = cipher.encrypt(&Token::random().unwrap());
        for place in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(cipher.read(&changed), None, "{place}");
        }
    }

    #[test]
    fn an_encrypted_token_holds_for_one_name() {
        let encrypted = cipher("id", &[A]).encrypt(&Token::random().unwrap());
        assert_eq!(cipher("other", &[A]).read(&encrypted), None);
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let token = Token::random().unwrap();
        let old = cipher("id", &[A]).encrypt(&token);
        let rotated = cipher("id", &[B, A]);
        assert_eq!(rotated.read(&old), Some(token));
        assert_eq!(
            cipher("id", &[B]).read(&rotated.encrypt(&token)),
            Some(token)
        );
        assert_eq!(cipher("id", &[A]).read(&rotated.encrypt(&token)), None);
        assert_eq!(cipher("id", &[B]).read(&old), None);
    }
}
