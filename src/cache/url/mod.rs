//! Which URL a request is for, as the cache tells URLs apart, or why it cannot say.
//!
//! A handler may read the URL from more places than the request's own, such as `X-Forwarded-Host` or
//! `X-Original-URL`. What is stored under one URL must not have been made for another, so a
//! request that names several is not looked up and its response not stored.

mod host;
mod key;
mod query;

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{FORWARDED, HOST},
    request::Parts,
    uri::Authority,
};

pub(in crate::cache) use self::key::{
    TagName, UrlKey, VariantKey, journal_key, page_key, push_named_parts, shape_id, tag_digest,
    tag_key,
};
use super::rule::Shape;
use crate::policy::asked_uri::asked_uri;

/// What tells one URL from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Target<'a> {
    pub(in crate::cache) scheme: Scheme,
    /// In lower case, and with its port unless that is the scheme's own. A dot at its end stays: the
    /// handler sees it too.
    pub(in crate::cache) host: Cow<'a, str>,
    /// As it was sent.
    pub(in crate::cache) path: &'a str,
    /// What the rule takes of it.
    pub(in crate::cache) query: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Scheme {
    Http,
    Https,
}

/// Where resources come from that may say something of each other (RFC 6454).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Origin<'a> {
    pub(in crate::cache) scheme: Scheme,
    pub(in crate::cache) host: &'a str,
}

/// Why it cannot be said which URL a request is for, or why the rule does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Unkeyed {
    /// No host is said, or none that is one.
    NoHost,
    /// Several `Host` headers, or one unlike the URI's.
    SeveralHosts,
    /// The host is none of the rule's.
    HostNotListed,
    /// A forwarding header says another host, or nothing that can be understood.
    ForwardedHost,
    /// `X-Original-URL` or `X-Rewrite-URL`: the handler may answer for another URL.
    RewrittenUrl,
    /// `X-HTTP-Method-Override` or another of its names: the handler may do something else.
    OverriddenMethod,
    /// A scheme other than `http` and `https`.
    Scheme,
    /// A path that does not begin with `/`.
    Path,
}

impl<'a> Target<'a> {
    /// What the request is for.
    pub(in crate::cache) fn of(parts: &'a Parts, shape: &Shape) -> Result<Self, Unkeyed> {
        let headers = &parts.headers;
        let uri = asked_uri(parts);
        let own = scheme(uri)?;
        if !headers.keys().any(may_redirect) {
            let scheme = own.unwrap_or(Scheme::Http);
            let host = asked_host(uri, headers, scheme)?;
            return Self::at(uri, scheme, host, shape);
        }
        if has_any(headers, &REWRITTEN_URL) {
            return Err(Unkeyed::RewrittenUrl);
        }
        if has_any(headers, &OVERRIDDEN_METHOD) {
            return Err(Unkeyed::OverriddenMethod);
        }
        let scheme = forwarded_scheme(headers).or(own).unwrap_or(Scheme::Http);
        let host = asked_host(uri, headers, scheme)?;
        if has_forwarded_host(headers) {
            return Err(Unkeyed::ForwardedHost);
        }
        if forwarded_hosts(headers).any(|named| !host::is(named, &host, scheme)) {
            return Err(Unkeyed::ForwardedHost);
        }
        Self::at(uri, scheme, host, shape)
    }

    /// What a request is for that may change something, also where the handler may answer for more than
    /// that.
    pub(in crate::cache) fn of_change(parts: &'a Parts, shape: &Shape) -> Result<Self, Unkeyed> {
        let headers = &parts.headers;
        let uri = asked_uri(parts);
        let own = scheme(uri)?;
        let scheme = forwarded_scheme(headers).or(own).unwrap_or(Scheme::Http);
        let host = asked_host(uri, headers, scheme)?;
        Self::at(uri, scheme, host, shape)
    }

    /// What a `GET` request for this URL is for, with scheme and host, which nothing else names.
    pub(in crate::cache) fn from_absolute(uri: &'a Uri, shape: &Shape) -> Result<Self, Unkeyed> {
        let (scheme, host) = origin(uri)?;
        Self::at(uri, scheme, host, shape)
    }

