//! What may be the name of a rule or a limit.

use crate::error::ConfigError;

/// Names go into headers, metrics and logs, so they are short and plain.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{what} name {name:?}: write one to 64 of the characters A-Z a-z 0-9 _ . -"
    )))
}
