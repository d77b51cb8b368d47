//! Which headers of a response belong to the answer, and which to one exchange, connection or client.

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, SET_COOKIE},
};

use super::Fields;

/// Chooses the headers that are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::idempotency) struct Hygiene {
    /// Whether `Set-Cookie` is stored as well: a replay then sets the same cookies again.
    pub(in crate::idempotency) keeps_cookies: bool,
}

impl Hygiene {
    /// The headers, or trailers, to be stored; in their order.
    pub(in crate::idempotency) fn kept(self, headers: &HeaderMap) -> Fields {
        headers
            .iter()
            .filter(|(name, _)| self.keeps(name) && !is_named_by_connection(name, headers))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn keeps(self, name: &HeaderName) -> bool {
        // Both change what the client that gets them keeps.
        let is_cookie = name == SET_COOKIE || name == CLEAR_SITE_DATA;
        !is_of_one_exchange(name) && (self.keeps_cookies || !is_cookie)
    }
}

/// Whether a header says something of the connection, the moment or the request that it came with,
/// so that it would be wrong in any replay.
///
/// `Trailer` is no such header: RFC 9110 §7.6.1 does not list it, and it must stand in a replay for
/// hyper to send the trailers that it names (§6.6.2) over HTTP/1.1.
pub(super) fn is_of_one_exchange(name: &HeaderName) -> bool {
    let name = name.as_str();
    is_hop_by_hop(name) || is_of_the_moment(name) || is_trace(name) || is_own_marker(name)
}

/// RFC 9110 §7.6.1: a field is of one connection also if `Connection` names it.
fn is_named_by_connection(name: &HeaderName, headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| {
            let option = option.trim_ascii();
            option.eq_ignore_ascii_case(name.as_str().as_bytes())
        })
}

/// RFC 9110 §7.6.1.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// What a server, or a layer outside, says anew with each response.
fn is_of_the_moment(name: &str) -> bool {
    matches!(
        name,
        "date"
            | "content-length"
            | "server-timing"
            | "alt-svc"
            | "ratelimit"
            // RFC 9110 §11.6.3 and §11.7.3: what the next request is to be authenticated by.
            | "authentication-info"
            | "proxy-authentication-info"
    ) || starts_with_any(name, &MOMENT_PREFIXES)
}

/// Ids of traces, spans and requests, in the spelling of the usual tracers and proxies.
fn is_trace(name: &str) -> bool {
    matches!(
        name,
        "traceparent"
            | "tracestate"
            | "traceresponse"
            | "baggage"
            | "trace-id"
            | "x-trace-id"
            | "request-id"
            | "x-request-id"
            | "correlation-id"
            | "x-correlation-id"
            | "x-amzn-trace-id"
            | "x-amzn-requestid"
            | "x-amz-request-id"
            | "x-ms-request-id"
            | "x-cloud-trace-context"
            | "x-client-trace-id"
            | "b3"
            | "uber-trace-id"
            | "sentry-trace"
            | "elastic-apm-traceparent"
            | "grpc-trace-bin"
            | "x-ot-span-context"
    ) || starts_with_any(name, &TRACE_PREFIXES)
}

fn is_own_marker(name: &str) -> bool {
    [IDEMPOTENT_REPLAYED, IDEMPOTENCY_STORED]
        .iter()
        .any(|marker| *marker == name)
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Says `true` on each replay.
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Says `?0` on an answer that was not recorded.
pub(super) const IDEMPOTENCY_STORED: HeaderName = HeaderName::from_static("idempotency-stored");

const MOMENT_PREFIXES: [&str; 4] = [
    "access-control-",
    "ratelimit-",
    "x-ratelimit-",
    "x-rate-limit-",
];

const TRACE_PREFIXES: [&str; 4] = ["x-b3-", "uberctx-", "ot-tracer-", "x-datadog-"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// The lines that are kept, as they are.
    fn kept(hygiene: Hygiene, lines: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let kept = hygiene.kept(&headers(lines)).into_iter();
        kept.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    fn is_kept(name: &'static str) -> bool {
        !kept(Hygiene::default(), &[(name, "value")]).is_empty()
    }

    #[test]
    fn what_belongs_to_one_connection_is_not_kept() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn what_connection_names_is_not_kept() {
        let lines = [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("x-hop-2", "2"),
            ("connection", "etag ,,x-other"),
            ("etag", "\"3\""),
            ("x-other", "4"),
        ];
        let kept = kept(Hygiene::default(), &lines);
        assert_eq!(kept, [("x-hop-2".into(), "2".into())]);
    }

    #[test]
    fn what_was_true_of_one_moment_or_client_is_not_kept() {
        for name in [
            "date",
            "content-length",
            "server-timing",
            "alt-svc",
            "ratelimit",
            "ratelimit-policy",
            "ratelimit-remaining",
            "x-ratelimit-limit",
            "x-rate-limit-reset",
            "access-control-allow-origin",
            "access-control-expose-headers",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn ids_of_traces_and_requests_are_not_kept() {
        for name in [
            "traceparent",
            "tracestate",
            "traceresponse",
            "baggage",
            "trace-id",
            "x-trace-id",
            "request-id",
            "x-request-id",
            "correlation-id",
            "x-correlation-id",
            "x-amzn-trace-id",
            "x-amzn-requestid",
            "x-amz-request-id",
            "x-ms-request-id",
            "x-cloud-trace-context",
            "x-client-trace-id",
            "b3",
            "x-b3-traceid",
            "x-b3-sampled",
            "uber-trace-id",
            "uberctx-user",
            "sentry-trace",
            "elastic-apm-traceparent",
            "grpc-trace-bin",
            "x-ot-span-context",
            "ot-tracer-spanid",
            "x-datadog-trace-id",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn markers_of_this_layer_are_not_kept() {
        assert!(!is_kept("idempotent-replayed"));
        assert!(!is_kept("idempotency-stored"));
    }

    #[test]
    fn all_else_is_kept() {
        for name in [
            "location",
            "retry-after",
            "etag",
            "vary",
            "content-type",
            "content-encoding",
            "content-language",
            "cache-control",
            "last-modified",
            "link",
            "www-authenticate",
            "trailer",
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "idempotency-key",
            "ratelimited",
            "x-updated",
            "trace",
        ] {
            assert!(is_kept(name), "{name}");
        }
    }

    #[test]
    fn cookies_are_kept_by_opt_in_only() {
        let lines = [("set-cookie", "a=1"), ("set-cookie", "b=2")];
        assert!(kept(Hygiene::default(), &lines).is_empty());
        let keeps_cookies = true;
        let kept = kept(Hygiene { keeps_cookies }, &lines);
        let cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2")];
        assert_eq!(
            kept,
            cookies.map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn order_and_repetitions_are_kept() {
        let lines = [
            ("x-b", "1"),
            ("date", "now"),
            ("x-a", "2"),
            ("link", "3"),
            ("link", "4"),
            ("link", "3"),
        ];
        let kept = kept(Hygiene::default(), &lines);
        let names: Vec<_> = kept
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        assert_eq!(names, ["x-b 1", "x-a 2", "link 3", "link 4", "link 3"]);
    }
}
