//! A session beyond its request.

use std::fmt;

use serde::de::DeserializeOwned;

use super::{
    SessionError, json, names,
    store::{Store, Stored},
};

/// What was known of a session, for what outlives its request; made by
/// [`Session::detach`](super::Session::detach).
///
/// It can change nothing, and does not keep the session from ending. A WebSocket that is open for
/// hours asks now and then whether its user is still logged in:
///
/// ```
/// use std::time::Duration;
/// use tower_stash::session::Detached;
///
/// async fn serve(mut session: Detached) {
///     loop {
///         tokio::time::sleep(Duration::from_secs(60)).await;
///         match session.revalidate().await {
///             Ok(true) => {}
///             Ok(false) => break, // logged out
///             Err(_) => break,    // nobody can say: this one is careful
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Detached {
    store: Store,
    stored: Option<Stored>,
}

impl Detached {
    pub(super) fn new(store: Store, stored: Option<Stored>) -> Self {
        Self { store, stored }
    }

    /// Who was logged in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.stored.as_ref()?.user()
    }

    /// An attribute as it was.
    ///
    /// # Errors
    ///
    /// [`Json`](super::SessionErrorKind::Json) if it is no `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let stored = self.stored.as_ref().filter(|_| !names::is_reserved(name));
        let value = stored.and_then(|stored| stored.record.attributes.get(name));
        value.map(json::read).transpose()
    }

    /// Looks again, and says whether the session is still there, and since then neither had a
    /// [`login`](super::Session::login) nor a [`renew`](super::Session::renew). If so, what is known
    /// of it is what was found.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](super::SessionErrorKind::Unavailable) and
    /// [`Unreadable`](super::SessionErrorKind::Unreadable); then it may be there or not.
    pub async fn revalidate(&mut self) -> Result<bool, SessionError> {
        let Some(known) = &mut self.stored else {
            return Ok(false);
        };
        let Some(reading) = self.store.read(&known.handle).await? else {
            return Ok(false);
        };
        let Some(found) = reading.into_session(known.handle) else {
            return Ok(false);
        };
        if found.is_over() || found.record.head.generation != known.record.head.generation {
            return Ok(false);
        }
        *known = found;
        Ok(true)
    }
}

/// Shows nothing of what it holds.
impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}
