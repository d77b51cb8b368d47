//! Tokens that a form brings back, so that no other site's page can have made it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use blake3::Hash;

use super::super::{
    Session, SessionError, SessionErrorKind,
    state::{StagedIdentity, Standing, State},
};
use crate::key::KeyParts;

/// What a session's tokens are made from; stored with it, and told to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct CsrfSeed([u8; Self::LEN]);

impl CsrfSeed {
    const LEN: usize = 16;

    pub(in crate::session) fn random() -> Result<Self, getrandom::Error> {
        let mut seed = [0; Self::LEN];
        getrandom::fill(&mut seed)?;
        Ok(Self(seed))
    }

    pub(in crate::session) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(in crate::session) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for CsrfSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfSeed")
    }
}

impl<M> Session<M> {
    /// A token for a form or a page's script to bring back, so that
    /// [`verify_csrf_token`](Self::verify_csrf_token) knows the page for one that this session was
    /// given. Begins a session if there is none, as [`start`](Self::start) does.
    ///
    /// [`Csrf`](super::Csrf) needs no token, and is enough for all browsers since 2020. A token is
    /// for whom that does not reach, and for whom it must be shown to.
    ///
    /// It is 86 characters of base64url, others at each call, so that a compressed page does not give
    /// it away (BREACH). All are good as long as the session lives, until the next
    /// [`login`](Self::login): ask after that for what the new page is to have.
    ///
    /// # Errors
    ///
    /// [`Ended`](SessionErrorKind::Ended) if the session ended a moment ago: then `start` another
    /// first. [`NoCookie`](SessionErrorKind::NoCookie) and [`ReadOnly`](SessionErrorKind::ReadOnly)
    /// if there is no session, and the route begins none. See [the type](Self#errors).
    pub async fn csrf_token(&self) -> Result<String, SessionError> {
        self.visit().load().await?;
        let seed = match self.visit().read(State::csrf_seed) {
            Some(seed) => seed,
            None => self.visit().write_with_cookie(begin)?,
        };
        let mut mask = [0; blake3::OUT_LEN];
        getrandom::fill(&mut mask)?;
        let proof = xor(self.proof(seed).into(), mask);
        Ok(URL_SAFE_NO_PAD.encode([mask, proof].as_flattened()))
    }

    /// Whether this is one of the session's tokens; compared in constant time.
    ///
    /// Without a session it is none.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn verify_csrf_token(&self, token: &str) -> Result<bool, SessionError> {
        self.visit().load().await?;
        let Some(proof) = unmask(token) else {
            return Ok(false);
        };
        let mut seeds = self.visit().read(State::csrf_seeds).into_iter().flatten();
        Ok(seeds.any(|seed| self.proof(seed) == proof))
    }

    fn proof(&self, seed: CsrfSeed) -> Hash {
        let store = &self.visit().shared.store;
        let parts = KeyParts::new()
            .with(&store.family)
            .with("csrf")
            .with(seed.as_bytes().as_slice());
        store.digester.hash(&parts)
    }
}

/// Begins a session for its tokens.
fn begin(state: &mut State) -> Result<CsrfSeed, SessionError> {
    if matches!(
        (&state.standing, &state.identity),
        (Standing::Gone, StagedIdentity::Same)
    ) {
        return Err(SessionErrorKind::Ended.into());
    }
    state.stage(StagedIdentity::Started);
    Ok(state.next_csrf_seed()?)
}

fn unmask(token: &str) -> Option<Hash> {
    let mut bytes = [[0; blake3::OUT_LEN]; 2];
    let written = URL_SAFE_NO_PAD
        .decode_slice(token, bytes.as_flattened_mut())
        .ok()?;
    let [mask, proof] = bytes;
    (written == 2 * blake3::OUT_LEN).then(|| xor(proof, mask).into())
}

fn xor(mut bytes: [u8; blake3::OUT_LEN], mask: [u8; blake3::OUT_LEN]) -> [u8; blake3::OUT_LEN] {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_long_as_a_token_is_none() {
        for length in 0..=200 {
            let text = "A".repeat(length);
            assert_eq!(unmask(&text).is_some(), length == 86, "{length}");
        }
    }

    #[test]
    fn a_seed_does_not_show() {
        let shown = format!("{:?}", CsrfSeed::from_bytes([7; 16]));
        assert!(!shown.contains('7'), "{shown}");
    }
}
