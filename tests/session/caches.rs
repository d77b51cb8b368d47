//! What caches and browsers are told of responses that depend on a session.

use axum::{
    Router,
    extract::Extension,
    response::IntoResponse,
    routing::{get, post},
};
use http::{
    HeaderValue, Request,
    header::{CACHE_CONTROL, VARY},
};
use tower::{Layer, Service, ServiceExt as _, service_fn};
use tower_stash::{
    marks::SessionAccessed,
    session::{HeaderTransport, Session, SessionError},
};

use crate::fixture::{Bed, Browser, web};

#[tokio::test]
async fn what_does_not_ask_the_session_says_nothing_of_it() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let answer = browser.get("/static").await;
    assert!(answer.all("vary").is_empty());
    assert!(answer.all("cache-control").is_empty());
    assert!(answer.cookies().is_empty());
    assert!(answer.extensions.get::<SessionAccessed>().is_none());
}

#[tokio::test]
async fn what_asks_the_session_varies_by_cookie_and_is_not_stored() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    for _ in ["without a session", "with one"] {
        for path in ["/who", "/get/a", "/state"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.all("vary"), ["cookie"], "{path}");
            assert_eq!(answer.all("cache-control"), ["no-store"], "{path}");
            let mark = answer.extensions.get::<SessionAccessed>().unwrap();
            assert!(mark.is_accessed());
        }
        let answer = browser.post("/login/ada").await;
        assert_eq!(answer.all("vary"), ["cookie"]);
        assert_eq!(answer.all("cache-control"), ["no-store"]);
    }
}

/// An application whose handler reads, or writes, and answers with these headers.
fn saying(bed: &Bed, headers: &'static [(http::HeaderName, &'static str)]) -> Browser {
    let answer = move || {
        let mut response = "hello".into_response();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            response.headers_mut().append(name, value);
        }
        response
    };
    let read = async move |session: Session| {
        session.user().await?;
        Ok::<_, SessionError>(answer())
    };
    let write = async move |session: Session| {
        session.insert("a", 1).await?;
        Ok::<_, SessionError>(answer())
    };
    let app = bed.app(web(), |_| {
        Router::new().route("/", get(read)).route("/", post(write))
    });
    Browser::new(&app)
}

#[tokio::test]
async fn what_the_handler_said_of_caches_stays_unless_a_cookie_is_sent() {
    let bed = Bed::new();
    let browser = saying(&bed, &[(CACHE_CONTROL, "private, max-age=60")]);
    let read = browser.get("/").await;
    assert_eq!(read.all("cache-control"), ["private, max-age=60"]);
    assert_eq!(read.all("vary"), ["cookie"]);
    let begun = browser.post("/").await;
    assert_eq!(begun.cookies().len(), 1);
    assert_eq!(begun.all("cache-control"), ["no-store"]);
    let written = browser.post("/").await;
    assert_eq!(written.all("cache-control"), ["private, max-age=60"]);
}

#[tokio::test]
async fn vary_is_merged_with_what_the_handler_said() {
    for (said, expected) in [
        (&[(VARY, "accept")][..], &["accept", "cookie"][..]),
        (&[(VARY, "accept,  COOKIE ")], &["accept,  COOKIE "]),
        (&[(VARY, "*")], &["*"]),
        (&[(VARY, "accept"), (VARY, "Cookie")], &["accept", "Cookie"]),
        (&[(VARY, "cookies")], &["cookies", "cookie"]),
    ] {
        let bed = Bed::new();
        let browser = saying(&bed, said);
        assert_eq!(browser.get("/").await.all("vary"), expected);
    }
}

#[tokio::test]
async fn by_header_it_varies_by_that_header() {
    let bed = Bed::new();
    let rule = web().with_header_transport(HeaderTransport::default());
    let browser = bed.browser(rule.unwrap());
    assert_eq!(browser.get("/who").await.all("vary"), ["x-session"]);
}

/// A cache inside takes the mark of the request, one outside that of the response.
#[tokio::test]
async fn a_cache_inside_or_outside_learns_whether_the_session_was_asked() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let inner = service_fn(async |request: Request<axum::body::Body>| {
        let session = request.extensions().get::<Session>().unwrap();
        if request.uri() == "/asks" {
            session.user().await.unwrap();
        }
        Ok::<_, std::convert::Infallible>("hello".into_response())
    });
    for (path, asks) in [("/asks", true), ("/does-not", false)] {
        let seen_inside = std::sync::Arc::new(std::sync::Mutex::new(None));
        let seen = seen_inside.clone();
        let cache_inside = tower::layer::layer_fn(move |mut inner: _| {
            let seen = seen.clone();
            service_fn(move |request: Request<axum::body::Body>| {
                let mark = request.extensions().get::<SessionAccessed>().cloned();
                let response = Service::call(&mut inner, request);
                let seen = seen.clone();
                async move {
                    let mark: SessionAccessed = mark.unwrap();
                    assert!(!mark.is_accessed(), "not yet");
                    let response: Result<axum::response::Response, std::convert::Infallible> =
                        response.await;
                    *seen.lock().unwrap() = Some(mark.is_accessed());
                    response
                }
            })
        });
        let service = layer.layer(tower::util::BoxCloneService::new(cache_inside.layer(inner)));
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let outside = response.extensions().get::<SessionAccessed>();
        assert_eq!(outside.is_some_and(SessionAccessed::is_accessed), asks);
        assert_eq!(*seen_inside.lock().unwrap(), Some(asks));
    }
}

#[tokio::test]
async fn whoever_has_the_mark_sees_the_first_access() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        let handler = async |Extension(mark): Extension<SessionAccessed>, session: Session| {
            let before = mark.is_accessed();
            session.state().await?;
            Ok::<_, SessionError>(format!("{before} {}", mark.is_accessed()))
        };
        Router::new().route("/", get(handler))
    });
    assert_eq!(Browser::new(&app).get("/").await.text, "false true");
}
