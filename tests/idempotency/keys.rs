//! Which requests are protected, and under which keys.

use axum::response::IntoResponse as _;
use http::{HeaderName, HeaderValue, Method, Request};
use tower_stash::{
    backend::MemoryBackend,
    idempotency::{IdempotencyLayer, IdempotencyRule, KeyPresence, KeySyntax, Recovery},
    policy::{KeyExtractor as _, Policy, Routes, header},
    testing::FaultBackend,
};

use crate::fixture::{Answer, Bed, post, refused, request, rule};

/// A service that says hello, and its backend.
fn hello(policy: impl Policy<IdempotencyRule>) -> (Bed, FaultBackend<MemoryBackend>) {
    let backend = FaultBackend::new(MemoryBackend::new());
    let bed = Bed::new(backend.clone(), policy, |_| async {
        "hello".into_response()
    });
    (bed, backend)
}

/// Sent with these lines of the header.
async fn with_lines(bed: &Bed, lines: &[&[u8]]) -> Answer {
    let mut request = request().body("1 apple".into()).unwrap();
    for line in lines {
        let line = HeaderValue::from_bytes(line).unwrap();
        request.headers_mut().append("idempotency-key", line);
    }
    bed.send(request).await
}

fn all_methods() -> [Method; 7] {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PATCH,
        Method::PUT,
        Method::DELETE,
    ]
}

/// The methods of which the second of two requests with one key is a replay.
async fn protected(rule: IdempotencyRule) -> Vec<Method> {
    let (bed, _) = hello(rule);
    let mut protected = Vec::new();
    for method in all_methods() {
        let send = async || {
            let request = Request::builder().method(&method).uri("/orders");
            let request = request.header("idempotency-key", method.as_str());
            bed.send(request.body("".into()).unwrap()).await
        };
        send().await;
        if send().await.is_replay() {
            protected.push(method);
        }
    }
    protected
}

#[tokio::test]
async fn post_and_patch_are_protected_and_others_where_the_rule_names_them() {
    assert_eq!(protected(rule()).await, [Method::POST, Method::PATCH]);
    let named = rule().with_methods([Method::PUT, Method::DELETE]).unwrap();
    assert_eq!(protected(named).await, [Method::PUT, Method::DELETE]);
}

#[test]
fn a_rule_for_methods_that_change_nothing_is_refused() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        assert!(rule().with_methods([Method::POST, method]).is_err());
    }
    assert!(rule().with_methods([]).is_err());
}

#[tokio::test]
async fn without_a_rule_the_key_is_not_looked_at() {
    let (bed, backend) = hello(Routes::new().post("/payments", rule()));
    for _ in 0..2 {
        let answer = with_lines(&bed, &[b"\"", b"a"]).await;
        assert_eq!((answer.status(), &*answer.body), (200, "hello"));
    }
    assert_eq!((bed.runs(), backend.total_calls()), (2, 0));
}

#[tokio::test]
async fn a_required_key_that_is_missing_is_refused() {
    let (bed, backend) = hello(rule());
    let answer = with_lines(&bed, &[]).await;
    assert_eq!(answer.refusal(), refused(400, "key-missing"));
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("idempotency-key"), "{detail}");
    assert_eq!((bed.runs(), backend.total_calls()), (0, 0));
}

#[tokio::test]
async fn without_an_optional_key_a_request_runs_each_time() {
    let (bed, backend) = hello(rule().with_key(KeyPresence::Optional));
    for runs in 1..3 {
        let answer = with_lines(&bed, &[]).await;
        assert_eq!((answer.status(), answer.is_replay()), (200, false));
        assert_eq!((bed.runs(), backend.total_calls()), (runs, 0));
    }
    with_lines(&bed, &[b"a"]).await;
    assert!(with_lines(&bed, &[b"a"]).await.is_replay());
}