    pub(in crate::cache) fn origin(&self) -> Origin<'_> {
        Origin {
            scheme: self.scheme,
            host: &self.host,
        }
    }

    fn at(
        uri: &'a Uri,
        scheme: Scheme,
        host: Cow<'a, str>,
        shape: &Shape,
    ) -> Result<Self, Unkeyed> {
        if !shape.hosts.is_empty() && !shape.hosts.iter().any(|listed| **listed == *host) {
            return Err(Unkeyed::HostNotListed);
        }
        if !uri.path().starts_with('/') {
            return Err(Unkeyed::Path);
        }
        Ok(Self {
            scheme,
            host,
            path: uri.path(),
            query: uri
                .query()
                .and_then(|query| query::keyed(query, &shape.query)),
        })
    }
}

impl Scheme {
    pub(in crate::cache) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Schemes are the same in any case (RFC 3986 §3.1).
    fn parse(scheme: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str().as_bytes()))
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Unkeyed {
    /// The word for it, in [`Bypass`](super::Bypass).
    pub(in crate::cache) const fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "no_host",
            Self::SeveralHosts => "several_hosts",
            Self::HostNotListed => "host_not_listed",
            Self::ForwardedHost => "forwarded_host",
            Self::RewrittenUrl => "rewritten_url",
            Self::OverriddenMethod => "overridden_method",
            Self::Scheme => "scheme",
            Self::Path => "path",
        }
    }
}

/// Scheme and host of an absolute URL.
pub(in crate::cache) fn origin(uri: &Uri) -> Result<(Scheme, Cow<'_, str>), Unkeyed> {
    let scheme = scheme(uri)?.ok_or(Unkeyed::Scheme)?;
    let authority = uri.authority().ok_or(Unkeyed::NoHost)?;
    let host = host::normal(authority.as_str(), scheme).ok_or(Unkeyed::NoHost)?;
    Ok((scheme, host))
}

/// Whether a header of this name may say another URL or method than the request's own. Most requests
/// have none, so one look at each header goes before looking for all of those names.
fn may_redirect(name: &HeaderName) -> bool {
    *name == FORWARDED || name.as_str().starts_with("x-")
}

fn has_any(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    names.iter().any(|name| headers.contains_key(name))
}

fn scheme(uri: &Uri) -> Result<Option<Scheme>, Unkeyed> {
    let Some(scheme) = uri.scheme_str() else {
        return Ok(None);
    };
    Scheme::parse(scheme.as_bytes())
        .map(Some)
        .ok_or(Unkeyed::Scheme)
}

/// What the proxy in front says, if that is clear. It goes before the URI's, which is that of the
/// connection to this server: behind a proxy that speaks HTTP/2, that of the proxy.
fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let mut said = headers.get_all(&X_FORWARDED_PROTO).iter();
    match (said.next(), said.next()) {
        (Some(scheme), None) => Scheme::parse(scheme.as_bytes()),
        _ => None,
    }
}

/// Whether `Forwarded` may say a host (RFC 7239 §5.3), which a handler may read.
fn has_forwarded_host(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(FORWARDED).iter();
    lines.any(|line| {
        let line = line.as_bytes();
        line.windows(HOST_IS.len())
            .any(|window| window.eq_ignore_ascii_case(HOST_IS))
    })
}

/// The host of the URI, which `Host` may repeat but not contradict: some handlers read the one and
/// some the other. Without it, the one `Host`.
fn asked_host<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    scheme: Scheme,
) -> Result<Cow<'a, str>, Unkeyed> {
    let mut said = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let first = said.next();
    if said.next().is_some() {
        return Err(Unkeyed::SeveralHosts);
    }
    let Some(authority) = uri.authority().map(Authority::as_str) else {
        return first
            .and_then(|host| host::normal(str::from_utf8(host).ok()?, scheme))
            .ok_or(Unkeyed::NoHost);
    };
    let host = host::normal(authority, scheme).ok_or(Unkeyed::NoHost)?;
    if first.is_some_and(|said| !host::is(said, &host, scheme)) {
        return Err(Unkeyed::SeveralHosts);
    }
    Ok(host)
}

/// Each host that `X-Forwarded-Host` says.
fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(&X_FORWARDED_HOST).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

const HOST_IS: &[u8] = b"host=";

static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static REWRITTEN_URL: [HeaderName; 2] = [
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];
static OVERRIDDEN_METHOD: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

#[cfg(test)]
mod tests;
