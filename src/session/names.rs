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
        Err(SessionErrorKind::InvalidUser.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_64_bytes_and_is_not_the_crates_own() {
        for name in ["a", "Grüße", "with space", "a~", &"n".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "~",
            "~label",
            "~flash.1",
            &"n".repeat(65),
            &"ü".repeat(33),
        ] {
            let refused = check_name(name).unwrap_err();
            assert_eq!(refused.kind(), SessionErrorKind::InvalidName, "{name}");
        }
    }

    #[test]
    fn a_user_has_1_to_256_bytes() {
        for user in ["a", "~", &"u".repeat(256)] {
            assert!(check_user(user).is_ok(), "{user}");
        }
        for user in ["", &"u".repeat(257)] {
            let refused = check_user(user).unwrap_err();
            assert_eq!(refused.kind(), SessionErrorKind::InvalidUser, "{user}");
        }
    }

    #[test]
    fn names_of_the_crate_are_reserved_and_can_be_stored() {
        let flash = format!("{FLASH}{:016x}{:08x}", u64::MAX, u32::MAX);
        for name in [LABEL, FLASH, &flash] {
            assert!(is_reserved(name) && name.len() <= MAX_NAME, "{name}");
        }
    }
}
