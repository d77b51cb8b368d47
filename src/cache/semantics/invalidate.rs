//! What unsafe methods invalidate (RFC 9111 §4.4).

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
    uri::{Authority, PathAndQuery, Scheme},
};

/// Whether a request with this method may change nothing that is stored.
///
/// GET, HEAD, OPTIONS and TRACE (RFC 9110 §9.2.1), and those that IANA's registry of methods calls
/// safe and that clients send: PROPFIND, REPORT, SEARCH, QUERY. Nobody knows of any other that it is
/// safe.
pub(in crate::cache) fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "QUERY"
    )
}

/// Whether a response means that something was changed: an unsafe method and no error.
pub(in crate::cache) fn is_invalidating(method: &Method, status: StatusCode) -> bool {
    !is_safe(method) && (status.is_success() || status.is_redirection())
}

/// The URLs whose stored responses a response invalidates, each once: that of the request, which
/// must be absolute, and those of the same origin that `Location` and `Content-Location` name.
pub(in crate::cache) fn urls(
    method: &Method,
    target: &Uri,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Uri> {
    let mut urls = Vec::new();
    if !is_invalidating(method, status) {
        return urls;
    }
    urls.push(target.clone());
    let references = [LOCATION, CONTENT_LOCATION]
        .into_iter()
        .flat_map(|name| response.get_all(name).into_iter().take(MAX_LINES))
        .filter_map(|line| same_origin(target, line));
    for url in references {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// The URL that a reference means, if it is of the base's origin.
fn same_origin(base: &Uri, reference: &HeaderValue) -> Option<Uri> {
    let reference = Reference::read(str::from_utf8(reference.as_bytes()).ok()?.trim_ascii());
    let (scheme, authority) = (base.scheme()?, base.authority()?);
    if !reference.is_of(scheme, authority) {
        return None;
    }
    let resolved = reference.resolve(base);
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(resolved).ok()?);
    Uri::from_parts(parts).ok()
}

/// A reference without its fragment (RFC 3986 §4.1, appendix B).
#[derive(Clone, Copy, Debug)]
struct Reference<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let (scheme, text) = match text.split_once(':') {
            Some((scheme, text)) if !scheme.contains('/') => (Some(scheme), text),
            _ => (None, text),
        };
        let Some(hierarchical) = text.strip_prefix("//") else {
            return Self {
                scheme,
                authority: None,
                path: text,
                query,
            };
        };
        let end = hierarchical.find('/').unwrap_or(hierarchical.len());
        let (authority, path) = hierarchical.split_at_checked(end).unwrap_or_default();
        Self {
            scheme,
            authority: Some(authority),
            path,
            query,
        }
    }

    /// Whether it is of this origin (RFC 9110 §4.3.1).
    fn is_of(self, scheme: &Scheme, authority: &Authority) -> bool {
        let has_scheme = self
            .scheme
            .is_none_or(|named| named.eq_ignore_ascii_case(scheme.as_str()));
        match self.authority {
            Some(named) => has_scheme && is_same_host(named, authority, scheme),
            // `http:path` names no host (RFC 9110 §4.2.1), and is no relative reference.
            None => self.scheme.is_none(),
        }
    }

    /// RFC 3986 §5.2.2, of references to the base's authority.
    fn resolve(self, base: &Uri) -> String {
        let is_rooted = self.authority.is_some() || self.path.starts_with('/');
        let (path, query) = match (is_rooted, self.path) {
            (true, path) => (without_dots(path), self.query),
            // A path stays as it is that nothing is added to.
            (false, "") => (base.path().to_owned(), self.query.or(base.query())),
            (false, path) => {
                let folder = base
                    .path()
                    .rsplit_once('/')
                    .map_or("", |(folder, _)| folder);
                (without_dots(&format!("{folder}/{path}")), self.query)
            }
        };
        match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }
}

fn is_same_host(named: &str, authority: &Authority, scheme: &Scheme) -> bool {
    let Ok(named) = Authority::try_from(named) else {
        return false;
    };
    // What stands before the host names no other origin, but nobody means well by it.
    !named.as_str().contains('@')
        && named.host().eq_ignore_ascii_case(authority.host())
        && port(&named, scheme) == port(authority, scheme)
}

/// None for a port that is no number.
fn port(authority: &Authority, scheme: &Scheme) -> Option<u16> {
    match authority.as_str().rsplit_once(':') {
        Some((_, digits)) if !digits.is_empty() && !digits.ends_with(']') => authority.port_u16(),
        _ if *scheme == Scheme::HTTPS => Some(443),
        _ => Some(80),
    }
}

/// RFC 3986 §5.2.4, of a path that begins with a slash, or of none.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Of one header: a response has one, and a hostile one is not to make a thousand purges.
const MAX_LINES: usize = 4;
