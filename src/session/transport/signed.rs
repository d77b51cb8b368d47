//! Tokens with a signature behind them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use blake3::{Hash, Hasher};

use super::KeyRing;
use crate::session::token::Token;

/// Signs and verifies the values of one cookie.
///
/// The signature is the first 144 bits of BLAKE3, keyed, over the cookie's name with its length
/// before it, the format and the token. So that of another cookie is worth nothing here, whatever
/// keys they share.
pub(super) struct Signer {
    name: Box<str>,
    keys: Box<[[u8; blake3::KEY_LEN]]>,
}

impl Signer {
    pub(super) fn new(name: &str, keys: &KeyRing) -> Self {
        Self {
            name: name.into(),
            keys: keys.derive(CONTEXT).collect(),
        }
    }

    /// The token of this value, if one of the keys signed it.
    pub(super) fn read(&self, value: &[u8]) -> Option<Token> {
        if value.len() != SIGNED_LEN {
            return None;
        }
        let (text, signature) = value.split_at_checked(Token::TEXT_LEN)?;
        let token = Token::parse(text)?;
        let mut sent = [0; SIGNATURE_LEN];
        URL_SAFE_NO_PAD.decode_slice(signature, &mut sent).ok()?;
        let is_ours = |key| is_equal(sent, self.signature(key, text));
        self.keys.iter().any(is_ours).then_some(token)
    }

    /// The token and its signature by the first key.
    pub(super) fn sign(&self, token: &Token) -> [u8; SIGNED_LEN] {
        let mut signed = [0; SIGNED_LEN];
        let (text, signature) = signed.split_at_mut(Token::TEXT_LEN);
        text.copy_from_slice(&token.text());
        if let Some(key) = self.keys.first() {
            // There is room for exactly this.
            let _ = URL_SAFE_NO_PAD.encode_slice(self.signature(key, text), signature);
        }
        signed
    }

    fn signature(&self, key: &[u8; blake3::KEY_LEN], text: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut signature = [0; SIGNATURE_LEN];
        Hasher::new_keyed(key)
            .update(&(self.name.len() as u64).to_be_bytes())
            .update(self.name.as_bytes())
            .update(&[FORMAT])
            .update(text)
            .finalize_xof()
            .fill(&mut signature);
        signature
    }
}

/// In constant time.
fn is_equal(one: [u8; SIGNATURE_LEN], other: [u8; SIGNATURE_LEN]) -> bool {
    padded(one) == padded(other)
}

fn padded(signature: [u8; SIGNATURE_LEN]) -> Hash {
    let mut bytes = [0; blake3::OUT_LEN];
    let (start, _) = bytes.split_at_mut(SIGNATURE_LEN);
    start.copy_from_slice(&signature);
    Hash::from_bytes(bytes)
}

const CONTEXT: &str = "tower-stash 2026 session cookie signature v1";

/// Of what is signed, and how.
const FORMAT: u8 = 1;

const SIGNATURE_LEN: usize = 18;

/// The length of a token and its signature.
const SIGNED_LEN: usize = Token::TEXT_LEN + SIGNATURE_LEN / 3 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str, secrets: &[&[u8]]) -> Signer {
        Signer::new(name, &KeyRing::new(secrets).unwrap())
    }

    const A: &[u8] = &[b'a'; 32];
    const B: &[u8] = &[b'b'; 32];

    #[test]
    fn a_signed_token_has_88_characters_and_is_read_back() {
        let token = Token::random().unwrap();
        let signed = signer("id", &[A]).sign(&token);
        assert_eq!(signed.len(), 88);
        assert_eq!(signer("id", &[A]).read(&signed), Some(token));
    }

    #[test]
    fn a_token_alone_is_no_signed_token() {
        let token = Token::random().unwrap();
        let ours = signer("id", &[A]);
        assert_eq!(ours.read(&token.text()), None);
        assert_eq!(ours.read(&[&token.text()[..], &[b'A'; 24]].concat()), None);
        let signed = ours.sign(&token);
        for len in 0..88 {
            assert_eq!(ours.read(&signed[..len]), None, "{len}");
        }
        assert_eq!(ours.read(&[&signed[..], b"A"].concat()), None);
    }

    #[test]
    fn a_signature_holds_for_each_bit_of_itself_and_of_its_token() {
        let ours = signer("id", &[A]);
        let signed = ours.sign(&Token::random().unwrap());
        for place in 0..signed.len() {
            let mut changed = signed;
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.read(&changed), None, "{place}");
        }
    }

    #[test]
    fn a_signature_holds_for_one_name() {
        let token = Token::random().unwrap();
        let signed = signer("id", &[A]).sign(&token);
        for other in ["i", "idd", "Id", "__Host-id"] {
            assert_eq!(signer(other, &[A]).read(&signed), None, "{other}");
        }
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let token = Token::random().unwrap();
        let old = signer("id", &[A]).sign(&token);
        let rotated = signer("id", &[B, A]);
        assert_eq!(rotated.read(&old), Some(token));
        assert_eq!(signer("id", &[B]).read(&rotated.sign(&token)), Some(token));
        assert_eq!(signer("id", &[A]).read(&rotated.sign(&token)), None);
        assert_eq!(signer("id", &[B]).read(&old), None);
    }

    /// Cookies that are out there verify only as long as this stays as it is.
    #[test]
    fn a_signature_is_made_as_the_format_says() {
        let token = Token::parse(&[b'A'; 64]).unwrap();
        let root = blake3::derive_key("tower-stash 2026 session key ring v1", A);
        let key = blake3::derive_key("tower-stash 2026 session cookie signature v1", &root);
        let framed = [b"\0\0\0\0\0\0\0\x09__Host-id\x01", &[b'A'; 64][..]].concat();
        let hash = blake3::keyed_hash(&key, &framed);
        let signature = URL_SAFE_NO_PAD.encode(&hash.as_bytes()[..18]);
        let signed = signer("__Host-id", &[A]).sign(&token);
        assert_eq!(&signed[64..], signature.as_bytes());
    }
}
