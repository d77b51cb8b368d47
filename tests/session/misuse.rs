//! What someone who means harm, or configures in haste, would try.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use tower_stash::{
    backend::{
        BackendError, BackendErrorKind, Entry, GetOptions, KeyValue, MemoryBackend, Precondition,
        Put, PutOptions, Result as BackendResult,
    },
    key::Key,
    session::{MaxSessions, Session, SessionCookie, SessionErrorKind, SessionLayer, SessionRule},
    testing::Fault,
};

use crate::fixture::{Bed, Browser, shop, web};

fn desk() -> SessionRule {
    let cookie = SessionCookie::strict().with_name("__Host-desk");
    SessionRule::new("desk")
        .unwrap()
        .with_cookie(cookie)
        .unwrap()
}

#[tokio::test]
async fn a_layer_inside_another_one_is_not_passed_by_though_both_have_one_marker() {
    let bed = Bed::new();
    let inner = bed.layer(desk().with_required_user());
    let outer = bed.layer(web());
    let app = Router::new()
        .route("/desk", get(async || "all orders"))
        .layer(inner)
        .layer(outer);
    let stranger = Browser::new(&app);
    assert_eq!(stranger.get("/desk").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_rule_of_another_family_opens_no_session_of_this_one() {
    let bed = Bed::new();
    let policy = |request: &Parts| {
        let is_desk = request.uri.path().starts_with("/desk");
        Some(if is_desk {
            desk().with_required_user()
        } else {
            web()
        })
    };
    let layer = SessionLayer::for_rule(bed.spy.clone(), &web(), policy)
        .unwrap()
        .with_users(bed.backend.clone())
        .unwrap();
    let app = shop(layer.handle(), bed.gate.clone())
        .route("/desk", get(async || "all orders"))
        .layer(layer);
    let customer = Browser::new(&app);
    assert_eq!(customer.post("/login/ada").await.status, StatusCode::OK);
    customer.set_cookie("__Host-desk", &customer.token());
    let answer = customer.get("/desk").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text.contains("all orders"));
    assert_eq!(customer.get("/who").await.text, "ada");
}

/// Refuses the first tombstone.
#[derive(Clone)]
struct OneShardDown {
    backend: MemoryBackend,
    tombstones: Arc<AtomicUsize>,
}

impl KeyValue for OneShardDown {
    async fn get(&self, key: &Key, options: GetOptions) -> BackendResult<Option<Entry>> {
        self.backend.get(key, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> BackendResult<Put> {
        if value.first() == Some(&b'x') && self.tombstones.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(BackendError::new(
                BackendErrorKind::Unavailable,
                "reach a shard",
            ));
        }
        self.backend.put(key, value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> BackendResult<bool> {
        self.backend.delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, at: Precondition) -> BackendResult<bool> {
        self.backend.touch(key, ttl, at).await
    }

    fn clock_skew(&self) -> Duration {
        self.backend.clock_skew()
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&self.backend)
    }
}

#[tokio::test]
async fn a_session_that_is_not_reached_keeps_no_other_from_being_ended() {
    let backend = OneShardDown {
        backend: MemoryBackend::new(),
        tombstones: Arc::default(),
    };
    let layer = SessionLayer::new(backend.clone(), web())
        .unwrap()
        .with_users(backend.backend.clone())
        .unwrap();
    let sessions = layer.handle();
    let app = shop(sessions.clone(), crate::fixture::Gate::default()).layer(layer);
    let browsers: Vec<_> = (0..4).map(|_| Browser::new(&app)).collect();
    for browser in &browsers {
        browser.post("/login/ada").await;
    }
    let error = sessions.destroy_all("ada").await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::Unavailable);
    let mut living = 0;
    for browser in &browsers {
        living += usize::from(browser.get("/who").await.text == "ada");
    }
    assert_eq!(living, 1);
    assert_eq!(sessions.destroy_all("ada").await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_while_the_same_is_updated_is_not_lost() {
    let bed = Bed::new();
    let app = bed.app(web(), |_| {
        Router::new().route(
            "/",
            post(async |session: Session| {
                session.insert("a", 1).await?;
                let other = session.clone();
                let both = tokio::join!(session.incr("a", 1), async {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    other.insert("a", 100).await
                });
                both.0?;
                both.1
            }),
        )
    });
    let browser = Browser::new(&app);
    let shop = bed.browser(web());
    shop.post("/start").await;
    browser.set_cookie("__Host-id", &shop.token());
    bed.backend
        .script([Fault::None, Fault::LateReply(Duration::from_millis(5))]);
    assert_eq!(browser.post("/").await.status, StatusCode::OK);
    assert_eq!(shop.get("/get/a").await.text, "100");
}

#[tokio::test(start_paused = true)]
async fn of_two_logins_at_once_one_stays_where_one_is_allowed() {
    let bed = Bed::new();
    let layer = bed
        .layer(web())
        .with_max_sessions(MaxSessions::EvictOldest(1))
        .unwrap();
    let app = shop(layer.handle(), bed.gate.clone()).layer(layer);
    let slow = bed
        .backend
        .clone()
        .with_faults([Fault::LateReply(Duration::from_millis(1))]);
    let _ = slow.with_fault_rate(1.0);
    let browsers = [Browser::new(&app), Browser::new(&app)];
    let logins = [0, 1].map(|at| browsers[at].posting("/login/ada"));
    for login in logins {
        assert_eq!(login.await.unwrap().status, StatusCode::OK);
    }
    let mut living = 0;
    for browser in &browsers {
        living += usize::from(browser.get("/who").await.text == "ada");
    }
    assert_eq!(living, 1);
}

#[tokio::test]
async fn strangers_that_a_full_backend_refuses_shut_nobody_out() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    bed.backend
        .script([Fault::Fail(BackendErrorKind::Rejected); 5]);
    for _ in 0..5 {
        let refused = browser.another().post("/set/a/1").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(browser.get("/who").await.text, "ada");
}

#[tokio::test]
async fn logins_and_logouts_leave_nothing_on_the_list() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    for _ in 0..50 {
        browser.post("/login/ada").await;
        browser.post("/logout").await;
    }
    let mut calls = bed.meter();
    browser.post("/everywhere/ada").await;
    let calls = calls();
    assert!(calls <= 5, "{calls}");
}
