//! Which answers are the last word on their key.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tower_stash::{
    backend::MemoryBackend,
    idempotency::{IdempotencyRule, Outcome, StorePolicy, Unrecorded},
};

use crate::fixture::{Answer, Bed, execution, never, post, refused, rule};

/// What a second request meets after an answer like this.
#[derive(Debug, PartialEq, Eq)]
enum Second {
    Replays,
    Runs,
}

async fn second(
    rule: IdempotencyRule,
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> Second {
    let bed = Bed::new(MemoryBackend::new(), rule, move |_| {
        let answer = answer();
        async move { answer }
    });
    let first = bed.post("a", "").await;
    let second = bed.post("a", "").await;
    assert_eq!(first.head.status, second.head.status);
    assert!(!first.is_replay());
    match (second.is_replay(), bed.runs()) {
        (true, 1) => Second::Replays,
        (false, 2) => Second::Runs,
        other => panic!("{other:?}"),
    }
}

/// The statuses from 200 to 599 that a second request does not get again.
async fn retried(policy: StorePolicy) -> Vec<u16> {
    let mut retried = Vec::new();
    for status in 200..600 {
        let status_code = StatusCode::from_u16(status).unwrap();
        let rule = rule().with_store(policy);
        if second(rule, move || status_code.into_response()).await == Second::Runs {
            retried.push(status);
        }
    }
    retried
}

#[tokio::test]
async fn of_the_statuses_each_policy_keeps_its_own() {
    let settled = [401, 403, 407, 408, 425, 429].into_iter().chain(500..600);
    assert_eq!(
        retried(StorePolicy::Settled).await,
        settled.collect::<Vec<_>>()
    );
    assert_eq!(retried(StorePolicy::Executed).await, [0; 0]);
    let no_success: Vec<_> = (400..600).collect();
    assert_eq!(retried(StorePolicy::SuccessOnly).await, no_success);
}

/// A gRPC answer with this code in its head, or behind its body.
fn grpc(code: Option<u16>, is_trailer: bool) -> Response {
    let status = HeaderMap::from_iter(
        code.map(|code| ("grpc-status".parse().unwrap(), HeaderValue::from(code))),
    );
    let mut response = if is_trailer {
        let frames = [Ok::<_, std::convert::Infallible>(Frame::trailers(status))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Response::new(axum::body::Body::new(body))
    } else {
        let mut response = ().into_response();
        response.headers_mut().extend(status);
        response
    };
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}

#[tokio::test]
async fn of_the_grpc_codes_each_policy_keeps_its_own() {
    let retried = async |policy: StorePolicy, is_trailer: bool| {
        let mut retried = Vec::new();
        for code in 0..=16 {
            let rule = rule().with_store(policy);
            if second(rule, move || grpc(Some(code), is_trailer)).await == Second::Runs {
                retried.push(code);
            }
        }
        retried
    };
    for is_trailer in [false, true] {
        let settled = [1, 2, 4, 7, 8, 10, 13, 14, 15, 16];
        assert_eq!(retried(StorePolicy::Settled, is_trailer).await, settled);
        assert_eq!(retried(StorePolicy::Executed, is_trailer).await, [0; 0]);
        let no_success: Vec<_> = (1..=16).collect();
        assert_eq!(
            retried(StorePolicy::SuccessOnly, is_trailer).await,
            no_success
        );
    }
}

#[tokio::test]
async fn a_grpc_call_without_a_code_has_failed() {
    assert_eq!(second(rule(), || grpc(None, true)).await, Second::Runs);
}

/// An answer that says this of its key, in its extensions.
fn saying(status: StatusCode, outcome: Outcome) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(outcome);
    response
}

#[tokio::test]
async fn what_the_answer_says_counts_more_than_the_policy() {
    let bad = || saying(StatusCode::BAD_GATEWAY, Outcome::Final);
    assert_eq!(second(rule(), bad).await, Second::Replays);
    let good = || saying(StatusCode::OK, Outcome::Retryable);
    assert_eq!(second(rule(), good).await, Second::Runs);
    let executed = rule().with_store(StorePolicy::Executed);
    assert_eq!(second(executed, good).await, Second::Runs);
}

#[tokio::test]
async fn what_the_handler_says_counts_more_than_the_policy_and_less_than_its_answer() {
    let bed = |answer: fn() -> Response| {
        Bed::new(MemoryBackend::new(), rule(), move |request| {
            execution(&request).set_outcome(Outcome::Retryable);
            async move { answer() }
        })
    };
    let said = bed(|| "done".into_response());
    said.post("a", "").await;
    assert!(!said.post("a", "").await.is_replay());
    let both = bed(|| saying(StatusCode::OK, Outcome::Final));
    both.post("a", "").await;
    assert!(both.post("a", "").await.is_replay());
}

#[tokio::test]
async fn a_key_that_was_not_used_is_free_also_for_something_else() {
    for rule in [rule(), never(Unrecorded::Withhold)] {
        let backend = MemoryBackend::new();
        let bed = Bed::new(backend.clone(), rule, |request| async move {
            assert_eq!(execution(&request).attempt(), 1);
            saying(StatusCode::BAD_REQUEST, Outcome::NotExecuted)
        });
        assert_eq!(bed.post("a", "1 apple").await.status(), 400);
        assert_eq!(backend.stored_entries(), 0);
        assert_eq!(bed.post("a", "2 apples").await.status(), 400);
        assert_eq!(bed.runs(), 2);
    }
}

#[tokio::test]
async fn a_key_that_was_used_before_is_not_free_again() {
    let bed = Bed::new(MemoryBackend::new(), rule(), |request| async move {
        let outcome = match execution(&request).attempt() {
            1 => Outcome::Retryable,
            _ => Outcome::NotExecuted,
        };
        saying(StatusCode::OK, outcome)
    });
    bed.post("a", "1 apple").await;
    bed.post("a", "1 apple").await;
    let other = bed.post("a", "2 apples").await;
    assert_eq!(other.refusal(), refused(422, "key-reused"));
    assert_eq!(bed.post("a", "1 apple").await.status(), 200);
    assert_eq!(bed.runs(), 3);
}

#[tokio::test]
async fn a_failure_that_may_be_tried_again_counts_attempts_and_raises_the_fence() {
    for rule in [rule(), never(Unrecorded::Withhold)] {
        let bed = Bed::new(MemoryBackend::new(), rule, |request| async move {
            let run = execution(&request);
            let seen = format!("{} {}", run.attempt(), run.fence());
            (StatusCode::BAD_GATEWAY, seen).into_response()
        });
        let mut last = 0;
        for attempt in 1..4_u32 {
            let answer = bed.post("a", "").await;
            let (counted, fence) = answer.body.split_once(' ').unwrap();
            let fence: u64 = fence.parse().unwrap();
            assert_eq!(counted, attempt.to_string());
            assert!(fence > last);
            last = fence;
        }
    }
}

/// Services whose inner service fails, or whose answer breaks off.
mod without_answer {
    use std::io;

    use axum::body::Body;
    use tower::{Layer as _, ServiceExt as _};
    use tower_stash::{
        idempotency::{IdempotencyLayer, RequestBody},
        policy::{KeyExtractor as _, header},
    };

    use super::*;

    fn layer(rule: IdempotencyRule) -> IdempotencyLayer {
        let scope = header("x-user").or_shared();
        IdempotencyLayer::new(MemoryBackend::new(), scope, rule).unwrap()
    }

    /// Two answers of a service that gives an error of its own.
    async fn failing(rule: IdempotencyRule) -> [Result<Answer, &'static str>; 2] {
        let service = tower::service_fn(async |_: http::Request<RequestBody<Body>>| {
            Err::<Response, _>("out of order")
        });
        let service = layer(rule).layer(service);
        let send = async || {
            let answer = service.clone().oneshot(post("a", "")).await;
            match answer {
                Ok(response) => Ok(Answer::read(response.map(Body::new)).await),
                Err(error) => Err(error),
            }
        };
        [send().await, send().await]
    }

    #[tokio::test]
    async fn an_error_of_the_service_is_passed_on_and_the_next_request_runs() {
        let answers = failing(rule()).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().err() == Some(&"out of order"))
        );
    }

    #[tokio::test]
    async fn after_an_error_of_the_service_nobody_knows_where_nothing_runs_twice() {
        let [first, second] = failing(never(Unrecorded::Answer)).await;
        assert_eq!(first.err(), Some("out of order"));
        assert_eq!(second.unwrap().refusal(), refused(500, "outcome-unknown"));
    }

    fn breaking(rule: IdempotencyRule) -> Bed {
        Bed::new(MemoryBackend::new(), rule, |_| async {
            let chunks = [
                Ok(bytes::Bytes::from("do")),
                Err(io::Error::other("broken")),
            ];
            Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
        })
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_does_not_leave_and_the_next_request_runs() {
        let bed = breaking(rule());
        for runs in 1..3 {
            assert_eq!(bed.post("a", "").await.status(), 500);
            assert_eq!(bed.runs(), runs);
        }
    }

    #[tokio::test]
    async fn after_an_answer_that_broke_off_nobody_knows_where_nothing_runs_twice() {
        let bed = breaking(never(Unrecorded::Answer));
        for _ in 0..2 {
            let answer = bed.post("a", "").await;
            assert_eq!(answer.refusal(), refused(500, "outcome-unknown"));
            assert_eq!(bed.runs(), 1);
        }
    }
}

#[tokio::test]
async fn a_rule_says_what_its_answers_mean_after_the_handler_and_before_the_policy() {
    let unread = |head: &http::response::Parts| {
        (head.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(Outcome::NotExecuted)
    };
    let bed = Bed::new(
        MemoryBackend::new(),
        rule().with_outcome_of(unread),
        |request| {
            let is_meant = request.headers().contains_key("x-meant");
            async move {
                let mut response = StatusCode::UNPROCESSABLE_ENTITY.into_response();
                if is_meant {
                    response.extensions_mut().insert(Outcome::Final);
                }
                response
            }
        },
    );
    bed.post("a", "a tpyo").await;
    assert!(!bed.post("a", "a typo").await.is_replay());
    let mut meant = post("b", "no");
    meant
        .headers_mut()
        .insert("x-meant", HeaderValue::from_static("1"));
    bed.send(meant).await;
    assert!(bed.post("b", "no").await.is_replay());
}
