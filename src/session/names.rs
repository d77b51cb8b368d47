//! What attributes and users may be called.

use super::{SessionError, SessionErrorKind};

/// Whether this may be the name of a program's attribute: 1 to 64 bytes, and none of ours.
pub(super) fn check_name(name: &str) -> Result<(), SessionError> {
    if matches!(name.len(), 1..=MAX_NAME) && !is_reserved(name) {
        Ok(())
    } else {
        Err(SessionErrorKind::InvalidName.into())
    }
}

/// Whether this may be a user: 1 to 256 bytes.
pub(super) fn check_user(user: &str) -> Result<(), SessionError> {
    if matches!(user.len(), 1..=MAX_USER) {
        Ok(())
    } else {
        Err(SessionErrorKind::InvalidName.into())
    }
}

/// Whether an attribute of this name is this crate's own, and nothing a program sees.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with('~')
}

/// What a session is called in a list of its user's sessions.
pub(super) const LABEL: &str = "~label";

/// Begins the names of messages for the next page.
pub(super) const FLASH: &str = "~flash.";

const MAX_NAME: usize = 64;
const MAX_USER: usize = 256;
