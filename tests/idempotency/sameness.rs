//! Whose key it is, and what makes two requests the same.

use axum::{Router, body::Body, response::IntoResponse as _, routing::post};
use http::{HeaderName, Request};
use tower::ServiceExt as _;
use tower_stash::{
    backend::{KeyValue, MemoryBackend},
    idempotency::{IdempotencyLayer, IdempotencyRule, InProgress},
    key::KeyParts,
    policy::{KeyExtractor as _, header},
    testing::FaultBackend,
};

use crate::fixture::{
    Answer, Bed, Gate, leave_orphan, memory, post as posted, refused, request, rule, sleep,
};

fn echo(backend: impl KeyValue, rule: IdempotencyRule) -> Bed {
    Bed::new(backend, rule, |request| async move {
        let user = request.headers().get("x-user").cloned();
        user.map_or("nobody".into_response(), |user| {
            user.as_bytes().to_vec().into_response()
        })
    })
}

fn of(user: &str, key: &str) -> Request<Body> {
    let request = request().header("idempotency-key", key);
    request
        .header("x-user", user)
        .body("1 apple".into())
        .unwrap()
}

#[tokio::test]
async fn two_users_with_one_key_never_meet() {
    let bed = echo(MemoryBackend::new(), rule());
    assert_eq!(bed.send(of("ada", "a")).await.body, "ada");
    assert_eq!(bed.send(of("bob", "a")).await.body, "bob");
    assert_eq!(bed.post("a", "1 apple").await.body, "nobody");
    for (user, runs) in [("ada", 3), ("bob", 3)] {
        let again = bed.send(of(user, "a")).await;
        assert_eq!((&*again.body, again.is_replay()), (user, true));
        assert_eq!(bed.runs(), runs);
    }
}

#[tokio::test]
async fn who_does_not_say_whose_key_it_is_is_refused() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let scope = header("x-user").or_reject();
    let layer = IdempotencyLayer::new(backend.clone(), scope, rule()).unwrap();
    let bed = Bed::behind(layer, |_| async { "done".into_response() });
    let answer = bed.post("a", "1 apple").await;
    assert_eq!(answer.refusal(), refused(400, "scope-missing"));
    assert_eq!((bed.runs(), backend.total_calls()), (0, 0));
    assert_eq!(bed.send(of("ada", "a")).await.status(), 200);
}

#[test]
fn a_scope_that_lets_requests_pass_is_no_scope() {
    let scope = header("x-user").or_skip();
    assert!(IdempotencyLayer::new(MemoryBackend::new(), scope, rule()).is_err());
}

/// Requests that ask for something else under the key of [`posted`].
fn others() -> Vec<Request<Body>> {
    let other = |change: &dyn Fn(&mut Request<Body>)| {
        let mut request = posted("a", "1 apple");
        change(&mut request);
        request
    };
    vec![
        other(&|request| *request.body_mut() = "2 apples".into()),
        other(&|request| *request.body_mut() = Body::empty()),
        other(&|request| *request.method_mut() = http::Method::PATCH),
        other(&|request| *request.uri_mut() = "/refunds".parse().unwrap()),
        other(&|request| *request.uri_mut() = "/orders?dry=1".parse().unwrap()),
        other(&|request| {
            let json = "application/json".parse().unwrap();
            request.headers_mut().insert("content-type", json);
        }),
        other(&|request| {
            let gzip = "gzip".parse().unwrap();
            request.headers_mut().insert("content-encoding", gzip);
        }),
    ]
}

async fn assert_all_refused(bed: &Bed) {
    let runs = bed.runs();
    for request in others() {
        let told = format!("{request:?}");
        let answer = bed.send(request).await;
        assert_eq!(answer.refusal(), refused(422, "key-reused"), "{told}");
    }
    assert_eq!(bed.runs(), runs);
}

