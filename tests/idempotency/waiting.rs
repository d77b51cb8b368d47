//! Requests whose key is at work elsewhere.

use std::time::Duration;

use axum::response::IntoResponse as _;
use futures_util::future::join_all;
use http::StatusCode;
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend},
    idempotency::{IdempotencyRule, InProgress, Outage},
    testing::{Fault, FaultBackend},
};

use crate::fixture::{
    Bed, Gate, execution, faulty, leave_orphan, memory, post, refused, rule, settled, sleep,
};

/// A service that answers when the gate is opened, at another instance and at this one.
struct Two {
    there: Bed,
    here: Bed,
    backend: FaultBackend<MemoryBackend>,
    gate: Gate,
}

fn two(rule: &IdempotencyRule) -> Two {
    let (memory, gate) = (memory(), Gate::shut());
    let backend = FaultBackend::new(memory.clone());
    let bed = |backend| {
        let gate = gate.clone();
        Bed::new(backend, rule.clone(), move |_| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                "done".into_response()
            }
        })
    };
    Two {
        there: bed(FaultBackend::new(memory)),
        here: bed(backend.clone()),
        gate,
        backend,
    }
}

fn waiting(budget: Duration) -> IdempotencyRule {
    rule().with_in_progress(InProgress::Wait(budget))
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_is_told_when_to_come_again() {
    let two = two(&rule());
    let first = two.there.sending(post("a", "")).await;
    let answer = two.here.post("a", "").await;
    assert_eq!(answer.refusal(), refused(409, "in-progress"));
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.json()["retry_after_ms"], 2_000);
    two.gate.open();
    assert_eq!(first.await.unwrap().body, "done");
    assert!(two.here.post("a", "").await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn who_comes_shortly_before_the_lease_is_over_is_to_come_shortly_after() {
    let backend = memory();
    leave_orphan(&backend, rule(), post("a", ""));
    tokio::time::sleep(Duration::from_millis(9_300)).await;
    let bed = Bed::new(backend, rule(), |_| async { "done".into_response() });
    let answer = bed.post("a", "").await;
    assert_eq!(answer.refusal(), refused(409, "in-progress"));
    let millis = answer.json()["retry_after_ms"].as_u64().unwrap();
    assert!((600..2_000).contains(&millis), "{millis}");
    let seconds = millis.div_ceil(1_000).to_string();
    assert_eq!(answer.header("retry-after"), Some(&*seconds));
    tokio::time::sleep(Duration::from_millis(millis)).await;
    assert_eq!(bed.post("a", "").await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_is_told_in_its_own_words() {
    let two = two(&rule());
    let call = || {
        let mut call = post("a", "\0\0\0\0\0");
        let grpc = "application/grpc".parse().unwrap();
        call.headers_mut().insert("content-type", grpc);
        call
    };
    let _first = two.there.sending(call()).await;
    let answer = two.here.send(call()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("grpc-status"), Some("10"));
    assert_eq!(answer.header("grpc-retry-pushback-ms"), Some("2000"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_answer_of_another_instance() {
    let two = two(&waiting(MINUTE));
    let first = two.there.sending(post("a", "")).await;
    let second = two.here.sending(post("a", "")).await;
    sleep(30).await;
    assert!(!second.is_finished());
    two.gate.open();
    assert!(!first.await.unwrap().is_replay());
    let began = tokio::time::sleep(Duration::from_millis(500));
    let second = second.await.unwrap();
    assert!(second.is_replay() && second.body == "done");
    assert!(!began.is_elapsed(), "it asks at least twice a second");
    assert_eq!(two.here.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_the_same_process_is_told_without_a_call() {
    let two = two(&waiting(MINUTE));
    let first = two.here.sending(post("a", "")).await;
    let second = two.here.sending(post("a", "")).await;
    let before = two.backend.total_calls();
    two.gate.open();
    first.await.unwrap();
    assert!(second.await.unwrap().is_replay());
    assert_eq!(two.backend.total_calls(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_waits_no_longer_than_the_rule_says() {
    let two = two(&waiting(Duration::from_secs(3)));
    let _first = two.there.sending(post("a", "")).await;
    let waited = tokio::time::timeout(Duration::from_millis(3_001), two.here.post("a", ""));
    assert_eq!(waited.await.unwrap().refusal(), refused(409, "in-progress"));
    let too_short = tokio::time::timeout(Duration::from_millis(2_999), two.here.post("a", ""));
    assert!(too_short.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_dead_takes_over() {
    let backend = memory();
    leave_orphan(&backend, rule(), post("a", ""));
    let bed = Bed::new(backend, waiting(MINUTE), |request| async move {
        execution(&request).attempt().to_string().into_response()
    });
    let answers = join_all((0..10).map(|_| bed.post("a", ""))).await;
    assert!(answers.iter().all(|answer| answer.body == "2"));
    assert_eq!(bed.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_failure_runs_next() {
    let bed = Bed::new(memory(), waiting(MINUTE), |request| async move {
        sleep(1).await;
        if execution(&request).attempt() == 1 {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        "done".into_response()
    });
    let mut answers = join_all((0..10).map(|_| bed.post("a", ""))).await;
    answers.retain(|answer| answer.status() == 200);
    assert_eq!((answers.len(), bed.runs()), (9, 2));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_wait_ask_as_one() {
    let two = two(&waiting(MINUTE));
    let _first = two.there.sending(post("a", "")).await;
    for _ in 0..100 {
        drop(two.here.sending(post("a", "")).await);
    }
    sleep(2).await;
    let before = two.backend.total_calls();
    assert!(before < 100 + 20, "{before}");
    sleep(10).await;
    let made = two.backend.total_calls() - before;
    assert!((10..=40).contains(&made), "{made} calls in ten seconds");
    two.gate.open();
    sleep(1).await;
    assert_eq!(two.here.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_one_that_asks_has_gone_another_one_asks() {
    let two = two(&waiting(MINUTE));
    let _first = two.there.sending(post("a", "")).await;
    let asks = two.here.sending(post("a", "")).await;
    let waits = two.here.sending(post("a", "")).await;
    sleep(1).await;
    asks.abort();
    settled().await;
    two.gate.open();
    sleep(1).await;
    assert!(waits.is_finished());
    assert!(waits.await.unwrap().is_replay());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_1024_wait_in_a_process() {
    let two = two(&waiting(MINUTE));
    for key in ["a", "b"] {
        drop(two.there.sending(post(key, "")).await);
    }
    let mut waiting = Vec::new();
    for count in 0..1_024 {
        let key = if count % 2 == 0 { "a" } else { "b" };
        let here = two.here.clone();
        waiting.push(tokio::spawn(async move { here.post(key, "").await }));
    }
    settled().await;
    let one_more = tokio::time::timeout(Duration::from_millis(10), two.here.post("a", ""));
    assert_eq!(
        one_more.await.unwrap().refusal(),
        refused(409, "in-progress")
    );
    // Whoever leaves makes room.
    waiting.pop().unwrap().abort();
    settled().await;
    let in_its_place = tokio::time::timeout(Duration::from_secs(1), two.here.post("a", ""));
    assert!(in_its_place.await.is_err());
    two.gate.open();
    two.gate.open();
    for waited in waiting {
        assert!(waited.await.unwrap().is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_waited_for_do_not_mix() {
    let backend = faulty();
    let bed = Bed::new(backend, waiting(MINUTE), |request| async move {
        sleep(3).await;
        execution(&request).key().to_owned().into_response()
    });
    let keys = ["a", "b", "c"].repeat(5);
    let answers = join_all(keys.iter().map(|key| bed.post(key, ""))).await;
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(&answer.body, key);
    }
    assert_eq!(bed.runs(), 3);
}

/// What a claim whose reply was lost may have left is looked for in the background. That must not
/// find what the same request claims later.
#[tokio::test(start_paused = true)]
async fn who_waits_after_a_lost_reply_keeps_what_it_claims_in_the_end() {
    let memory = memory();
    let faulty = FaultBackend::new(memory.clone());
    let bed = |backend| {
        Bed::new(backend, waiting(MINUTE), |request| async move {
            let attempt = execution(&request).attempt();
            if attempt == 1 {
                sleep(1).await;
                return StatusCode::BAD_GATEWAY.into_response();
            }
            sleep(20).await;
            attempt.to_string().into_response()
        })
    };
    let first = bed(FaultBackend::new(memory.clone()))
        .sending(post("a", ""))
        .await;
    faulty.script([Fault::Fail(BackendErrorKind::Disconnected)]);
    let second = bed(faulty).sending(post("a", "")).await;
    assert_eq!(first.await.unwrap().status(), 502);
    let competitor = Bed::new(memory, rule(), |_| async { "done".into_response() });
    for _ in 0..15 {
        sleep(1).await;
        assert_eq!(competitor.post("a", "").await.refusal().0, 409);
    }
    assert_eq!(second.await.unwrap().body, "2");
}

#[tokio::test(start_paused = true)]
async fn who_waits_does_not_notice_a_short_outage() {
    for outage in [Outage::Reject, Outage::PassThrough] {
        let two = two(&waiting(MINUTE).with_outage(outage).unwrap());
        let first = two.there.sending(post("a", "")).await;
        let second = two.here.sending(post("a", "")).await;
        sleep(1).await;
        two.backend.go_down();
        sleep(10).await;
        two.backend.come_up();
        assert!(!second.is_finished());
        two.gate.open();
        assert_eq!(first.await.unwrap().body, "done");
        assert!(second.await.unwrap().is_replay());
        assert_eq!(two.here.runs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_through_an_outage_to_the_end_does_not_run_beside_who_works() {
    for outage in [Outage::Reject, Outage::PassThrough] {
        let two = two(&waiting(Duration::from_secs(3)).with_outage(outage).unwrap());
        let _first = two.there.sending(post("a", "")).await;
        let second = two.here.sending(post("a", "")).await;
        two.backend.go_down();
        let second = second.await.unwrap();
        assert_eq!(second.refusal(), refused(409, "in-progress"));
        assert_eq!(two.here.runs(), 0);
    }
}
