//! What a request asks of the cache.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, COOKIE, RANGE},
    request::Parts,
};

use super::{
    Bypass,
    engine::Asking,
    record::Head,
    rule::{CacheRule, RequestCookies, Shape, Ttl},
    semantics::{
        accept_encoding::accepts_gzip,
        conditional::{self, Condition},
        directives::RequestDirectives,
        vary,
    },
    url::{UrlKey, VariantKey, push_named_parts, shape_id},
};
use crate::{
    body::RequestBody,
    key::{Digester, KeyParts},
};

/// A request that may be answered from the store, or whose response may be stored.
pub(super) struct Ask {
    pub(super) rule: CacheRule,
    pub(super) url: UrlKey,
    /// As it came.
    pub(super) request: Parts,
    pub(super) directives: RequestDirectives,
    /// The message of a gRPC call, in its frame.
    pub(super) message: Option<Bytes>,
    digester: Digester,
}

impl Ask {
    pub(super) fn new(rule: CacheRule, url: UrlKey, request: Parts, digester: &Digester) -> Self {
        Self {
            directives: RequestDirectives::read(&request.headers),
            rule,
            url,
            request,
            message: None,
            digester: digester.clone(),
        }
    }

    /// The same as a gRPC call with this message, for which [`UrlKey::with_message`] stands.
    pub(super) fn with_message(mut self, message: Bytes) -> Self {
        self.message = Some(message);
        self
    }

    pub(super) fn is_call(&self) -> bool {
        self.message.is_some()
    }

    /// By what its response is stored. Of calls all are fresh for as long as the rule says, unless
    /// their answers say it themselves.
    pub(super) fn storing(&self) -> Cow<'_, Shape> {
        let shape = self.rule.shape();
        match shape.grpc.filter(|_| self.is_call()) {
            Some(ttl) => Cow::Owned(Shape {
                ttl: Ttl::Default(ttl),
                negative: Vec::new(),
                ..shape.clone()
            }),
            None => Cow::Borrowed(shape),
        }
    }

    /// Whether the client has this response already, as its conditions say.
    pub(super) fn is_client_satisfied(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        !self.is_call()
            && conditional::evaluate(self.headers(), status, headers) == Condition::NotModified
    }

    /// The body with which the handler is asked.
    pub(super) fn body<Q>(&self) -> RequestBody<Q> {
        RequestBody::from(self.message.clone().unwrap_or_default())
    }

    pub(super) fn shape(&self) -> &Shape {
        self.rule.shape()
    }

    pub(super) fn url_key(&self) -> &UrlKey {
        &self.url
    }

    /// By which parts of requests its rule chooses.
    pub(super) fn shape_id(&self) -> u64 {
        shape_id(self.rule.shape())
    }

    pub(super) fn is_get(&self) -> bool {
        self.request.method == Method::GET
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    pub(super) fn has_authorization(&self) -> bool {
        self.headers().contains_key(AUTHORIZATION)
    }

    pub(super) fn has_cookie(&self) -> bool {
        self.headers().contains_key(COOKIE)
    }

    /// Whether its response could be stored: that to HEAD has no body, and that to a range only a part
    /// of one.
    pub(super) fn is_for_all_of_it(&self) -> bool {
        self.is_call() || self.is_get() && !self.headers().contains_key(RANGE)
    }

    /// Why nothing is fetched for others on its behalf, if so: it forbids that, or its handler would
    /// have to see credentials that a narrow rule hides.
    pub(super) fn bypass(&self) -> Option<Bypass> {
        if self.directives.no_store {
            return Some(Bypass::RequestNoStore);
        }
        let shape = self.shape();
        let hides_authorization = shape.narrow.is_some() && !shape.covers_credentials;
        (hides_authorization && self.has_authorization()).then_some(Bypass::Credentials)
    }

    /// Why it is not stored what it is answered, if what it asks for is not all that is stored: a part
    /// is fetched whole only where there is something to validate.
    pub(super) fn bypass_of_part(&self, has_base: bool) -> Option<Bypass> {
        if self.is_for_all_of_it() {
            return None;
        }
        match (self.is_get(), has_base) {
            (true, true) => None,
            (true, false) => Some(Bypass::Range),
            (false, _) => Some(Bypass::Head),
        }
    }

    /// Whether its response may be somebody's own, for all that the rule knows. Then it waits for
    /// nobody else's, and nothing is fetched on its behalf.
    pub(super) fn has_credentials(&self) -> bool {
        has_credentials(self.shape(), self.headers())
    }
}

/// Whether a request with these headers says whose it is, in a way that the key does not cover.
pub(super) fn has_credentials(shape: &Shape, headers: &HeaderMap) -> bool {
    let minds_cookies =
        shape.profile.request_cookies == RequestCookies::Mind && shape.narrow.is_none();
    let has_any =
        headers.contains_key(AUTHORIZATION) || (minds_cookies && headers.contains_key(COOKIE));
    has_any && !shape.covers_credentials
}

impl Asking for Ask {
    fn url(&self) -> &UrlKey {
        &self.url
    }

    fn variant(&self, head: &Head) -> VariantKey {
        let mut chosen = KeyParts::new();
        vary::append_selection(&head.headers, self.headers(), &mut chosen);
        push_named_parts(&self.shape().key_parts, &self.request, &mut chosen);
        VariantKey::of(&self.url, head.generation, &chosen, &self.digester)
    }

    fn shape(&self) -> u64 {
        self.shape_id()
    }

    fn accepts_gzip(&self) -> bool {
        !self.directives.no_transform && accepts_gzip(self.headers())
    }
}
