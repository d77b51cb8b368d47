//! A key runs once.

use axum::response::IntoResponse as _;
use http::StatusCode;
use tower_stash::{backend::MemoryBackend, testing::FaultBackend};

use crate::fixture::{Bed, post, rule};

fn created() -> Bed {
    Bed::new(MemoryBackend::new(), rule(), |_| async {
        (StatusCode::CREATED, [("location", "/orders/1")], "made").into_response()
    })
}

#[tokio::test]
async fn the_same_request_runs_once_and_has_one_answer() {
    let bed = created();
    let first = bed.post("a", "1 apple").await;
    let second = bed.post("a", "1 apple").await;
    assert_eq!((first.status(), second.status()), (201, 201));
    assert_eq!((&*first.body, &*second.body), ("made", "made"));
    assert_eq!(second.head.headers["location"], "/orders/1");
    assert!(!first.is_replay() && second.is_replay());
    assert_eq!(bed.runs(), 1);
}

#[tokio::test]
async fn a_key_that_comes_with_another_body_is_refused() {
    let bed = created();
    bed.post("a", "1 apple").await;
    let other = bed.post("a", "2 apples").await;
    assert_eq!((other.status(), &*other.problem()), (422, "key-reused"));
    assert_eq!(bed.runs(), 1);
}

#[tokio::test]
async fn fifty_at_once_run_once() {
    let bed = Bed::new(MemoryBackend::new(), rule(), |_| async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        "made".into_response()
    });
    let requests = (0..50).map(|_| bed.send(post("a", "1 apple")));
    let answers = futures_util::future::join_all(requests).await;
    let made = answers.iter().filter(|answer| answer.status() == 200);
    assert_eq!(made.count(), 1);
    assert!(
        answers
            .iter()
            .all(|a| a.status() == 200 || a.problem() == "in-progress")
    );
    assert_eq!(bed.runs(), 1);
}

#[tokio::test]
async fn a_first_run_takes_two_calls_and_a_replay_one() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let bed = Bed::new(backend.clone(), rule(), |_| async {
        "made".into_response()
    });
    bed.post("a", "1 apple").await;
    assert_eq!(backend.total_calls(), 2);
    bed.post("a", "1 apple").await;
    assert_eq!(backend.total_calls(), 3);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_request_runs_again() {
    let bed = Bed::new(MemoryBackend::new(), rule(), |_| async { panic!("no") });
    let first = bed.post("a", "1 apple").await;
    assert_eq!(
        (first.status(), &*first.problem()),
        (500, "handler-panicked")
    );
    bed.post("a", "1 apple").await;
    assert_eq!(bed.runs(), 2);
}
