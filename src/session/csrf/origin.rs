//! Origins as browsers write them (RFC 6454 §6.2).

use http::{
    header::HOST,
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::error::ConfigError;

/// Whether browsers could send this as a page's origin.
pub(super) fn check(origin: &str) -> Result<(), ConfigError> {
    let problem = match origin.split_once("://") {
        None => "has no scheme",
        Some((scheme, _)) if !is_scheme(scheme) => "has no scheme that a browser would write",
        Some((scheme, host)) => match authority(host.as_bytes()) {
            None => "has no host, or more than a host and a port",
            Some(host) if host.port_u16().is_some() && host.port_u16() == default_port(scheme) => {
                "has the default port of its scheme, which browsers leave out"
            }
            Some(_) if host.contains('*') => "has a wildcard",
            Some(_) if host != host.to_ascii_lowercase() => "is not in lower case",
            Some(_) => return Ok(()),
        },
    };
    Err(ConfigError::new(format!(
        "a trusted origin {origin:?} that {problem}, so no browser sends it; write it as \"https://pay.example\" or \"https://pay.example:8443\""
    )))
}

/// Whether a page of this origin is one of the host that the request is for.
pub(super) fn is_own(origin: &[u8], request: &Parts) -> bool {
    let (scheme, page) = if let Some(page) = origin.strip_prefix(b"https://") {
        ("https", page)
    } else if let Some(page) = origin.strip_prefix(b"http://") {
        ("http", page)
    } else {
        return false;
    };
    if scheme == "http" && request.uri.scheme() == Some(&Scheme::HTTPS) {
        return false;
    }
    let (Some(page), Some(own)) = (authority(page), own_authority(request)) else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().or(default_port(scheme));
    page.host().eq_ignore_ascii_case(own.host()) && port(&page) == port(&own)
}

/// For which host a request is: what the target says counts before `Host` (RFC 9112 §3.2.2).
fn own_authority(request: &Parts) -> Option<Authority> {
    if let Some(target) = request.uri.authority() {
        return Some(target.clone());
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => authority(host.as_bytes()),
        _ => None,
    }
}

/// A host, and a port if there is one; nothing else.
fn authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let is_port = port.is_empty() || authority.port_u16().is_some();
    (is_port && !authority.host().is_empty()).then_some(authority)
}

fn is_scheme(scheme: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(is_allowed)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}
