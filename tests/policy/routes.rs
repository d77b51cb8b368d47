//! Rules by route where they stand: in axum's routers, nested and around.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::{any, get, post},
};
use http::StatusCode;
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, util::MapRequest};
use tower_stash::policy::{Policy, Routes};

use crate::{ok, request};

type Limits = Arc<dyn Policy<&'static str>>;

/// A layer that writes the rule of each request into the answer.
macro_rules! marking {
    ($limits:expr) => {{
        let limits: Limits = $limits.clone();
        from_fn(move |request: Request, next: Next| {
            let limits = limits.clone();
            async move {
                let (parts, body) = request.into_parts();
                let rule = limits.rule(&parts).unwrap_or("none");
                let mut response = next.run(Request::from_parts(parts, body)).await;
                response
                    .headers_mut()
                    .append("rule", http::HeaderValue::from_static(rule));
                response
            }
        })
    }};
}

async fn answer<S>(app: S, method: &str, uri: &str) -> (StatusCode, String)
where
    S: Service<Request, Response = Response>,
    S::Error: std::fmt::Debug,
{
    let response = app.oneshot(request(method, uri)).await.unwrap();
    let rule = response.headers().get("rule");
    let rule = rule.map_or("unmarked", |rule| rule.to_str().unwrap());
    (response.status(), rule.to_owned())
}

/// The rule of a request that a handler answers.
async fn served<S>(app: S, method: &str, uri: &str) -> String
where
    S: Service<Request, Response = Response>,
    S::Error: std::fmt::Debug,
{
    let (status, rule) = answer(app, method, uri).await;
    assert_eq!(status, StatusCode::OK, "{method} {uri}");
    rule
}

fn limits() -> Limits {
    let limits = Routes::new()
        .post("/auth/login", "login")
        .get("/auth/users/{id}", "user")
        .any("/auth/users/me", "me")
        .any("/auth/{*rest}", "auth");
    limits.check().unwrap();
    Arc::new(limits)
}

fn auth() -> Router {
    Router::new()
        .route("/", get(ok))
        .route("/login", post(ok))
        .route("/users/{user_id}", get(ok))
}

#[tokio::test]
async fn a_pattern_means_the_same_wherever_the_layer_stands() {
    let limits = limits();
    let outside = marking!(limits).layer(
        Router::new()
            .nest("/auth", auth())
            .into_service::<Body>()
            .map_response(|response: Response| response),
    );
    for app in [
        Router::new().nest("/auth", auth()).layer(marking!(limits)),
        Router::new()
            .nest("/auth", auth())
            .route_layer(marking!(limits)),
        Router::new().nest("/auth", auth().layer(marking!(limits))),
        Router::new().nest("/auth", auth().route_layer(marking!(limits))),
        Router::new().nest_service("/auth", auth().layer(marking!(limits))),
        Router::new().nest_service("/auth", marking!(limits).layer(auth())),
        Router::new().fallback_service(outside),
    ] {
        assert_eq!(served(app.clone(), "POST", "/auth/login").await, "login");
        assert_eq!(served(app.clone(), "GET", "/auth/users/7").await, "user");
        assert_eq!(served(app.clone(), "HEAD", "/auth/users/7").await, "user");
        assert_eq!(served(app.clone(), "GET", "/auth/users/me").await, "me");
        assert_eq!(served(app, "GET", "/auth").await, "auth");
    }
}

#[tokio::test]
async fn no_spelling_that_reaches_the_handler_avoids_the_rule() {
    let app = Router::new()
        .nest("/auth", auth())
        .fallback(any(ok))
        .layer(marking!(limits()));
    for (uri, rule) in [
        ("/auth/users/%2F", "user"),
        ("/auth/users/%", "user"),
        ("/auth/users/%FF", "user"),
        ("/%61uth/users/7", "user"),
        ("/auth/users/7/", "user"),
        ("//auth/users/7", "user"),
        ("/auth%2Fusers%2f7", "user"),
        ("/auth/", "auth"),
        ("/auth/../auth/users", "auth"),
        ("/AUTH/users/7", "none"),
    ] {
        assert_eq!(served(app.clone(), "GET", uri).await, rule, "{uri}");
    }
}

#[tokio::test]
async fn a_strict_rule_is_not_escaped_by_a_spelling_that_fits_another_route() {
    let limits: Limits = Arc::new(
        Routes::new()
            .post("/render/{name}", "strict")
            .post("/render/{name}/{part}", "part")
            .post("/render/preview", "preview"),
    );
    let app = Router::new()
        .route("/render/{name}", post(ok))
        .route("/render/{name}/{part}", post(ok))
        .route("/render/preview", post(ok))
        .layer(marking!(limits));
    for (uri, rule) in [
        ("/render/x", "strict"),
        ("/render/x%2Fy", "strict"),
        ("/render/x%2fy", "strict"),
        ("/render/pre%76iew", "strict"),
        ("/render/x/y", "part"),
        ("/render//y", "part"),
        ("/render/preview", "preview"),
    ] {
        assert_eq!(served(app.clone(), "POST", uri).await, rule, "{uri}");
    }
}

