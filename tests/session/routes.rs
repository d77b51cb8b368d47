//! What a rule says for a route.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::FromRequestParts as _,
    routing::{get, post},
};
use http::{Request, StatusCode, request::Parts, response};
use tower_stash::{
    backend::MemoryBackend,
    policy::Routes,
    respond::{GrpcCode, Rejection},
    session::{
        HeaderTransport, OnGone, Session, SessionCookie, SessionError, SessionLayer, SessionRule,
    },
};

use crate::fixture::{Bed, Browser, web};

/// A shop all of whose routes have this rule, and a browser of another that has the default one.
fn two(bed: &Bed, rule: SessionRule) -> (Browser, Browser) {
    (bed.browser(rule), bed.browser(web()))
}

/// Gives one browser the other's cookie.
fn lend(from: &Browser, to: &Browser) {
    to.set_cookie("__Host-id", &from.token());
}

#[tokio::test]
async fn on_a_read_only_route_nothing_can_be_changed() {
    let bed = Bed::new();
    let (read_only, browser) = two(&bed, web().with_read_only());
    browser.post("/set/a/1").await;
    lend(&browser, &read_only);
    for path in [
        "/set/a/2",
        "/remove/a",
        "/clear",
        "/incr/n",
        "/renew",
        "/start",
        "/logout",
        "/login/ada",
    ] {
        let refused = read_only.post(path).await;
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(refused.text.contains("read-only"), "{}", refused.text);
        assert!(refused.cookies().is_empty());
    }
    assert_eq!(read_only.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn a_route_that_needs_a_user_is_401_without_and_does_not_run() {
    let bed = Bed::new();
    let ran = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&ran);
    let handler = async move |session: Session| {
        runs.store(true, Ordering::Relaxed);
        session.user().await.map(Option::unwrap)
    };
    let app = bed.app(web().with_required_user(), |_| {
        Router::new().route("/", get(handler))
    });
    let (guarded, browser) = (Browser::new(&app), bed.browser(web()));
    let refused = guarded.get("/").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.all("content-type"), ["application/problem+json"]);
    assert_eq!(refused.problem()["detail"], "nobody is logged in");
    assert_eq!(refused.all("vary"), ["cookie"]);
    assert_eq!(refused.all("cache-control"), ["no-store"]);
    let rejection = refused.extensions.get::<Rejection>().unwrap();
    assert_eq!(rejection.grpc_code(), GrpcCode::UNAUTHENTICATED);

    browser.post("/set/a/1").await;
    lend(&browser, &guarded);
    assert_eq!(guarded.get("/").await.status, StatusCode::UNAUTHORIZED);
    let grpc = Request::get("/").header("content-type", "application/grpc");
    let refused = guarded.send(grpc).await;
    assert_eq!(refused.status, StatusCode::OK);
    assert_eq!(refused.all("grpc-status"), ["16"]);
    assert!(!ran.load(Ordering::Relaxed));

    browser.post("/login/ada").await;
    lend(&browser, &guarded);
    let mut calls = bed.meter();
    assert_eq!(guarded.get("/").await.text, "ada");
    assert_eq!(
        calls(),
        1,
        "what was loaded before the handler is not loaded again"
    );
    browser.post("/logout").await;
    assert_eq!(guarded.get("/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_strict_route_is_409_if_anybody_wrote_meanwhile() {
    let bed = Bed::new();
    let (strict, browser) = two(&bed, web().with_strict_commits());
    browser.post("/set/a/0").await;
    lend(&browser, &strict);
    assert_eq!(strict.post("/set/a/1").await.status, StatusCode::OK);
    let slow = strict.posting("/slow-set/b/1");
    bed.gate.reached(1).await;
    browser.post("/set/c/1").await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::CONFLICT);
    assert!(slow.cookies().is_empty());
    assert_eq!(browser.get("/get/b").await.text, "none");
    assert_eq!(browser.get("/get/c").await.text, "1");
}

/// A slide writes, and changes nothing.
#[tokio::test]
async fn a_strict_route_does_not_mind_a_slide() {
    let bed = Bed::new();
    let (strict, browser) = two(&bed, web().with_strict_commits());
    browser.post("/set/a/0").await;
    lend(&browser, &strict);
    bed.clock.advance(std::time::Duration::from_secs(1_800));
    let slow = strict.posting("/slow-set/b/1");
    bed.gate.reached(1).await;
    let mut calls = bed.meter();
    browser.get("/get/a").await;
    assert_eq!(calls(), 2, "it slid");
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().status, StatusCode::OK);
}

