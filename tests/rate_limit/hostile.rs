//! Whatever a client writes into its headers, its answer is whole and says nothing of it.

use std::{convert::Infallible, future::ready};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use proptest::{collection::vec, prelude::*, sample::select};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{HeaderStyle, Quota, RateLimitLayer, RateLimitRule},
    respond::{GrpcStatus, ProblemDetails, Respond},
    testing::ManualClock,
};

use crate::http_client::{request, text};

/// What may stand in a header, after one of these beginnings: all but control characters.
fn header_value(beginnings: &'static [&'static str]) -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![
        0x20..0x7f_u8,
        0x80..=0xff_u8,
        select(b"\"\\;,=%<>\t".as_slice())
    ];
    (select(beginnings), vec(byte, 0..64)).prop_map(|(beginning, junk)| {
        let bytes = [beginning.as_bytes(), &junk].concat();
        HeaderValue::from_bytes(&bytes).unwrap()
    })
}

/// The answer to the second request of a client that may send one.
fn denied(
    respond: impl Respond<Body>,
    style: HeaderStyle,
    hostile: Request<Body>,
) -> Response<Body> {
    let quotas = [("minute", Quota::per_minute(1))];
    let rule = RateLimitRule::new("api", header("x-key").or_shared(), quotas).unwrap();
    let backend = MemoryBackend::new().with_clock(ManualClock::new());
    let service = RateLimitLayer::new(backend, rule)
        .unwrap()
        .with_headers(style)
        .with_respond(respond)
        .layer(service_fn(|_: Request<Body>| {
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        }));
    block_on(async {
        let Ok(_) = service.clone().oneshot(request(Method::GET, "/")).await;
        let Ok(denied) = service.oneshot(hostile).await;
        denied
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.build().unwrap().block_on(future)
}

fn style() -> impl Strategy<Value = HeaderStyle> {
    select(vec![
        HeaderStyle::Draft11,
        HeaderStyle::Draft7,
        HeaderStyle::Draft6,
        HeaderStyle::Legacy,
        HeaderStyle::LegacyDelta,
        HeaderStyle::Off,
    ])
}

proptest! {
    #[test]
    fn every_denial_is_whole(
        content_type in header_value(&["", "application/grpc", "APPLICATION/GRPC", "text/html"]),
        origin in header_value(&["https://", "null,", "*,"]),
        style in style(),
        says_grpc in any::<bool>(),
    ) {
        let mut hostile = request(Method::POST, "/%22%0d%0a");
        for (name, value) in [("content-type", &content_type), ("origin", &origin)] {
            hostile.headers_mut().insert(name, value.clone());
        }
        let response = if says_grpc {
            denied(GrpcStatus, style, hostile)
        } else {
            denied(ProblemDetails, style, hostile)
        };
        let headers = response.headers().clone();
        prop_assert_eq!(&headers["retry-after"], "60");
        prop_assert_eq!(&headers["cache-control"], "no-store");
        prop_assert_eq!(headers.contains_key("ratelimit"), matches!(style, HeaderStyle::Draft11 | HeaderStyle::Draft7));
        prop_assert!(headers["access-control-expose-headers"].to_str().unwrap().ends_with("Retry-After"));
        prop_assert!(headers.values().all(|value| value != origin));
        if headers.contains_key("grpc-status") {
            prop_assert_eq!(response.status(), StatusCode::OK);
            prop_assert!(headers["content-type"].as_bytes().to_ascii_lowercase().starts_with(b"application/grpc"));
            prop_assert!(block_on(text(response)).is_empty());
        } else {
            prop_assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            let problem: serde_json::Value = serde_json::from_str(&block_on(text(response))).unwrap();
            prop_assert_eq!(&problem["violated-policies"][0], "api.minute");
        }
    }
}
