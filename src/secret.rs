//! Secrets that a program gives, and what is kept of them.

use crate::error::ConfigError;

/// What a secret becomes: the same bytes for each use of it that `context` names, others for every
/// other use.
pub(crate) type Root = [u8; blake3::KEY_LEN];

/// The shortest secret.
pub(crate) const MIN_LEN: usize = 32;

/// The root of this secret of `owner`, which is what an error calls the setting.
///
/// # Errors
///
/// A secret of less than 32 bytes.
pub(crate) fn root(owner: &str, context: &'static str, secret: &[u8]) -> Result<Root, ConfigError> {
    if secret.len() < MIN_LEN {
        return Err(ConfigError::new(format!(
            "{owner}: a secret of {} bytes; write {MIN_LEN} random bytes or more, as \
             `openssl rand -base64 32` prints them",
            secret.len(),
        )));
    }
    Ok(blake3::derive_key(context, secret))
}
