//! That a response is a replay.

/// A response is the stored answer to an earlier request: nothing was done for this one.
///
/// The idempotency layer puts one into the extensions of each replay, and none into those of the
/// first answer. Clients see the same as the header `Idempotent-Replayed: true`; but a header may
/// also be the inner service's, and this is the layer's alone.
///
/// Someone who counts, bills or logs what was done asks for it outside the layer:
///
/// ```
/// use http::Response;
/// use tower_stash::marks::Replayed;
///
/// /// Whether work was done for this response.
/// fn is_billed<B>(response: &Response<B>) -> bool {
///     response.status().is_success() && response.extensions().get::<Replayed>().is_none()
/// }
///
/// let mut response = Response::new(());
/// assert!(is_billed(&response));
/// response.extensions_mut().insert(Replayed::new());
/// assert!(!is_billed(&response));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed;

impl Replayed {
    /// The mark of a replay.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}
