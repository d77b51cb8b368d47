//! Whether a response depends on a session.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether a response depends on the session of its request.
///
/// The session layer puts one into the extensions of each request that a rule of it covers, and the
/// same one into those of its response if the session was asked by then. It is live: it says yes
/// from the moment on at which the handler, or anything between, first asks the session for
/// something. All clones say the same.
///
/// Someone who writes a cache asks it before storing a response. Inside the session layer, take
/// the request's before calling the inner service, since the request is gone afterwards; outside,
/// look into the response. A response that depends on a session belongs to one user and must not be
/// stored for others, whatever its `Cache-Control` says.
///
/// ```
/// use http::{Request, Response};
/// use tower_stash::marks::SessionAccessed;
///
/// /// Outside the session layer.
/// fn may_store<B>(response: &Response<B>) -> bool {
///     let mark = response.extensions().get::<SessionAccessed>();
///     !mark.is_some_and(SessionAccessed::is_accessed)
/// }
///
/// /// Inside: taken from the request, asked when the response is there.
/// fn mark_of<B>(request: &Request<B>) -> Option<SessionAccessed> {
///     request.extensions().get().cloned()
/// }
///
/// let mark = SessionAccessed::new();
/// let mut response = Response::new(());
/// response.extensions_mut().insert(mark.clone());
/// assert!(may_store(&response));
/// mark.mark();
/// assert!(!may_store(&response));
/// # assert!(mark_of(&Request::new(())).is_none());
/// ```
///
/// A body that is streamed may ask the session after its head has left: what it learns is what the
/// session was then, so a head that says no stays right only if its body asks nothing.
#[derive(Clone)]
pub struct SessionAccessed {
    accessed: Arc<dyn Flag>,
}

impl SessionAccessed {
    /// A mark of a request whose session nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Arc::new(AtomicBool::new(false)))
    }

    /// The mark that something shows which is shared anyway: it takes no allocation of its own.
    pub(crate) fn of(accessed: Arc<dyn Flag>) -> Self {
        Self { accessed }
    }

    /// Says from now on that the session was asked, and never again that it was not.
    pub fn mark(&self) {
        // Orders nothing else: who reads it has the response, which came after.
        self.flag().store(true, Ordering::Relaxed);
    }

    /// Whether the session was asked for something.
    #[must_use]
    pub fn is_accessed(&self) -> bool {
        self.flag().load(Ordering::Relaxed)
    }
}

impl Default for SessionAccessed {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SessionAccessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionAccessed")
            .field("accessed", &self.is_accessed())
            .finish()
    }
}

/// What a [`SessionAccessed`] is a view of.
pub(crate) trait Flag: Send + Sync {
    fn flag(&self) -> &AtomicBool;
}

impl Flag for AtomicBool {
    fn flag(&self) -> &AtomicBool {
        self
    }
}

impl Flag for SessionAccessed {
    fn flag(&self) -> &AtomicBool {
        self.accessed.flag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_know_of_an_access() {
        let mark = SessionAccessed::new();
        let clone = mark.clone();
        assert!(!clone.is_accessed());
        mark.mark();
        assert!(clone.is_accessed() && mark.is_accessed());
        assert!(!SessionAccessed::new().is_accessed());
    }
}
