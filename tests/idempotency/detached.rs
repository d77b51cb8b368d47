//! A handler runs in a task of its own: whoever waits for it, it goes on.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Frame, SizeHint};
use tower::{Layer as _, ServiceExt as _, timeout::TimeoutLayer};
use tower_stash::{
    backend::MemoryBackend,
    idempotency::{IdempotencyLayer, IdempotencyRule, RequestBody, Unrecorded},
    policy::{KeyExtractor as _, header},
};

use crate::fixture::{
    Answer, Bed, Gate, execution, memory, never, post, refused, rule, settled, sleep,
};

/// A service that answers when the gate is opened.
fn gated(rule: IdempotencyRule) -> (Bed, Gate) {
    let gate = Gate::shut();
    let inside = gate.clone();
    let bed = Bed::new(memory(), rule, move |_| {
        let gate = inside.clone();
        async move {
            gate.pass().await;
            "done".into_response()
        }
    });
    (bed, gate)
}

#[tokio::test(start_paused = true)]
async fn when_the_client_has_gone_the_handler_goes_on_and_its_answer_is_kept() {
    let (bed, gate) = gated(rule());
    bed.sending(post("a", "")).await.abort();
    settled().await;
    assert_eq!(bed.post("a", "").await.refusal().0, 409);
    gate.open();
    settled().await;
    let answer = bed.post("a", "").await;
    assert!(answer.is_replay() && answer.body == "done");
    assert_eq!(bed.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_layer_outside_that_gives_up_changes_nothing_inside() {
    let scope = header("x-user").or_shared();
    let layer = IdempotencyLayer::new(memory(), scope, rule()).unwrap();
    let handler = tower::service_fn(async |_: Request<RequestBody<Body>>| {
        sleep(5).await;
        Ok::<Response, tower::BoxError>("done".into_response())
    });
    let inner = layer.layer(handler);
    let outer = TimeoutLayer::new(Duration::from_secs(1)).layer(inner.clone());
    assert!(outer.oneshot(post("a", "")).await.is_err());
    sleep(10).await;
    let response = inner.oneshot(post("a", "")).await.unwrap();
    let answer = Answer::read(response.map(Body::new)).await;
    assert!(answer.is_replay() && answer.body == "done");
}

/// A body that panics when it is read, or when it is dropped.
enum Bomb {
    Read,
    Drop,
}

impl http_body::Body for Bomb {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(matches!(*self, Self::Drop), "read");
        std::task::Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(matches!(self, Self::Read), "dropped");
    }
}

/// Where a handler panics.
#[derive(Clone, Copy, Debug)]
enum Panic {
    InCall,
    InPoll,
    AfterAWhile,
    InBody,
    InBodysDestructor,
    InOwnDestructor,
}

const PANICS: [Panic; 6] = [
    Panic::InCall,
    Panic::InPoll,
    Panic::AfterAWhile,
    Panic::InBody,
    Panic::InBodysDestructor,
    Panic::InOwnDestructor,
];

fn panicking(rule: IdempotencyRule, panic: Panic) -> Bed {
    Bed::new(memory(), rule, move |_| {
        assert!(!matches!(panic, Panic::InCall), "in call");
        async move {
            let _own = matches!(panic, Panic::InOwnDestructor).then_some(Bomb::Drop);
            assert!(!matches!(panic, Panic::InPoll), "in poll");
            sleep(1).await;
            assert!(!matches!(panic, Panic::AfterAWhile), "after a while");
            match panic {
                Panic::InBody => Response::new(Body::new(Bomb::Read)),
                Panic::InBodysDestructor => Response::new(Body::new(Bomb::Drop)),
                _ => "done".into_response(),
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_and_the_next_request_runs_wherever_it_was() {
    for panic in PANICS {
        let bed = panicking(rule(), panic);
        for runs in 1..3 {
            let answer = bed.post("a", "").await;
            assert_eq!(
                answer.refusal(),
                refused(500, "handler-panicked"),
                "{panic:?}"
            );
            assert_eq!(bed.runs(), runs, "{panic:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_nobody_knows_where_nothing_runs_twice() {
    for panic in PANICS {
        let bed = panicking(never(Unrecorded::Answer), panic);
        for _ in 0..2 {
            let answer = bed.post("a", "").await;
            assert_eq!(
                answer.refusal(),
                refused(500, "outcome-unknown"),
                "{panic:?}"
            );
            assert_eq!(bed.runs(), 1, "{panic:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_without_a_client_is_recorded_as_well() {
    let bed = panicking(never(Unrecorded::Answer), Panic::AfterAWhile);
    bed.sending(post("a", "")).await.abort();
    sleep(2).await;
    let answer = bed.post("a", "").await;
    assert_eq!(answer.refusal(), refused(500, "outcome-unknown"));
}

#[tokio::test(start_paused = true)]
async fn while_it_drains_no_handler_begins_and_those_that_run_are_waited_for() {
    let (bed, gate) = gated(rule());
    let running = bed.sending(post("a", "")).await;
    let gone = bed.sending(post("b", "")).await;
    gone.abort();
    let handle = bed.layer.handle();
    let drained = tokio::spawn(async move { handle.drain(Duration::from_secs(30)).await });
    settled().await;

    let refused_now = bed.post("c", "").await;
    assert_eq!(refused_now.refusal(), refused(503, "unavailable"));
    assert_eq!(refused_now.header("retry-after"), Some("1"));
    assert_eq!(bed.runs(), 2);
    gate.open();
    assert_eq!(running.await.unwrap().body, "done");
    settled().await;
    assert!(!drained.is_finished(), "the one without a client runs");
    gate.open();
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_drains_is_told_how_many_have_not_ended_in_time() {
    let (bed, gate) = gated(rule());
    for key in ["a", "b", "c"] {
        drop(bed.sending(post(key, "")).await);
    }
    gate.open();
    let handle = bed.layer.handle();
    assert_eq!(handle.drain(Duration::from_secs(3)).await, 2);
    gate.open();
    gate.open();
    assert_eq!(handle.drain(Duration::from_secs(3)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_dropped_has_closed_the_door_all_the_same() {
    let (bed, _gate) = gated(rule());
    drop(bed.sending(post("a", "")).await);
    let drain = bed.layer.handle();
    let dropped =
        tokio::time::timeout(Duration::from_secs(1), drain.drain(Duration::from_secs(60)));
    assert!(dropped.await.is_err());
    assert_eq!(
        bed.post("b", "").await.refusal(),
        refused(503, "unavailable")
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_does_not_begin_while_it_drains() {
    let backend = memory();
    crate::fixture::leave_orphan(&backend, rule(), post("a", ""));
    let waits = rule().with_in_progress(tower_stash::idempotency::InProgress::Wait(
        Duration::from_secs(60),
    ));
    let bed = Bed::new(backend.clone(), waits, |_| async { "done".into_response() });
    let waiting = bed.sending(post("a", "")).await;
    assert_eq!(bed.layer.handle().drain(Duration::ZERO).await, 0);
    assert_eq!(
        waiting.await.unwrap().refusal(),
        refused(503, "unavailable")
    );
    assert_eq!(bed.runs(), 0);
    // And the claim was taken back, not left for a lease.
    settled().await;
    let other = Bed::new(backend, rule(), |_| async { "done".into_response() });
    assert_eq!(other.post("a", "").await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_so_and_the_answer_is_kept_all_the_same() {
    let seconds = Duration::from_secs;
    let rule = rule().with_lease(seconds(6)).unwrap();
    let rule = rule.with_max_execution(seconds(20)).unwrap();
    let (bed, gate) = gated(rule);
    let first = bed.sending(post("a", "")).await;
    sleep(25).await;
    assert!(!first.is_finished());
    sleep(2).await;
    assert_eq!(
        first.await.unwrap().refusal(),
        refused(500, "outcome-unknown")
    );
    gate.open();
    settled().await;
    let answer = bed.post("a", "").await;
    assert!(answer.is_replay() && answer.body == "done");
    assert_eq!(bed.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_takes_too_long_loses_the_key_and_its_answer_does_not_count() {
    let seconds = Duration::from_secs;
    let rule = rule().with_lease(seconds(6)).unwrap();
    let rule = rule.with_max_execution(seconds(20)).unwrap();
    let bed = Bed::new(memory(), rule, |request| async move {
        let run = execution(&request);
        if run.attempt() == 1 {
            assert_eq!(run.remaining(), Duration::from_secs(20));
            sleep(40).await;
            assert_eq!(run.remaining(), Duration::ZERO);
        }
        format!("attempt {}", run.attempt()).into_response()
    });
    let first = bed.sending(post("a", "")).await;
    sleep(30).await;
    assert_eq!(bed.post("a", "").await.body, "attempt 2");
    assert_eq!(
        first.await.unwrap().refusal(),
        refused(500, "outcome-unknown")
    );
    sleep(60).await;
    assert_eq!(bed.post("a", "").await.body, "attempt 2");
}

#[tokio::test]
async fn the_handler_is_in_the_span_of_its_request() {
    use tracing::Instrument as _;
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let seen = Arc::new(std::sync::Mutex::new(None));
    let inside = Arc::clone(&seen);
    let bed = Bed::new(MemoryBackend::new(), rule(), move |_| {
        let seen = Arc::clone(&inside);
        async move {
            tokio::task::yield_now().await;
            *seen.lock().unwrap() = tracing::Span::current().id();
            StatusCode::OK.into_response()
        }
    });
    let span = tracing::info_span!("request");
    bed.post("a", "").instrument(span.clone()).await;
    assert!(span.id().is_some());
    assert_eq!(*seen.lock().unwrap(), span.id());
}
