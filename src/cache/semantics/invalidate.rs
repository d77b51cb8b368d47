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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved_from(base: &str, reference: &str) -> Option<String> {
        let reference = HeaderValue::from_bytes(reference.as_bytes()).ok()?;
        same_origin(&base.parse().unwrap(), &reference).map(|url| url.to_string())
    }

    fn resolved(reference: &str) -> Option<String> {
        resolved_from("http://a/b/c/d;p?q", reference)
    }

    fn urls_of(method: &str, status: u16, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut response = HeaderMap::new();
        for (name, value) in lines {
            response.append(*name, HeaderValue::from_static(value));
        }
        let (method, status) = (
            method.parse().unwrap(),
            StatusCode::from_u16(status).unwrap(),
        );
        let target = "https://example.com/a/b?c".parse().unwrap();
        let urls = urls(&method, &target, status, &response);
        urls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn success_of_an_unsafe_or_unknown_method_invalidates_its_url() {
        for method in [
            "POST", "PUT", "PATCH", "DELETE", "CONNECT", "M-SEARCH", "get", "LOCK",
        ] {
            for status in [200, 201, 204, 299, 303, 304, 399] {
                let urls = urls_of(method, status, &[]);
                assert_eq!(urls, ["https://example.com/a/b?c"], "{method} {status}");
            }
        }
    }

    #[test]
    fn safe_methods_invalidate_nothing() {
        for method in [
            "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY",
        ] {
            assert!(
                urls_of(method, 200, &[("location", "/x")]).is_empty(),
                "{method}"
            );
        }
    }

    #[test]
    fn failures_invalidate_nothing() {
        for status in [100, 103, 400, 404, 409, 499, 500, 503, 999] {
            assert!(
                urls_of("POST", status, &[("location", "/x")]).is_empty(),
                "{status}"
            );
        }
    }

    #[test]
    fn location_and_content_location_of_the_same_origin_are_invalidated_once() {
        let lines = [
            ("location", "/x"),
            ("content-location", "HTTPS://EXAMPLE.com:443/y?z#f"),
            ("content-location", "../x"),
            ("content-location", ""),
        ];
        let urls = urls_of("POST", 201, &lines);
        let expected = [
            "https://example.com/a/b?c",
            "https://example.com/x",
            "https://example.com/y?z",
        ];
        assert_eq!(urls, expected);
    }

    #[test]
    fn many_lines_make_few_purges() {
        let lines: Vec<_> = ["/1", "/2", "/3", "/4", "/5", "/6"]
            .map(|path| ("location", path))
            .into();
        assert_eq!(urls_of("POST", 201, &lines).len(), 1 + MAX_LINES);
    }

    #[test]
    fn a_target_that_is_not_absolute_is_given_back_alone() {
        let response = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("/x"))]);
        let target: Uri = "/a".parse().unwrap();
        let urls = urls(&Method::POST, &target, StatusCode::OK, &response);
        assert_eq!(urls, [target]);
    }

    /// RFC 3986 §5.4.1, §5.4.2.
    #[test]
    fn references_are_resolved_as_the_examples_of_the_rfc() {
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("//a/g", "http://a/g"),
            ("//A:80", "http://a/"),
            ("http://a/./g?", "http://a/g?"),
            ("//a?y", "http://a/?y"),
        ] {
            assert_eq!(
                resolved(reference).as_deref(),
                Some(expected),
                "{reference}"
            );
        }
        // Of other schemes, or other hosts.
        for reference in ["g:h", "//g", "http:g"] {
            assert_eq!(resolved(reference), None, "{reference}");
        }
    }

    #[test]
    fn another_origin_is_left_alone() {
        for reference in [
            "https://a/g",
            "http://a:81/g",
            "http://b/g",
            "//b/g",
            "///g",
            "http:///g",
            "http://a.b/g",
            "http://a@b/g",
            "http://b@a/g",
            "http://a:b@a/g",
            "http://a:99999/g",
            "http://a:80:80/g",
            "http://a:x/g",
            "http://a\\@b/g",
            "http://[a]/g",
            "http://[::1]/g",
            "http:/g",
            "ftp://a/g",
            "javascript:alert(1)",
            "a:80/g",
            "http//:",
            "g h",
            "\u{fc}:",
            "/\u{0}",
        ] {
            let resolved = resolved(reference);
            let is_alone =
                resolved.is_none() || resolved.as_deref() == Some("http://a/b/c/http//:");
            assert!(is_alone, "{reference}: {resolved:?}");
        }
    }

    #[test]
    fn ports_are_compared_as_the_scheme_has_them() {
        for (base, reference, is_same) in [
            ("https://a/", "https://a:443/g", true),
            ("https://a:443/", "//a/g", true),
            ("https://a/", "https://a:80/g", false),
            ("http://a:8080/", "http://a:8080/g", true),
            ("http://a:8080/", "http://a/g", false),
            ("http://a/", "http://a:/g", true),
            ("http://[::1]/", "http://[::1]:80/g", true),
            ("http://[::1]:8080/", "http://[::1]/g", false),
        ] {
            let is_resolved = resolved_from(base, reference).is_some();
            assert_eq!(is_resolved, is_same, "{base} {reference}");
        }
    }

    #[test]
    fn a_path_is_merged_with_a_base_without_one() {
        assert_eq!(resolved_from("http://a", "g").unwrap(), "http://a/g");
        assert_eq!(resolved_from("http://a?x", "..").unwrap(), "http://a/");
        assert_eq!(
            resolved_from("http://a/./b", "?x").unwrap(),
            "http://a/./b?x"
        );
    }

    #[test]
    fn escaped_dots_and_backslashes_are_of_a_path_like_any_other() {
        assert_eq!(resolved("/x/%2e%2E/y").unwrap(), "http://a/x/%2e%2E/y");
        assert!(resolved("/\\b/g").is_none_or(|url| url.starts_with("http://a/")));
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_origin(reference in "[a-c:/?#.@\\[\\]%0-9\\\\ é-]{0,20}") {
            if let Some(url) = resolved(&reference) {
                let url: Uri = url.parse().unwrap();
                prop_assert_eq!(url.authority().unwrap().as_str(), "a");
                prop_assert_eq!(url.scheme_str(), Some("http"));
                prop_assert!(url.path().starts_with('/'));
            }
        }

        #[test]
        fn any_bytes_are_read(reference in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(line) = HeaderValue::from_bytes(&reference) {
                same_origin(&Uri::from_static("http://a/b"), &line);
            }
        }

        #[test]
        fn no_dots_are_left(path in "(/(\\.|\\.\\.|a|)){0,8}") {
            let clean = without_dots(&path);
            prop_assert!(clean.starts_with('/'));
            prop_assert!(clean.split('/').all(|segment| !matches!(segment, "." | "..")));
            prop_assert_eq!(without_dots(&clean), clean);
        }
    }
}