/// Else an update of this request would hide from it what others wrote before.
#[tokio::test]
async fn on_a_strict_route_an_update_hides_nobody_elses_commit() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let app = bed.app(web().with_strict_commits(), |_| {
        let handler = async move |session: Session| {
            let read: Option<String> = session.get("a").await?;
            gate.pass().await;
            session.incr("n", 1).await?;
            session
                .insert("a", format!("{} and I", read.unwrap()))
                .await
        };
        Router::new().route("/", post(handler))
    });
    let (strict, browser) = (Browser::new(&app), bed.browser(web()));
    browser.post("/set/a/0").await;
    lend(&browser, &strict);
    bed.gate.open(1);
    assert_eq!(
        strict.post("/").await.status,
        StatusCode::OK,
        "its own is no conflict"
    );
    assert_eq!(browser.get("/get/a").await.text, "0 and I");
    bed.gate.reached(1).await;
    let slow = strict.posting("/");
    bed.gate.reached(1).await;
    browser.post("/set/a/other").await;
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().status, StatusCode::CONFLICT);
    assert_eq!(browser.get("/get/a").await.text, "other");
    assert_eq!(browser.get("/get/n").await.text, "2");
}

#[tokio::test]
async fn what_is_saved_is_decided_by_the_head_and_a_5xx_is_not_unless_told_so() {
    let bed = Bed::new();
    let saves = |head: &response::Parts| head.status == StatusCode::BAD_GATEWAY;
    let (only_failures, browser) = two(&bed, web().with_save_if(saves));
    browser.post("/set/a/0").await;
    let failed = browser.post("/failing-set/a/1").await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY);
    assert_eq!(browser.get("/get/a").await.text, "0");
    lend(&browser, &only_failures);
    only_failures.post("/set/a/1").await;
    assert_eq!(browser.get("/get/a").await.text, "0");
    only_failures.post("/failing-set/a/1").await;
    assert_eq!(browser.get("/get/a").await.text, "1");
}

#[tokio::test]
async fn a_failure_that_grpc_tells_in_the_head_is_not_saved() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        let handler = async |session: Session, request: http::HeaderMap| {
            let status = request["x-status"].clone();
            let name = format!("s{}", status.to_str().unwrap());
            session.insert(&name, 1).await?;
            Ok::<_, SessionError>([("grpc-status", status)])
        };
        Router::new().route("/", post(handler))
    });
    let browser = bed.browser(web());
    browser.post("/set/a/0").await;
    let grpc = Browser::new(&app);
    lend(&browser, &grpc);
    for status in 0..=16 {
        grpc.send(Request::post("/").header("x-status", status))
            .await;
        let is_saved = browser.get(&format!("/get/s{status}")).await.text == "1";
        let is_failure = matches!(status, 2 | 4 | 12..=15);
        assert_eq!(is_saved, !is_failure, "{status}");
    }
}

#[tokio::test]
async fn who_writes_to_a_session_that_has_ended_is_told_where_the_rule_says_so() {
    let bed = Bed::new();
    let (telling, browser) = two(&bed, web().with_on_gone(OnGone::Reject));
    browser.post("/login/ada").await;
    lend(&browser, &telling);
    let slow = telling.posting("/slow-set/a/1");
    bed.gate.reached(1).await;
    browser.post("/logout").await;
    bed.gate.open(1);
    let slow = slow.await.unwrap();
    assert_eq!(slow.status, StatusCode::UNAUTHORIZED);
    assert!(slow.cookies().is_empty());
    assert_eq!(
        telling.post("/set/a/1").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        telling.get("/get/a").await.status,
        StatusCode::OK,
        "it only reads"
    );
}

