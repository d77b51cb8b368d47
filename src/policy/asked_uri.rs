//! What the client asked for, wherever in the stack a layer stands.

use http::{Uri, request::Parts};

/// The whole URI that the client asked for, as far as it is known.
#[cfg(feature = "axum")]
pub(crate) fn asked_uri(parts: &Parts) -> &Uri {
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(&parts.uri, |uri| &uri.0)
}

#[cfg(not(feature = "axum"))]
pub(crate) fn asked_uri(parts: &Parts) -> &Uri {
    &parts.uri
}
