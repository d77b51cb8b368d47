//! What clients are answered, and what they are told of how.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};

use super::{
    CacheRule,
    ask::Ask,
    body::ResponseBody,
    engine::Held,
    outcome::{CacheOutcome, OutcomeKind},
    record::Entry,
    semantics::{
        coding, conditional, hygiene,
        range::{self, Choice},
        status::{CacheName, CacheStatus, Forward, Forwarded, Handling},
    },
};

/// What a client is told of how its request was answered.
pub(super) struct Note {
    pub(super) rule: CacheRule,
    pub(super) name: CacheName,
    pub(super) status: CacheStatus,
    pub(super) outcome: CacheOutcome,
    /// Whether there is a client: what is fetched for nobody is no request.
    pub(super) is_counted: bool,
}

impl Note {
    /// Writes it on the response.
    pub(super) fn write_on<B>(self, response: &mut Response<B>) {
        let shape = self.rule.shape();
        if self.is_counted {
            shape.decisions.record(self.outcome.kind.as_str());
        }
        let headers = response.headers_mut();
        if self.status.handling != Handling::Hit {
            // What is stored has none.
            hygiene::cut_tags(headers);
        }
        self.status.append_to(headers, &self.name);
        if shape.says_x_cache {
            let is_hit = self.outcome.is_hit();
            headers.insert(
                X_CACHE,
                HeaderValue::from_static(if is_hit { "HIT" } else { "MISS" }),
            );
        }
        response.extensions_mut().insert(self.outcome);
    }
}

/// The status of what was answered from the store.
pub(super) fn hit(ttl: i64) -> CacheStatus {
    CacheStatus {
        handling: Handling::Hit,
        ttl: Some(ttl),
        detail: None,
    }
}

/// The status of what the handler answered.
pub(super) fn forwarded(why: Forward, outcome: CacheOutcome) -> CacheStatus {
    let detail = outcome.detail();
    CacheStatus {
        handling: Handling::Forwarded(Forwarded {
            why,
            status: None,
            is_stored: detail.is_none(),
            is_collapsed: false,
        }),
        ttl: None,
        detail,
    }
}

/// The answer to a request from a stored response: all of it, the part that is wanted, or that the
/// client has it.
pub(super) fn from_store<B>(ask: &Ask, held: Held, age: Duration) -> Response<ResponseBody<B>> {
    let is_packed = held.is_packed();
    let Held {
        entry,
        body,
        unpacked,
        ..
    } = held;
    let request = &ask.request;
    let (status, mut headers, trailers) = fields_of(entry);
    if is_packed {
        coding::tell_of_codings(&mut headers);
    }
    let (status, mut headers, body) = if ask.is_client_satisfied(status, &headers) {
        let headers = conditional::not_modified_headers(&headers);
        (StatusCode::NOT_MODIFIED, headers, Bytes::new())
    } else if let (true, None) = (is_packed, &unpacked) {
        // Ranges are of the unpacked body: who takes it packed gets all of it.
        coding::tell_of_gzip(&mut headers, body.len());
        (status, headers, body)
    } else {
        choose(ask, status, headers, unpacked.unwrap_or(body))
    };
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
    let body = if request.method == Method::HEAD {
        // What never has a body has no length either (RFC 9110 §8.6).
        if !matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        ResponseBody::empty()
    } else {
        ResponseBody::stored(body, trailers)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What an answer takes of a stored response, copied only where others have it, too.
fn fields_of(entry: Arc<Entry>) -> (StatusCode, HeaderMap, Option<HeaderMap>) {
    match Arc::try_unwrap(entry) {
        Ok(entry) => (entry.status, entry.headers, entry.trailers),
        Err(shared) => (
            shared.status,
            shared.headers.clone(),
            shared.trailers.clone(),
        ),
    }
}

fn choose(
    ask: &Ask,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    let request = &ask.request;
    let total = u64::try_from(body.len()).unwrap_or(u64::MAX);
    match range::choose(&request.method, &request.headers, status, &headers, total) {
        Choice::Whole => (status, headers, body),
        Choice::Part(part) => {
            part.describe(&mut headers);
            (StatusCode::PARTIAL_CONTENT, headers, part.of_body(&body))
        }
        Choice::Unsatisfiable => {
            let headers = range::unsatisfiable_headers(&headers, total);
            (StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
        }
    }
}

/// The answer to a request that only the store was to answer (RFC 9111 §5.2.1.7).
pub(super) fn only_if_cached<B>(rule: &CacheRule) -> Response<ResponseBody<B>> {
    let outcome = CacheOutcome::new(OutcomeKind::OnlyIfCached);
    rule.shape().decisions.record(outcome.kind.as_str());
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.extensions_mut().insert(outcome);
    response
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
