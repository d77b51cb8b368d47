//! Whose a request is, as servers tell it.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, MatchedPath, Request, connect_info::MockConnectInfo},
    middleware::{Next, from_fn},
    routing::{any, get},
};
use http::request::Parts;
use tower::ServiceExt;
use tower_stash::{
    key::{Key, KeyParts},
    policy::{
        Condition, KeyExtractor, PeerAddr, Resolved, Subject, SubjectId, header, matched_path,
        peer_ip,
    },
};

use crate::{ok, parts, request};

fn key(subject: &Subject, parts: &Parts) -> Key {
    let mut key = KeyParts::new();
    assert_eq!(subject.resolve(parts, &mut key), Resolved::Key);
    Key::custom("test", &key)
}

#[test]
fn the_peer_comes_from_axum_or_from_our_own_extension() {
    let subject = peer_ip().or_reject();
    let from = |put: &dyn Fn(&mut http::Extensions)| {
        let mut parts = parts(request("GET", "/"));
        put(&mut parts.extensions);
        key(&subject, &parts)
    };
    let addr = SocketAddr::from(([192, 0, 2, 1], 4711));
    let other = SocketAddr::from(([192, 0, 2, 2], 4711));
    let own = from(&|extensions| {
        extensions.insert(PeerAddr(addr));
    });
    assert_eq!(
        own,
        from(&|extensions| {
            extensions.insert(ConnectInfo(addr));
        })
    );
    assert_eq!(
        own,
        from(&|extensions| {
            extensions.insert(MockConnectInfo(addr));
        })
    );
    let both = from(&|extensions| {
        extensions.insert(ConnectInfo(other));
        extensions.insert(PeerAddr(addr));
    });
    assert_eq!(own, both);
    let nobody = parts(request("GET", "/"));
    assert_eq!(
        subject.resolve(&nobody, &mut KeyParts::new()),
        Resolved::Reject
    );
}

#[tokio::test]
async fn paths_without_a_route_share_one_key_and_routes_have_their_own() {
    let subject = (matched_path(), header("x-api-key")).or_reject();
    let keyed = from_fn(move |request: Request, _: Next| {
        let subject = subject.clone();
        async move {
            let (parts, _) = request.into_parts();
            key(&subject, &parts).as_str().to_owned()
        }
    });
    let app = Router::new()
        .route("/users/{id}", get(ok))
        .route(
            "/{*rest}",
            get(|path: MatchedPath| async move { drop(path) }),
        )
        .nest("/nested", Router::new().route("/users/{id}", get(ok)))
        .nest_service("/other", Router::<()>::new().fallback(any(ok)))
        .layer(keyed);
    let keyed = async |uri: &str| {
        let mut request = request("GET", uri);
        let value = http::HeaderValue::from_static("k");
        request.headers_mut().insert("x-api-key", value);
        let response = app.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(response.into_body(), 1024)
            .await
            .unwrap()
    };
    assert_eq!(keyed("/users/1").await, keyed("/users/2").await);
    assert_ne!(keyed("/users/1").await, keyed("/nested/users/1").await);
    assert_eq!(keyed("/other/1").await, keyed("/other/2").await);
    assert_ne!(keyed("/other/1").await, keyed("/users/1").await);
}

#[tokio::test]
async fn a_program_names_a_route_as_axum_does() {
    let subject = (matched_path(), header("x-api-key")).or_reject();
    let identified = from_fn(move |request: Request, _: Next| {
        let subject = subject.clone();
        async move {
            let (parts, _) = request.into_parts();
            let id = subject.identify(&parts).unwrap();
            let in_program = SubjectId::from((Some("/users/{id}"), "k"));
            if id == in_program { "same" } else { "other" }
        }
    });
    let app = Router::new()
        .route("/users/{id}", get(ok))
        .route("/users", get(ok))
        .layer(identified);
    for (uri, answer) in [("/users/7", "same"), ("/users", "other")] {
        let mut request = request("GET", uri);
        let value = http::HeaderValue::from_static("k");
        request.headers_mut().insert("x-api-key", value);
        let response = app.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1024).await;
        assert_eq!(body.unwrap(), answer, "{uri}");
    }
}

#[test]
fn subjects_and_conditions_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Subject>();
    shared::<SubjectId>();
    shared::<std::sync::Arc<dyn Condition>>();
}