#[tokio::test]
async fn a_rule_for_a_part_of_a_route_without_one_has_every_spelling() {
    let limits: Limits = Arc::new(
        Routes::new()
            .any("/{*rest}", "all")
            .post("/auth/login", "login"),
    );
    let app = Router::new()
        .route("/auth/{action}", post(ok))
        .route("/old/{action}/", post(ok))
        .layer(marking!(limits));
    for (uri, rule) in [
        ("/auth/login", "login"),
        ("/auth/l%6Fgin", "login"),
        ("/auth/logout", "all"),
        ("/old/login/", "all"),
    ] {
        assert_eq!(served(app.clone(), "POST", uri).await, rule, "{uri}");
    }
}

#[tokio::test]
async fn a_route_with_a_slash_at_its_end_has_the_rule_without() {
    let limits: Limits = Arc::new(
        Routes::new()
            .post("/login", "login")
            .post("/users/{id}/", "user"),
    );
    let app = Router::new()
        .route("/login/", post(ok))
        .route("/users/{id}", post(ok))
        .layer(marking!(limits));
    assert_eq!(served(app.clone(), "POST", "/login/").await, "login");
    assert_eq!(served(app, "POST", "/users/7").await, "user");
}

#[tokio::test]
async fn a_path_rewritten_before_the_router_keeps_the_rule_of_its_route() {
    let rewrite = |mut request: Request| {
        let path = request.uri().path().replace("/v1/", "/auth/");
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let inner = Router::new()
        .nest("/auth", auth())
        .layer(marking!(limits()));
    let app = Router::new().fallback_service(MapRequest::new(inner, rewrite));
    assert_eq!(served(app, "GET", "/v1/users/7").await, "user");
}

#[tokio::test]
async fn a_wider_rule_for_the_path_that_was_asked_for_does_not_hide_the_one_of_the_route() {
    let limits: Limits = Arc::new(
        Routes::new()
            .any("/{*rest}", "all")
            .post("/auth/login", "login"),
    );
    let rewrite = |mut request: Request| {
        *request.uri_mut() = "/auth/login".parse().unwrap();
        request
    };
    let inner = Router::new().nest("/auth", auth()).layer(marking!(limits));
    let app = Router::new().fallback_service(MapRequest::new(inner, rewrite));
    assert_eq!(served(app, "POST", "/signin").await, "login");
}

#[tokio::test]
async fn a_path_rewritten_before_the_router_has_the_rules_of_both_paths() {
    let limits: Limits = Arc::new(
        Routes::new()
            .get("/users/me", "me")
            .get("/own/settings", "settings"),
    );
    let rewrite = |mut request: Request| {
        let path = match request.uri().path() {
            "/me" => "/users/me",
            _ => "/users/settings",
        };
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let inner = Router::new()
        .route("/users/{id}", get(ok))
        .layer(marking!(limits));
    let app = Router::new().fallback_service(MapRequest::new(inner, rewrite));
    assert_eq!(served(app.clone(), "GET", "/me").await, "me");
    let rule = served(app.clone(), "GET", "/own/settings").await;
    assert_eq!(rule, "settings");
    assert_eq!(served(app, "GET", "/other").await, "none");
}

#[tokio::test]
async fn what_nest_leaves_of_a_path_is_no_path_of_its_own() {
    let limits: Limits = Arc::new(
        Routes::new()
            .get("/", "root")
            .get("/users/7", "seven")
            .get("/auth/{*rest}", "auth"),
    );
    let app = Router::new().nest("/auth", auth().layer(marking!(limits)));
    for uri in ["/auth", "/auth/users/7", "/auth/users/8"] {
        assert_eq!(served(app.clone(), "GET", uri).await, "auth", "{uri}");
    }
}

#[tokio::test]
async fn a_slash_trimmed_by_an_inner_service_avoids_no_rule() {
    let trim = |mut request: Request| {
        let path = format!("/{}", request.uri().path().trim_matches('/'));
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let inner = Router::new().nest("/auth", auth());
    let app = Router::new()
        .fallback_service(MapRequest::new(inner, trim))
        .layer(marking!(limits()));
    for uri in [
        "/auth/login",
        "/auth/login/",
        "//auth/login",
        "/auth/login//",
    ] {
        assert_eq!(served(app.clone(), "POST", uri).await, "login", "{uri}");
    }
}

#[test]
fn no_mixture_of_spellings_leads_to_a_wider_rule() {
    let limits = Routes::new()
        .any("/search/{q}", "strict")
        .any("/{*rest}", "lax");
    for path in [
        "/search/a%2Fb",
        "/search/ab/",
        "/search/a%2Fb/",
        "//search/a%2Fb",
        "/./search/a%2fb",
    ] {
        let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        assert_eq!(limits.rule(&parts), Some("strict"), "{path}");
    }
}

fn route_pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => "[al]".boxed(),
        2 => Just("{x}".to_owned()).boxed(),
        1 => Just("a{x}".to_owned()).boxed(),
    ];
    let segments = proptest::collection::vec(segment, 1..4);
    (segments, prop::bool::weighted(0.2)).prop_map(|(mut segments, rest)| {
        if rest {
            segments.push("{*rest}".to_owned());
        }
        format!("/{}", segments.join("/"))
    })
}

/// Greater for a pattern that goes first, as `Routes` says; of "none" it is less than of any.
fn specificity(pattern: &str) -> Vec<u8> {
    let segments = pattern.split('/').skip(1);
    let ranks = segments.map(|segment| match segment {
        "{*rest}" => 0,
        "{x}" => 2,
        "a{x}" => 3,
        _ => 4,
    });
    ranks.chain((pattern != "none").then_some(1)).collect()
}

/// A path with slashes and letters in several spellings.
fn spelling() -> impl Strategy<Value = String> {
    let slash = prop_oneof![
        6 => Just("/"), 2 => Just("%2F"), 1 => Just("%2f"), 1 => Just("//"), 1 => Just("/./"),
    ];
    let piece = prop_oneof![
        2 => Just("a"), 2 => Just("l"), 1 => Just("%6C"), 1 => Just("%61"), 1 => Just("al"),
        1 => Just("a%6c"), 1 => Just("b"), 1 => Just("."),
    ];
    let pieces = proptest::collection::vec((slash, piece), 0..4);
    let end = prop_oneof![3 => Just(""), 1 => Just("/"), 1 => Just("%2F")];
    (pieces, end).prop_map(|(pieces, end)| {
        let path: String = pieces
            .iter()
            .flat_map(|(slash, piece)| [*slash, *piece])
            .collect();
        let rooted = if path.starts_with('/') {
            path
        } else {
            format!("/{path}")
        };
        format!("{rooted}{end}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// Against axum's real router: every route has a rule, and answers with its own pattern.
    #[test]
    fn the_rule_is_the_one_of_the_route_that_axum_chose(
        patterns in proptest::collection::vec(route_pattern(), 1..6), path in spelling(),
    ) {
        let mut router = Router::new();
        let mut limits = Routes::new();
        let mut known = matchit::Router::new();
        for pattern in patterns {
            if known.insert(pattern.clone(), ()).is_ok() {
                let pattern: &'static str = pattern.leak();
                router = router.route(pattern, get(async move || pattern));
                limits = limits.get(pattern, pattern);
            }
        }
        limits.check().unwrap();
        let limits: Limits = Arc::new(limits);
        let app = router.layer(marking!(limits));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (route, rule) = runtime.block_on(async {
            let response = app.oneshot(request("GET", &path)).await.unwrap();
            let rule = response.headers().get("rule").map(|rule| rule.to_str().unwrap().to_owned());
            let route = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
            (String::from_utf8(route.to_vec()).unwrap(), rule)
        });
        // Without a route there is an empty 404, which no route's layer sees.
        let Some(rule) = rule.filter(|_| !route.is_empty()) else { return Ok(()) };
        if route.contains("{*") {
            prop_assert!(specificity(&rule) >= specificity(&route), "{} {}", rule, route);
        } else {
            prop_assert_eq!(rule, route);
        }
    }
}

#[tokio::test]
async fn a_fallback_has_the_rule_of_its_path() {
    let app = Router::new()
        .route("/", get(ok))
        .fallback(any(ok))
        .layer(marking!(limits()));
    assert_eq!(served(app.clone(), "GET", "/auth/x").await, "auth");
    assert_eq!(served(app, "GET", "/elsewhere").await, "none");
}

#[tokio::test]
async fn what_axum_refuses_as_a_pattern_is_refused_here() {
    for pattern in ["login", "/:id", "/*rest", "/{", "/{}", "/{*a}/b", "/{a}x"] {
        assert!(Routes::new().any(pattern, ()).check().is_err(), "{pattern}");
        let routed = std::panic::catch_unwind(|| Router::<()>::new().route(pattern, get(ok)));
        assert!(routed.is_err(), "{pattern}");
    }
}
