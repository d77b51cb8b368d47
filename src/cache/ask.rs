//! What a request asks of the cache.

use http::{
    HeaderMap, Method,
    header::{AUTHORIZATION, COOKIE, RANGE},
    request::Parts,
};

use super::{
    Bypass,
    engine::Asking,
    record::Head,
    rule::{CacheRule, RequestCookies, Shape},
    semantics::{directives::RequestDirectives, vary::VaryNames},
    url::{UrlKey, VariantKey, push_named_parts, shape_id},
};
use crate::key::{Digester, KeyParts};

/// A request that may be answered from the store, or whose response may be stored.
pub(super) struct Ask {
    pub(super) rule: CacheRule,
    pub(super) url: UrlKey,
    /// As it came.
    pub(super) request: Parts,
    pub(super) directives: RequestDirectives,
    digester: Digester,
}

impl Ask {
    pub(super) fn new(rule: CacheRule, url: UrlKey, request: Parts, digester: &Digester) -> Self {
        Self {
            directives: RequestDirectives::read(&request.headers),
            rule,
            url,
            request,
            digester: digester.clone(),
        }
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
        self.request.method == Method::GET && !self.headers().contains_key(RANGE)
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

    /// Whether its response may be somebody's own, for all that the rule knows. Then it waits for
    /// nobody else's, and nothing is fetched on its behalf.
    pub(super) fn has_credentials(&self) -> bool {
        let shape = self.shape();
        let minds_cookies =
            shape.profile.request_cookies == RequestCookies::Mind && shape.narrow.is_none();
        let has_any = self.has_authorization() || (minds_cookies && self.has_cookie());
        has_any && !shape.covers_credentials
    }
}

impl Asking for Ask {
    fn url(&self) -> &UrlKey {
        &self.url
    }

    fn variant(&self, head: &Head) -> VariantKey {
        let mut chosen = KeyParts::new();
        // A head has no more names than a response may vary on.
        let names = VaryNames::from_names(head.headers.iter().cloned()).unwrap_or_default();
        names.append_selection(self.headers(), &mut chosen);
        push_named_parts(&self.shape().key_parts, &self.request, &mut chosen);
        VariantKey::of(&self.url, head.generation, &chosen, &self.digester)
    }

    fn shape(&self) -> u64 {
        self.shape_id()
    }
}
