//! Tokens, read as the format says.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_stash::key::Key;

use super::super::{Verdict, program::TokenChoice};

/// A token that a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) digest: [u8; 32],
    pub(super) secret: Vec<u8>,
    pub(super) key: Option<Key>,
}

impl Token {
    pub(crate) fn new(text: &str, key: Option<Key>) -> Verdict<Self> {
        let secret = secret(text).ok_or_else(|| format!("{text} is no token"))?;
        Ok(Self {
            text: text.to_owned(),
            digest: digest(&secret),
            secret,
            key,
        })
    }

    /// Whether the secret is there, as it is or as text.
    pub(super) fn is_in(&self, value: &[u8]) -> bool {
        let text = URL_SAFE_NO_PAD.encode(&self.secret);
        let within_token = &self.text.as_bytes()[22..];
        [&self.secret[..], text.as_bytes(), within_token]
            .iter()
            .any(|secret| has(value, secret))
    }
}

impl TokenChoice {
    /// The token as text.
    pub(crate) fn text(self, tokens: &[Token]) -> Option<String> {
        let issued = |back: usize| {
            let place = tokens.len().checked_sub(1 + back % tokens.len().max(1))?;
            Some(tokens[place].text.clone())
        };
        match self {
            Self::None => None,
            Self::Issued(back) => issued(back),
            Self::Forged(back) => {
                issued(back).map(|text| format!("{}{}", &text[..24], &"A".repeat(40)))
            }
            Self::Unknown => Some("A".repeat(64)),
            Self::Malformed(back) => issued(back).map(|text| text[..63].to_owned()),
        }
    }
}

fn has(value: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let starts = value.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts
        .into_iter()
        .any(|(start, _)| value[start..].starts_with(part))
}

pub(super) fn secret(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == 48).then(|| bytes[16..].to_vec())
}

pub(super) fn digest(secret: &[u8]) -> [u8; 32] {
    blake3::derive_key("tower-stash 2026 session secret v1", secret)
}
