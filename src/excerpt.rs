//! What is kept of a request that has gone into its handler.

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request::Parts};

/// As much of a request as an answer to it needs; copied without allocating.
pub(crate) struct Excerpt {
    method: Method,
    uri: Uri,
    version: Version,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
}

impl Excerpt {
    pub(crate) fn of(request: &Parts) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            accept: request.headers.get(header::ACCEPT).cloned(),
            content_type: request.headers.get(header::CONTENT_TYPE).cloned(),
        }
    }

    /// A request that an answer can be written to; of its headers it has `Accept` and `Content-Type`.
    pub(crate) fn to_parts(&self) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = self.uri.clone();
        parts.version = self.version;
        let mut headers = HeaderMap::new();
        if let Some(accept) = &self.accept {
            headers.insert(header::ACCEPT, accept.clone());
        }
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        parts.headers = headers;
        parts
    }
}
