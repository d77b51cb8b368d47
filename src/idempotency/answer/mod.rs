//! What is stored of a response, and how a replay is made of it.

mod body;
mod codec;
#[cfg(feature = "testing")]
mod doorway;
mod hygiene;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::LOCATION};

pub use self::body::{RequestBody, ResponseBody};
use self::{
    codec::Fields,
    hygiene::{IDEMPOTENT_REPLAYED, is_of_one_exchange},
};
pub(super) use self::{
    codec::StoredAnswer,
    hygiene::{Hygiene, IDEMPOTENCY_STORED},
};
use crate::marks::Replayed;

impl StoredAnswer {
    /// What is stored of a response whose body was collected.
    pub(in crate::idempotency) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        trailers: Option<&HeaderMap>,
        body: Bytes,
        hygiene: Hygiene,
    ) -> Self {
        Self {
            status,
            headers: hygiene.kept(headers),
            trailers: trailers.map(|trailers| hygiene.kept(trailers)),
            body,
        }
    }

    /// What is stored of a response that is too large to be replayed: what it was, and where its
    /// result is.
    pub(in crate::idempotency) fn head_only(status: StatusCode, headers: &HeaderMap) -> Self {
        let location = headers.get(LOCATION);
        Self {
            status,
            headers: location
                .map(|at| (LOCATION, at.clone()))
                .into_iter()
                .collect(),
            trailers: None,
            body: Bytes::new(),
        }
    }

    /// Where the result is, if the response said so.
    pub(in crate::idempotency) fn location(&self) -> Option<&HeaderValue> {
        let mut headers = self.headers.iter();
        headers.find_map(|(name, value)| (name == LOCATION).then_some(value))
    }

    /// The response again, with the marks of a replay.
    pub(in crate::idempotency) fn into_response(self) -> Response<Replay> {
        let mut response = Response::new(Replay {
            data: self.body,
            trailers: self.trailers.map(header_map),
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = header_map(self.headers);
        let marker = HeaderValue::from_static("true");
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, marker);
        response.extensions_mut().insert(Replayed::new());
        response
    }
}

/// What follows the head of a replay.
#[derive(Clone, Default)]
pub(in crate::idempotency) struct Replay {
    pub(in crate::idempotency) data: Bytes,
    pub(in crate::idempotency) trailers: Option<HeaderMap>,
}

impl Replay {
    pub(in crate::idempotency) fn into_body<B>(self) -> ResponseBody<B> {
        ResponseBody::buffered(self.data, self.trailers)
    }
}

/// Leaves out what no replay may say, whoever wrote it into the store: a length, for example, that
/// is not the body's.
fn header_map(fields: Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if is_of_one_exchange(&name) {
            continue;
        }
        // There is room for all: an answer with more fields than that is neither written nor read.
        if headers.try_append(name, value).is_err() {
            break;
        }
    }
    headers
}