#[tokio::test]
async fn a_bad_key_is_refused_also_where_none_is_needed() {
    let long = [b'a'; 256];
    let bad: [&[&[u8]]; 10] = [
        &[b""],
        &[b"\"\""],
        &[b"a", b"a"],
        &[b"a", b"b"],
        &[b"a, b"],
        &[b"\"a"],
        &[b"\" a\""],
        &[b"caf\xE9"],
        &["caf\u{e9}".as_bytes()],
        &[&long],
    ];
    for rule in [rule(), rule().with_key(KeyPresence::Optional)] {
        let (bed, backend) = hello(rule);
        for lines in bad {
            let answer = with_lines(&bed, lines).await;
            assert_eq!(answer.refusal(), refused(400, "key-invalid"), "{lines:?}");
            assert!(answer.json()["detail"].is_string());
        }
        assert_eq!((bed.runs(), backend.total_calls()), (0, 0));
    }
}

#[tokio::test]
async fn a_key_has_up_to_255_bytes() {
    let (bed, _) = hello(rule());
    assert_eq!(with_lines(&bed, &[&[b'a'; 255]]).await.status(), 200);
    assert!(with_lines(&bed, &[&[b'a'; 255]]).await.is_replay());
}

#[tokio::test]
async fn with_quotes_and_without_it_is_one_key() {
    let (bed, _) = hello(rule());
    with_lines(&bed, &[b"abc"]).await;
    assert!(with_lines(&bed, &[b"\"abc\""]).await.is_replay());
    assert!(with_lines(&bed, &[b"\"abc\";v=1"]).await.is_replay());
    assert!(!with_lines(&bed, &[b"ABC"]).await.is_replay());
    assert_eq!(bed.runs(), 2);
}

#[tokio::test]
async fn a_strict_rule_wants_quotes_and_nothing_behind() {
    let (bed, _) = hello(rule().with_syntax(KeySyntax::Strict));
    assert_eq!(with_lines(&bed, &[b"\"abc\""]).await.status(), 200);
    for line in [&b"abc"[..], b"\"abc\";v=1"] {
        let answer = with_lines(&bed, &[line]).await;
        assert_eq!(answer.refusal(), refused(400, "key-invalid"));
    }
}

#[tokio::test]
async fn a_key_is_checked_as_the_rule_says_without_its_quotes() {
    let numbers = |key: &str| key.bytes().all(|byte| byte.is_ascii_digit());
    let (bed, backend) = hello(rule().with_key_check(numbers));
    let answer = with_lines(&bed, &[b"12a"]).await;
    assert_eq!(answer.refusal(), refused(400, "key-invalid"));
    assert_eq!(backend.total_calls(), 0);
    assert_eq!(with_lines(&bed, &[b"\"12\""]).await.status(), 200);
}

#[tokio::test]
async fn the_header_may_have_another_name() {
    let (bed, _) = hello(rule().with_header(HeaderName::from_static("x-request-key")));
    assert_eq!(
        bed.post("a", "").await.refusal(),
        refused(400, "key-missing")
    );
    let send = || request().header("x-request-key", "a").body("".into());
    bed.send(send().unwrap()).await;
    assert!(bed.send(send().unwrap()).await.is_replay());
}

#[tokio::test]
async fn problems_link_to_their_page_and_show_nothing_of_the_key() {
    let rule = IdempotencyRule::new("orders", Recovery::ReExecute).unwrap();
    let (bed, _) = hello(rule.with_key_check(|_| false));
    let answer = bed.send(post("secret-key", "secret body")).await;
    let address = answer.json()["type"].as_str().unwrap().to_owned();
    assert!(address.ends_with("#key-invalid"));
    assert_eq!(
        answer.header("link"),
        Some(&*format!("<{address}>; rel=\"describedby\""))
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!format!("{answer:?}").contains("secret"));
}

#[tokio::test]
async fn what_the_types_of_problems_begin_with_can_be_said() {
    let scope = header("x-user").or_shared();
    let layer = IdempotencyLayer::new(MemoryBackend::new(), scope, rule()).unwrap();
    for wrong in ["", "<a>", "with space", "https://a\"b"] {
        assert!(layer.clone().with_problem_base(wrong).is_err(), "{wrong}");
    }
    let layer = layer
        .with_problem_base("https://shop.example/problems/")
        .unwrap();
    let bed = Bed::behind(layer, |_| async { "hello".into_response() });
    let answer = with_lines(&bed, &[]).await;
    let expected = "https://shop.example/problems/key-missing";
    assert_eq!(answer.json()["type"], expected);
    let link = format!("<{expected}>; rel=\"describedby\"");
    assert_eq!(answer.header("link"), Some(&*link));
}
