//! A cookie without sessions, for tests.

use std::time::Duration;

use http::HeaderMap;

use super::{Presented, SessionCookie, Transport};
use crate::{error::ConfigError, session::token::Token};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl SessionCookie {
    /// The tokens that a request with these headers presents, as text; for tests.
    ///
    /// # Errors
    ///
    /// What a rule would refuse in this cookie.
    pub fn tokens_in(&self, headers: &HeaderMap) -> Result<Vec<String>, ConfigError> {
        let presented = Transport::cookie(self.clone())?.read(headers);
        let text = |token: Token| String::from_utf8_lossy(&token.text()).into_owned();
        Ok(presented.tokens().map(text).collect())
    }

    /// Appends the `Set-Cookie` that tells a client this token, for an hour; for tests.
    ///
    /// # Errors
    ///
    /// What a rule would refuse in this cookie, and what is no token: 64 characters of base64url.
    pub fn issue_in(&self, headers: &mut HeaderMap, token: &str) -> Result<(), ConfigError> {
        let Some(token) = Token::parse(token.as_bytes()) else {
            return Err(ConfigError::new(
                "not a token; write 64 of the characters A-Z a-z 0-9 - _",
            ));
        };
        let transport = Transport::cookie(self.clone())?;
        transport.issue(&Presented::default(), &token, HOUR, headers);
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
