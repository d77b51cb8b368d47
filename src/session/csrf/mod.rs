//! Requests that another site's page makes in a user's name.

mod origin;
mod token;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ORIGIN, UPGRADE},
    request::Parts,
};

use self::origin::is_own;
pub(super) use self::token::CsrfSeed;
use crate::error::ConfigError;

/// Which requests of browsers a route takes, so that no other site's page can make one in the name
/// of a user (cross-site request forgery).
///
/// [`SessionRule::with_csrf`](super::SessionRule::with_csrf) asks it before the handler runs and
/// without asking the backend. A request that is refused gets 403 (gRPC: `PERMISSION_DENIED`).
///
/// ```
/// use tower_stash::{policy::{Policy as _, Routes}, session::{Csrf, SessionRule}};
///
/// let csrf = Csrf::new().with_trusted_origin("https://pay.example")?;
/// let web = SessionRule::new("web")?.with_csrf(csrf);
/// let routes = Routes::new()
///     .post("/webhook", web.clone().without_csrf()) // has a signature of its own
///     .or(web);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
///
/// # What is taken
///
/// 1. GET, HEAD, OPTIONS and TRACE (RFC 9110 §9.2.1): a link from elsewhere must work. So handlers
///    of these must change nothing. A GET that asks for a WebSocket is no link: browsers let any
///    page open one, so it is checked like the others.
/// 2. By `Sec-Fetch-Site`, which no page can forge: `same-origin`, and `none`, where the user and no
///    page made the request. `same-site` [if the rule says so](Self::with_same_site_requests): a
///    sibling subdomain is often somebody else's. Of anything else, what has a trusted `Origin`.
/// 3. Without it, by `Origin`: a trusted one, and the host that the request is for (`:authority`, or
///    `Host`). Browsers of before 2023 send no `Sec-Fetch-Site`, and none does over plain HTTP
///    but to localhost. `Origin: null`, of a sandboxed frame for example, is nobody's.
///    Chromium sends none with the handshake of a web socket either.
/// 4. With neither header: since 2020 every browser sends `Origin` with these methods, so it
///    is no browser that asks, and brings no cookies but its own.
///
/// Hosts are compared without regard to case and default ports, as proxies write both. The scheme
/// counts only where it tells something: a page on plain HTTP posts nothing to a request that says
/// that it came by HTTPS. The other way round is what every proxy makes that ends TLS. A proxy that
/// writes its own name into `Host` makes rule 3 refuse: trust the origin that browsers see.
///
/// If one of these headers comes more than once, as no browser sends it, each of them must do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Csrf {
    trusted_origins: Vec<Box<str>>,
    takes_same_site: bool,
}

impl Csrf {
    /// Takes what comes from a page of the same origin, or from no page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all requests of this origin's pages as well.
    ///
    /// # Errors
    ///
    /// What browsers never send, and so would never match: anything but `scheme://host` or
    /// `scheme://host:port` in lower case, without the scheme's default port; international names
    /// are in Punycode.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        origin::check(origin)?;
        self.trusted_origins.push(origin.into());
        Ok(self)
    }

    /// Takes requests of all subdomains' pages as well, and of the parent domain's.
    ///
    /// Only `Sec-Fetch-Site` tells them; for browsers that do not send it, and for web sockets, name
    /// the origins.
    pub fn with_same_site_requests(mut self) -> Self {
        self.takes_same_site = true;
        self
    }

    /// Whether a request may be what the user wanted.
    pub(super) fn admits(&self, request: &Parts) -> bool {
        let headers = &request.headers;
        if request.method.is_safe() && !headers.contains_key(UPGRADE) {
            return true;
        }
        match told(headers, &SEC_FETCH_SITE, |site| self.takes_site(site)) {
            Some(true) => true,
            Some(false) => told(headers, &ORIGIN, |origin| self.trusts(origin)) == Some(true),
            None => {
                let is_taken = |origin: &[u8]| self.trusts(origin) || is_own(origin, request);
                told(headers, &ORIGIN, is_taken) != Some(false)
            }
        }
    }

    fn takes_site(&self, site: &[u8]) -> bool {
        match site {
            b"same-origin" | b"none" => true,
            b"same-site" => self.takes_same_site,
            _ => false,
        }
    }

    fn trusts(&self, origin: &[u8]) -> bool {
        let mut trusted = self.trusted_origins.iter();
        trusted.any(|trusted| trusted.as_bytes() == origin)
    }
}

