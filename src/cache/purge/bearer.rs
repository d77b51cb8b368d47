//! Who may purge over HTTP.

use std::{fmt, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    error::ConfigError,
    secret::{Root, root},
};

/// The secret that requests to a [`PurgeService`](super::PurgeService) must show, as
/// `Authorization: Bearer <secret>` (RFC 6750 §2.1).
///
/// ```
/// use tower_stash::cache::BearerToken;
///
/// // openssl rand -base64 32
/// let token = BearerToken::new("dO5qyrS1vh1Ow2WQ7hJoLw2R4zC6g6Z0y6lT0pJq1yU=")?;
/// assert!(BearerToken::new("too short").is_err());
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct BearerToken {
    /// What is compared is not the secret, so that the time of it says nothing of that.
    root: Arc<Root>,
}

impl BearerToken {
    /// This secret.
    ///
    /// # Errors
    ///
    /// One of less than 32 bytes, or with a character that no bearer token has: they are letters,
    /// digits and `-._~+/`, with `=` at the end.
    pub fn new(secret: impl AsRef<str>) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        if !is_token(secret) {
            return Err(ConfigError::new(
                "BearerToken: a secret with other characters than A-Z a-z 0-9 - . _ ~ + / and, at \
                 the end, =",
            ));
        }
        let root = Arc::new(root("BearerToken", CONTEXT, secret.as_bytes())?);
        Ok(Self { root })
    }

    /// Whether a request shows it, once.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return false;
        };
        let Some((scheme, shown)) = line.to_str().ok().and_then(|line| line.split_once(' ')) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return false;
        }
        let shown = blake3::derive_key(CONTEXT, shown.trim_ascii().as_bytes());
        // Hashes are compared in constant time.
        blake3::Hash::from_bytes(shown) == *self.root
    }
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    text.trim_end_matches('=').bytes().all(is_of_token)
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").finish_non_exhaustive()
    }
}

const CONTEXT: &str = "tower-stash 2026-11-21 cache purge bearer token";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789ABCDE=";

    fn is_shown(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        BearerToken::new(SECRET).unwrap().is_in(&headers)
    }

    #[test]
    fn the_secret_is_shown_as_a_bearer_token() {
        assert!(is_shown(&[&format!("Bearer {SECRET}")]));
        assert!(is_shown(&[&format!("bearer  {SECRET} ")]));
    }

    #[test]
    fn nothing_else_is_the_secret() {
        let longer = format!("Bearer {SECRET}=");
        let shorter = longer[..longer.len() - 2].to_owned();
        let basic = format!("Basic {SECRET}");
        let bare = SECRET.to_owned();
        for line in [
            longer,
            shorter,
            basic,
            bare,
            "Bearer".into(),
            "Bearer ".into(),
            String::new(),
        ] {
            assert!(!is_shown(&[&line]), "{line}");
        }
        assert!(!is_shown(&[]));
    }

    #[test]
    fn a_second_authorization_spoils_the_first() {
        let line = format!("Bearer {SECRET}");
        assert!(!is_shown(&[&line, &line]));
    }

    #[test]
    fn a_secret_that_is_short_or_no_token_is_refused() {
        for secret in [
            "",
            &SECRET[1..],
            &format!("{SECRET} "),
            &format!("{SECRET}a"),
        ] {
            assert!(BearerToken::new(secret).is_err(), "{secret}");
        }
    }
}
