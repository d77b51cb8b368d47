//! That a response is to be stored nowhere.

/// A response is for this request alone, whatever its headers say: no layer of this crate stores it.
///
/// A handler that cannot know which `Cache-Control` is written around it puts one into the
/// extensions of its response. Caches of others do not see it; they read `Cache-Control: no-store`.
///
/// ```
/// use http::Response;
/// use tower_stash::marks::NoStore;
///
/// let mut response = Response::new("your one-time code is 4711");
/// response.extensions_mut().insert(NoStore::new());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoStore;

impl NoStore {
    /// The mark of a response that is stored nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}