#[tokio::test]
async fn another_request_is_refused_when_the_work_is_done() {
    let bed = echo(MemoryBackend::new(), rule());
    bed.post("a", "1 apple").await;
    assert_all_refused(&bed).await;
    assert!(bed.post("a", "1 apple").await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn another_request_is_refused_while_the_work_is_under_way() {
    let gate = Gate::shut();
    for in_progress in [
        InProgress::Reject,
        InProgress::Wait(std::time::Duration::from_secs(60)),
    ] {
        let (passing, held) = (gate.clone(), rule().with_in_progress(in_progress));
        let bed = Bed::new(memory(), held, move |_| {
            let gate = passing.clone();
            async move {
                gate.pass().await;
                "done".into_response()
            }
        });
        let first = bed.sending(posted("a", "1 apple")).await;
        assert_all_refused(&bed).await;
        gate.open();
        assert_eq!(first.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn another_request_is_refused_after_a_failure_that_may_be_tried_again() {
    let bed = Bed::new(MemoryBackend::new(), rule(), |_| async {
        http::StatusCode::BAD_GATEWAY.into_response()
    });
    assert_eq!(bed.post("a", "1 apple").await.status(), 502);
    assert_all_refused(&bed).await;
    assert_eq!(bed.post("a", "1 apple").await.status(), 502);
    assert_eq!(bed.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_request_is_refused_also_when_the_one_at_work_is_gone() {
    let backend = memory();
    leave_orphan(&backend, rule(), posted("a", "1 apple"));
    sleep(60).await;
    let bed = echo(backend, rule());
    assert_all_refused(&bed).await;
    assert_eq!(bed.post("a", "1 apple").await.status(), 200);
}

#[tokio::test]
async fn chosen_headers_belong_to_the_request_and_others_do_not() {
    let tenant = HeaderName::from_static("x-tenant");
    let bed = echo(
        MemoryBackend::new(),
        rule().with_fingerprinted_headers([tenant]),
    );
    let send = async |tenant: &str, agent: &str| {
        let request = request().header("idempotency-key", "a");
        let request = request
            .header("x-tenant", tenant)
            .header("user-agent", agent);
        bed.send(request.body("".into()).unwrap()).await
    };
    send("eu", "one").await;
    assert!(send("eu", "two").await.is_replay());
    assert_eq!(
        send("us", "one").await.refusal(),
        refused(422, "key-reused")
    );
}

#[tokio::test]
async fn a_hook_says_what_of_the_body_counts() {
    let without_spaces = |_: &http::request::Parts, body: &bytes::Bytes| {
        let kept = body.iter().copied().filter(|byte| *byte != b' ');
        KeyParts::new().with(kept.collect::<Vec<u8>>().as_slice())
    };
    let bed = echo(
        MemoryBackend::new(),
        rule().with_canonical_body(without_spaces),
    );
    bed.post("a", "{\"a\": 1}").await;
    assert!(bed.post("a", "{\"a\":1}").await.is_replay());
    assert_eq!(
        bed.post("a", "{\"a\":2}").await.refusal(),
        refused(422, "key-reused")
    );
}

#[tokio::test]
async fn a_content_digest_stands_for_the_body_where_the_rule_says_so() {
    let bed = echo(MemoryBackend::new(), rule().with_content_digest());
    let send = async |digest: &str, body: &'static str| {
        let request = request().header("idempotency-key", "a");
        let request = request.header("content-digest", digest);
        bed.send(request.body(body.into()).unwrap()).await
    };
    send("sha-256=:a:", "one").await;
    assert!(send("sha-256=:a:", "two").await.is_replay());
    assert_eq!(
        send("sha-256=:b:", "one").await.refusal(),
        refused(422, "key-reused")
    );
}

#[tokio::test]
async fn in_nested_routers_the_path_is_the_one_that_was_asked_for() {
    let scope = header("x-user").or_shared();
    let layer = IdempotencyLayer::new(MemoryBackend::new(), scope, rule()).unwrap();
    let orders = || Router::new().route("/orders", post(async || "done").layer(layer.clone()));
    let app = Router::new().nest("/v1", orders()).nest("/v2", orders());
    let send = async |path: &str| {
        let request = Request::post(path).header("idempotency-key", "a");
        let request = request.body(Body::from("1 apple")).unwrap();
        Answer::read(app.clone().oneshot(request).await.unwrap()).await
    };
    assert_eq!(send("/v1/orders").await.status(), 200);
    assert_eq!(
        send("/v2/orders").await.refusal(),
        refused(422, "key-reused")
    );
    assert!(send("/v1/orders").await.is_replay());
}
