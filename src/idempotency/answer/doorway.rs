//! Stored answers without a store, for tests.

use bytes::Bytes;
use http::Response;

use super::{Replay, ResponseBody, StoredAnswer};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl<B> ResponseBody<B> {
    /// Reads what may stand in a store as an answer: what is written again of it, and its replay;
    /// `None` for what is no answer. For tests.
    #[must_use]
    pub fn replay_stored(stored: &[u8]) -> Option<(Bytes, Response<Self>)> {
        let answer = StoredAnswer::decode(Bytes::copy_from_slice(stored))?;
        let written = answer.encode()?;
        Some((written, answer.into_response().map(Replay::into_body)))
    }
}
