//! What a request is to the cache.

use http::{
    Method,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE},
    request::Parts,
};

use super::{
    Bypass, CacheRule, ask,
    semantics::invalidate,
    shared::Shared,
    unary,
    url::{Target, UrlKey},
};
use crate::{grpc, key::Digester};

/// What a request is to the cache.
pub(super) enum Call {
    /// Not its business.
    Pass,
    /// The handler answers it, for this reason, which the client is told.
    Bypass(CacheRule, Bypass),
    /// It may be answered from the store.
    Look(CacheRule, UrlKey),
    /// It is a gRPC call, and may be answered from the store if it has one message.
    Ask(CacheRule, UrlKey),
    /// It may change what is stored.
    Change(CacheRule),
}

impl Call {
    /// What this request is. It is changed for a moment, while a policy is asked.
    pub(super) fn of(shared: &Shared, request: &mut Parts, has_body: bool) -> Self {
        let method = request.method.clone();
        if method == Method::GET || method == Method::HEAD {
            let Some(rule) = shared.policy.rule(request) else {
                return Self::Pass;
            };
            return match keyed(&rule, request, has_body, &shared.core.digester) {
                Ok(url) => Self::Look(rule, url),
                Err(bypass) => Self::Bypass(rule, bypass),
            };
        }
        if invalidate::is_safe(&method) {
            return Self::Pass;
        }
        if method == Method::POST && grpc::is_grpc(&request.headers) {
            return Self::of_grpc(shared, request);
        }
        // What is stored of its URL is what a GET is answered.
        request.method = Method::GET;
        let rule = shared.policy.rule(request);
        request.method = method;
        rule.map_or(Self::Pass, Self::Change)
    }

    /// Whether a call changes anything is said by its trailers if at all, so none purges its URL,
    /// under which nothing is stored: what is known by messages is purged by tags.
    fn of_grpc(shared: &Shared, request: &Parts) -> Self {
        let rule = shared.policy.rule(request);
        let rule = rule.filter(|rule| rule.shape().grpc.is_some());
        let Some(rule) = rule.filter(|_| unary::is_call(&request.headers)) else {
            return Self::Pass;
        };
        match keyed_call(&rule, request, &shared.core.digester) {
            Ok(url) => Self::Ask(rule, url),
            Err(bypass) => Self::Bypass(rule, bypass),
        }
    }
}

/// What stands for the URL of a GET or HEAD, if it may be answered from the store.
fn keyed(
    rule: &CacheRule,
    request: &Parts,
    has_body: bool,
    digester: &Digester,
) -> Result<UrlKey, Bypass> {
    let headers = &request.headers;
    if headers.contains_key(UPGRADE) {
        return Err(Bypass::Upgrade);
    }
    if has_body {
        return Err(Bypass::RequestBody);
    }
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(Bypass::Precondition);
    }
    url_of(rule, request, digester)
}

/// What stands for the URL of a gRPC call, if it may be answered from the store. What an answer says
/// of who may share it means nothing to those who write such services, so credentials pass.
fn keyed_call(rule: &CacheRule, request: &Parts, digester: &Digester) -> Result<UrlKey, Bypass> {
    if ask::has_credentials(rule.shape(), &request.headers) {
        return Err(Bypass::Credentials);
    }
    url_of(rule, request, digester)
}

fn url_of(rule: &CacheRule, request: &Parts, digester: &Digester) -> Result<UrlKey, Bypass> {
    let shape = rule.shape();
    let condition = shape.condition.as_ref();
    if condition.is_some_and(|condition| !condition.holds(request)) {
        return Err(Bypass::Condition);
    }
    let target = Target::of(request, shape)?;
    Ok(UrlKey::of(&target, digester))
}