#[tokio::test]
async fn a_route_without_cookie_begins_and_renews_nothing() {
    let bed = Bed::new();
    let (silent, browser) = two(&bed, web().without_cookie());
    for path in ["/set/a/1", "/incr/n", "/start", "/renew", "/login/ada"] {
        let refused = silent.post(path).await;
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(
            refused.text.contains("no session cookie"),
            "{}",
            refused.text
        );
    }
    browser.post("/set/a/0").await;
    lend(&browser, &silent);
    assert_eq!(silent.post("/set/a/1").await.status, StatusCode::OK);
    assert_eq!(
        silent.post("/renew").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let out = silent.post("/logout").await;
    assert_eq!((out.status, out.cookies().len()), (StatusCode::OK, 0));
    assert_eq!(browser.get("/state").await.text, "Ended");
}

#[tokio::test]
async fn routes_of_one_family_differ_and_share_their_sessions() {
    let bed = Bed::new();
    let routes = Routes::new()
        .get("/static", web().with_required_user())
        .post("/logout", web().with_read_only())
        .any("/{*rest}", web());
    let browser = bed.browser(routes);
    assert_eq!(
        browser.get("/static").await.status,
        StatusCode::UNAUTHORIZED
    );
    browser.post("/login/ada").await;
    assert_eq!(browser.get("/static").await.status, StatusCode::OK);
    assert_eq!(
        browser.post("/logout").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn where_no_rule_is_there_is_no_session() {
    let bed = Bed::new();
    let routes = Routes::new().get("/with", web());
    let asked = async |session: Option<Session>| session.is_some().to_string();
    let app = bed.app(routes, |_| {
        Router::new()
            .route("/with", get(asked))
            .route("/without", get(asked))
            .route("/must", get(async |_: Session| "never"))
    });
    let browser = Browser::new(&app);
    assert_eq!(browser.get("/with").await.text, "true");
    assert_eq!(browser.get("/without").await.text, "false");
    let missing = browser.get("/must").await;
    assert_eq!(missing.status, StatusCode::INTERNAL_SERVER_ERROR);
    for why in [
        "no session layer has a rule for this request",
        "there is no layer",
        "its policy leaves the request out",
        "its marker is another one",
        "the route was added after .layer(..)",
    ] {
        assert!(missing.text.contains(why), "{}", missing.text);
    }
}

#[tokio::test]
async fn a_missing_session_is_an_error_that_an_extractor_can_pass_on() {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let missing = <Session>::from_request_parts(&mut parts, &()).await;
    let error: Box<dyn Error> = missing.unwrap_err().into();
    assert!(error.to_string().contains("there is no layer"));
}

#[test]
fn time_outs_that_cannot_be_are_refused() {
    const SECOND: Duration = Duration::from_secs(1);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    let refused = |idle, absolute| {
        let texts = [
            web().with_timeouts(idle, absolute),
            web().with_anonymous_timeouts(idle, absolute),
        ];
        let [one, other] = texts.map(|rule| rule.unwrap_err().to_string());
        assert_eq!(one, other);
        one
    };
    assert!(refused(2 * SECOND - Duration::from_nanos(1), YEAR).contains("write 2 s or more"));
    assert!(web().with_timeouts(2 * SECOND, 2 * SECOND).is_ok());
    let longer = refused(61 * SECOND, 60 * SECOND);
    assert!(
        longer.contains("61s is longer than the absolute one of 60s: write 60s or less"),
        "{longer}"
    );
    assert!(refused(SECOND * 60, 2 * YEAR).contains("400 days"));
    let kept_by_the_browser = SessionCookie::default().with_browser_session();
    for rule in [
        web().with_header_transport(HeaderTransport::default()),
        web().with_cookie(kept_by_the_browser),
    ] {
        let rule = rule.unwrap().with_timeouts(SECOND * 60, 2 * YEAR).unwrap();
        assert!(rule.with_cookie(SessionCookie::default()).is_err());
    }
    assert!(web().with_touch_every(3_599 * SECOND).is_ok());
    assert!(web().with_touch_every(3_600 * SECOND).is_err());
    let seldom = web().with_touch_every(60 * SECOND).unwrap();
    assert!(seldom.with_timeouts(60 * SECOND, YEAR).is_err());
}

#[test]
fn rules_that_are_no_family_are_refused() {
    let refused = |policy: Routes<SessionRule>| {
        let layer = SessionLayer::new(MemoryBackend::new(), policy);
        layer.unwrap_err().to_string()
    };
    let other = SessionRule::new("admin").unwrap();
    let names = refused(Routes::new().get("/a", web()).get("/b", other));
    assert!(names.contains("with_marker"), "{names}");
    let minute = std::time::Duration::from_secs(60);
    for other in [
        web().with_cookie(SessionCookie::strict()).unwrap(),
        web().with_timeouts(minute, minute).unwrap(),
        web().with_anonymous_timeouts(minute, minute).unwrap(),
        web().with_touch_every(minute).unwrap(),
        web().with_rotation_every(minute).unwrap(),
        web()
            .with_header_transport(HeaderTransport::default())
            .unwrap(),
    ] {
        let differ = refused(Routes::new().get("/a", web()).get("/b", other));
        assert!(differ.contains("differ"), "{differ}");
    }
    let closure = |_: &Parts| None::<SessionRule>;
    let unseen = SessionLayer::new(MemoryBackend::new(), closure).unwrap_err();
    assert!(unseen.to_string().contains("for_rule"), "{unseen}");
    assert!(SessionLayer::for_rule(MemoryBackend::new(), &web(), closure).is_ok());
}
