//! Records without a store, for tests.

use bytes::Bytes;

use super::Content;
use crate::session::{SessionError, SessionLayer};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl SessionLayer {
    /// Reads what may stand in a store under a session's key, and writes again what it says; `None`
    /// for one that has ended. For tests.
    ///
    /// # Errors
    ///
    /// [`Unreadable`](crate::session::SessionErrorKind::Unreadable) for what is no session, or
    /// one of a format that is not known.
    pub fn rewrite_stored(stored: &[u8]) -> Result<Option<Bytes>, SessionError> {
        match Content::decode(Bytes::copy_from_slice(stored))? {
            Content::Session(record) => Ok(Some(record.encode())),
            Content::Ended => Ok(None),
        }
    }
}
