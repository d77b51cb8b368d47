//! What stands for a token in a cookie.

use super::SessionCookie;
#[cfg(feature = "private-cookies")]
use super::private::Cipher;
#[cfg(feature = "signed-cookies")]
use super::signed::Signer;
use crate::session::token::Token;

/// How tokens are written as the value of a cookie.
pub(super) enum Values {
    /// As they are.
    Plain,
    /// With a signature behind them.
    #[cfg(feature = "signed-cookies")]
    Signed(Signer),
    /// Encrypted.
    #[cfg(feature = "private-cookies")]
    Private(Cipher),
}

impl Values {
    /// Those of this cookie, whose keys are of one kind at most.
    pub(super) fn of(cookie: &SessionCookie) -> Self {
        #[cfg(feature = "signed-cookies")]
        if let Some(keys) = cookie.signing_keys() {
            return Self::Signed(Signer::new(cookie.name(), keys));
        }
        #[cfg(feature = "private-cookies")]
        if let Some(keys) = cookie.encryption_keys() {
            return Self::Private(Cipher::new(cookie.name(), keys));
        }
        let _ = cookie;
        Self::Plain
    }

    /// The token that this value stands for, if we wrote it.
    pub(super) fn read(&self, value: &[u8]) -> Option<Token> {
        match self {
            Self::Plain => Token::parse(value),
            #[cfg(feature = "signed-cookies")]
            Self::Signed(signer) => signer.read(value),
            #[cfg(feature = "private-cookies")]
            Self::Private(cipher) => cipher.read(value),
        }
    }

    /// Appends what stands for a token: nothing that a cookie's value may not hold.
    pub(super) fn append(&self, token: &Token, to: &mut Vec<u8>) {
        match self {
            Self::Plain => to.extend_from_slice(&token.text()),
            #[cfg(feature = "signed-cookies")]
            Self::Signed(signer) => to.extend_from_slice(&signer.sign(token)),
            #[cfg(feature = "private-cookies")]
            Self::Private(cipher) => to.extend_from_slice(&cipher.encrypt(token)),
        }
    }

    /// The longest value of any kind.
    pub(super) const MAX_LEN: usize = 124;
}
