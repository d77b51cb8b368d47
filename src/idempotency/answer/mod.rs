//! What is stored of a response, and how a replay is made of it.

mod body;
mod codec;
#[cfg(feature = "testing")]
mod doorway;
mod hygiene;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::LOCATION};

pub use self::body::ResponseBody;
pub(super) use self::hygiene::Hygiene;
use self::hygiene::{IDEMPOTENCY_STORED, IDEMPOTENT_REPLAYED, is_of_one_exchange};
use crate::marks::Replayed;

/// What is stored of a response.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct StoredAnswer {
    pub(super) status: StatusCode,
    headers: Fields,
    trailers: Option<Fields>,
    body: Bytes,
}

/// Headers or trailers in their order; a name may come several times.
type Fields = Vec<(HeaderName, HeaderValue)>;

impl StoredAnswer {
    /// What is stored of a response whose body was collected.
    pub(super) fn of(
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
    pub(super) fn head_only(status: StatusCode, headers: &HeaderMap) -> Self {
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
    pub(super) fn location(&self) -> Option<&HeaderValue> {
        let mut headers = self.headers.iter();
        headers.find_map(|(name, value)| (name == LOCATION).then_some(value))
    }

    /// The response again, with the marks of a replay.
    pub(super) fn into_response(self) -> Response<Replay> {
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

/// Says how much there is, and nothing of it.
impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAnswer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("trailers", &self.trailers.as_ref().map(Vec::len))
            .field("body", &self.body.len())
            .finish()
    }
}

/// What follows the head of a replay.
#[derive(Clone, Default)]
pub(super) struct Replay {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl Replay {
    pub(super) fn into_body<B>(self) -> ResponseBody<B> {
        ResponseBody::buffered(self.data, self.trailers)
    }
}

/// Says of an answer that it is not recorded.
pub(super) fn mark_unrecorded<B>(response: &mut Response<B>) {
    let no = HeaderValue::from_static("?0");
    response.headers_mut().insert(IDEMPOTENCY_STORED, no);
}

/// Leaves out what no replay may say, whoever wrote it into the store: a length, for example, that
/// is not the body's.
fn header_map(fields: Fields) -> HeaderMap {
    // And for the mark of a replay.
    let room = fields.len() + 1;
    let mut headers = HeaderMap::try_with_capacity(room).unwrap_or_default();
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
