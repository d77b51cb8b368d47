//! Which stored response, and how much of it, a request gets; without a cache, for tests.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use super::{
    accept_encoding,
    conditional::{self, Condition},
    range::{self, Choice},
    vary::VaryNames,
};
use crate::{cache::rule::CacheRule, key::KeyParts};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl CacheRule {
    /// What chooses this response for a request among those of the URL; none if its `Vary` lets none
    /// be chosen. For tests.
    #[must_use]
    pub fn selection_of(response: &HeaderMap, request: &HeaderMap) -> Option<KeyParts> {
        let names = VaryNames::read(response).ok()?;
        let mut parts = KeyParts::new();
        names.append_selection(request, &mut parts);
        Some(parts)
    }

    /// Makes of the headers of a request those that a handler sees of it in `Accept-Encoding`; for
    /// tests.
    pub fn normalise_encodings(request: &mut HeaderMap) {
        accept_encoding::normalise_accept_encoding(request);
    }

    /// What a request is answered if this is stored and fresh: it, a part of it, a 304 or a 416. For
    /// tests.
    #[must_use]
    pub fn answer_from(request: &Request<()>, stored: &Response<Bytes>) -> Response<Bytes> {
        let (asked, status) = (request.headers(), stored.status());
        let (headers, body) = (stored.headers(), stored.body());
        if conditional::evaluate(asked, status, headers) == Condition::NotModified {
            let headers = conditional::not_modified_headers(headers);
            return answer(StatusCode::NOT_MODIFIED, headers, Bytes::new());
        }
        let total = body.len() as u64;
        match range::choose(request.method(), asked, status, headers, total) {
            Choice::Whole => answer(status, headers.clone(), body.clone()),
            Choice::Part(part) => {
                let mut headers = headers.clone();
                part.describe(&mut headers);
                answer(StatusCode::PARTIAL_CONTENT, headers, part.of_body(body))
            }
            Choice::Unsatisfiable => {
                let headers = range::unsatisfiable_headers(headers, total);
                answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
            }
        }
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}