/// Whether all values of a header are taken; `None` if it has none, or empty ones.
fn told(headers: &HeaderMap, name: &HeaderName, is_taken: impl Fn(&[u8]) -> bool) -> Option<bool> {
    let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut told = values.filter(|value| !value.is_empty()).map(is_taken);
    told.next().map(|first| first && told.all(|taken| taken))
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use http::{Request, Uri};

    use super::*;

    /// A request of this method and target with these headers.
    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn another_sites_page_opens_no_web_socket() {
        let admits = |header| {
            let headers = [("upgrade", "websocket"), ("host", "shop.example"), header];
            Csrf::new().admits(&request("GET", "/live", &headers))
        };
        assert!(admits(("sec-fetch-site", "same-origin")));
        assert!(!admits(("sec-fetch-site", "cross-site")));
        assert!(admits(("origin", "https://shop.example")));
        assert!(!admits(("origin", "https://other.example")));
    }

    fn admits(headers: &[(&str, &str)]) -> bool {
        Csrf::new().admits(&request("POST", "/", headers))
    }

    #[test]
    fn safe_methods_pass_from_everywhere() {
        let evil = [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ];
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(Csrf::new().admits(&request(method, "/", &evil)), "{method}");
        }
        for method in [
            "POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "PROPFIND",
        ] {
            assert!(
                !Csrf::new().admits(&request(method, "a.example:443", &evil)),
                "{method}"
            );
        }
    }

    #[test]
    fn what_the_browser_says_of_the_site_decides() {
        for (site, is_taken) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("Same-Origin", false),
            ("anything", false),
        ] {
            assert_eq!(admits(&[("sec-fetch-site", site)]), is_taken, "{site}");
        }
    }

    #[test]
    fn the_site_counts_before_the_origin() {
        let own = [
            ("host", "a.example"),
            ("origin", "https://a.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(!admits(&own));
        let null = [("origin", "null"), ("sec-fetch-site", "same-origin")];
        assert!(admits(&null), "a form under `Referrer-Policy: no-referrer`");
    }

    #[test]
    fn a_sibling_passes_if_the_rule_says_so() {
        let csrf = Csrf::new().with_same_site_requests();
        assert!(csrf.admits(&request("POST", "/", &[("sec-fetch-site", "same-site")])));
        assert!(!csrf.admits(&request("POST", "/", &[("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn a_trusted_origin_passes_whatever_the_site_is() {
        let csrf = Csrf::new()
            .with_trusted_origin("https://pay.example")
            .unwrap();
        for site in ["", "same-site", "cross-site"] {
            let trusted = [("origin", "https://pay.example"), ("sec-fetch-site", site)];
            assert!(csrf.admits(&request("POST", "/", &trusted)), "{site}");
            for other in [
                "https://pay.example:444",
                "http://pay.example",
                "https://evil.example",
            ] {
                let other = [("origin", other), ("sec-fetch-site", site)];
                assert!(!csrf.admits(&request("POST", "/", &other)), "{other:?}");
            }
        }
        assert!(
            !csrf.admits(&request("POST", "/", &[("sec-fetch-site", "cross-site")])),
            "no origin is not a trusted one"
        );
    }

    #[test]
    fn the_own_host_is_its_own_origin_for_browsers_that_say_nothing_of_the_site() {
        for (host, origin, is_taken) in [
            ("a.example", "https://a.example", true),
            ("a.example", "http://a.example", true),
            ("A.Example", "https://a.example", true),
            ("a.example:443", "https://a.example", true),
            ("a.example:80", "http://a.example", true),
            ("a.example:8080", "http://a.example:8080", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("a.example:80", "https://a.example", false),
            ("a.example:8080", "http://a.example", false),
            ("a.example", "http://a.example:8080", false),
            ("a.example", "https://b.example", false),
            ("a.example", "https://a.example.evil", false),
            ("a.example", "https://evil.example/a.example", false),
            ("a.example", "https://a.example@evil.example", false),
            ("a.example", "https://evil@a.example", false),
            ("a.example", "a.example", false),
            ("a.example", "ftp://a.example", false),
            ("a.example", "null", false),
            ("null", "null", false),
            ("", "https://", false),
        ] {
            let headers = [("host", host), ("origin", origin)];
            assert_eq!(admits(&headers), is_taken, "{origin} at {host}");
        }
        assert!(
            !admits(&[("origin", "https://a.example")]),
            "without a host"
        );
    }

    #[test]
    fn the_authority_counts_before_the_host_field() {
        let headers = [("host", "b.example"), ("origin", "https://a.example")];
        assert!(Csrf::new().admits(&request("POST", "https://a.example/", &headers)));
        let headers = [("host", "a.example"), ("origin", "https://a.example")];
        assert!(!Csrf::new().admits(&request("POST", "https://b.example/", &headers)));
    }

    #[test]
    fn a_page_on_plain_http_posts_nothing_to_https() {
        let http = [("origin", "http://a.example")];
        let https = [("origin", "https://a.example")];
        assert!(!Csrf::new().admits(&request("POST", "https://a.example/", &http)));
        assert!(Csrf::new().admits(&request("POST", "http://a.example/", &http)));
        assert!(
            Csrf::new().admits(&request("POST", "http://a.example/", &https)),
            "behind a proxy that ends TLS"
        );
    }

    #[test]
    fn who_sends_neither_header_is_no_browser() {
        assert!(admits(&[]));
        assert!(admits(&[("origin", ""), ("sec-fetch-site", "")]));
    }

    #[test]
    fn of_several_header_lines_each_must_do() {
        assert!(!admits(&[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(!admits(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin")
        ]));
        let own = ("origin", "https://a.example");
        let evil = ("origin", "https://evil.example");
        let host = ("host", "a.example");
        assert!(admits(&[host, own, own]));
        assert!(!admits(&[host, own, evil]));
        assert!(!admits(&[host, evil, own]));
        assert!(
            !admits(&[host, ("host", "evil.example"), own]),
            "two hosts are none"
        );
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused_with_the_reason() {
        for origin in [
            "https://pay.example",
            "http://[::1]:3000",
            "tauri://localhost",
        ] {
            assert!(Csrf::new().with_trusted_origin(origin).is_ok(), "{origin}");
        }
        for origin in [
            "",
            "null",
            "pay.example",
            "https://",
            "https://pay.example/",
            "https://pay.example/path",
            "https://pay.example?query",
            "https://Pay.example",
            "HTTPS://pay.example",
            "https://pay.example:443",
            "http://pay.example:80",
            "https://user@pay.example",
            "https://müller.example",
            "https://*.pay.example",
            "https://pay.example:",
            "https://pay.example:99999",
        ] {
            let refused = Csrf::new().with_trusted_origin(origin).unwrap_err();
            assert!(refused.to_string().contains("write"), "{refused}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(origin in "[ -~]{0,40}", host in "[ -~]{0,40}", target in "[!-~]{0,40}") {
            let mut request = request("POST", "/", &[("origin", &origin), ("host", &host)]);
            if let Ok(target) = Uri::try_from(target) {
                request.uri = target;
            }
            Csrf::new().admits(&request);
        }
    }
}
