//! Claims of handlers that take long.

use std::time::Duration;

use axum::response::IntoResponse as _;
use tower_stash::{backend::Op, idempotency::IdempotencyRule, testing::FaultBackend};

use crate::fixture::{Bed, execution, faulty, memory, post, refused, rule, settled, sleep};

fn with_lease(millis: u64) -> IdempotencyRule {
    rule().with_lease(Duration::from_millis(millis)).unwrap()
}

/// A service that takes so long.
fn taking(backend: impl tower_stash::backend::KeyValue, rule: IdempotencyRule, millis: u64) -> Bed {
    Bed::new(backend, rule, move |_| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        "done".into_response()
    })
}

#[tokio::test(start_paused = true)]
async fn nothing_is_renewed_while_a_handler_takes_less_than_a_third_of_its_lease() {
    let backend = faulty();
    let bed = taking(backend.clone(), with_lease(9_000), 2_900);
    bed.post("a", "").await;
    sleep(60).await;
    assert_eq!(backend.total_calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_each_third_of_its_lease_and_not_when_it_is_done() {
    let backend = faulty();
    let bed = taking(backend.clone(), with_lease(9_000), 10_000);
    bed.post("a", "").await;
    assert_eq!(backend.total_calls(), 2 + 3);
    sleep(60).await;
    assert_eq!(backend.total_calls(), 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_three_leases_keeps_its_key() {
    let backend = memory();
    let bed = taking(backend.clone(), rule(), 30_000);
    let competitor = taking(backend, rule(), 0);
    let first = bed.sending(post("a", "")).await;
    for _ in 0..29 {
        sleep(1).await;
        let busy = competitor.post("a", "").await;
        assert_eq!(busy.refusal(), refused(409, "in-progress"));
    }
    assert_eq!(first.await.unwrap().body, "done");
    assert!(competitor.post("a", "").await.is_replay());
    assert_eq!(competitor.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn renewing_changes_neither_fence_nor_attempt() {
    let bed = Bed::new(memory(), rule(), |request| async move {
        let run = execution(&request);
        let before = (run.fence(), run.attempt());
        sleep(30).await;
        assert_eq!((run.fence(), run.attempt()), before);
        "done".into_response()
    });
    assert_eq!(bed.post("a", "").await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn many_claims_are_renewed_each_when_it_is_due() {
    let backend = faulty();
    let slow = taking(backend.clone(), with_lease(9_000), 20_000);
    let mut sent = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        sent.push(slow.sending(post(key, "")).await);
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    for sent in sent {
        assert_eq!(sent.await.unwrap().body, "done");
    }
    assert_eq!(backend.calls(Op::Put), 5 * (2 + 6));
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_shorter_lease_is_not_kept_waiting_by_one_of_a_longer() {
    let backend = memory();
    let policy = tower_stash::policy::Routes::new()
        .post("/orders", with_lease(60_000))
        .patch("/orders", with_lease(1_000));
    let bed = Bed::new(backend, policy, |_| async {
        sleep(10).await;
        "done".into_response()
    });
    let _long = bed.sending(post("a", "")).await;
    let mut short = post("b", "");
    *short.method_mut() = http::Method::PATCH;
    let short = bed.sending(short).await;
    for _ in 0..9 {
        sleep(1).await;
        let mut again = post("b", "");
        *again.method_mut() = http::Method::PATCH;
        assert_eq!(bed.send(again).await.refusal(), refused(409, "in-progress"));
    }
    assert_eq!(short.await.unwrap().body, "done");
}

/// A handler that says, half a minute later, after how many seconds its lease was lost.
fn noticing(backend: FaultBackend<tower_stash::backend::MemoryBackend>) -> Bed {
    Bed::new(backend, rule(), |request| async move {
        let run = execution(&request);
        let mut seconds = 0;
        let lost = async {
            run.lease_lost().await;
            assert!(run.is_lease_lost());
        };
        let counting = async {
            while seconds < 60 {
                assert!(!run.is_lease_lost());
                sleep(1).await;
                seconds += 1;
            }
        };
        tokio::select! {
            biased;
            () = lost => (),
            () = counting => (),
        }
        sleep(30).await;
        seconds.to_string().into_response()
    })
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_of_its_lease_when_renewals_fail() {
    let backend = faulty();
    let bed = noticing(backend.clone());
    let sent = bed.sending(post("a", "")).await;
    sleep(20).await;
    backend.go_down();
    sleep(12).await;
    backend.come_up();
    let seconds: u32 = sent.await.unwrap().body.parse().unwrap();
    // Renewed last between 16 and 20 s.
    assert!((26..30).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_keeps_its_lease_hears_nothing() {
    let bed = noticing(faulty());
    assert_eq!(bed.post("a", "").await.body, "60");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_in_time() {
    let backend = faulty();
    let bed = taking(backend.clone(), rule(), 30_000);
    let first = bed.sending(post("a", "")).await;
    for _ in 0..3 {
        sleep(2).await;
        backend.go_down();
        sleep(4).await;
        backend.come_up();
        sleep(2).await;
        assert_eq!(bed.post("a", "").await.refusal().0, 409);
    }
    assert_eq!(first.await.unwrap().body, "done");
    settled().await;
}

/// In real time: what is blocked is a thread.
#[test]
fn a_handler_that_blocks_its_thread_does_not_lose_its_lease() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let backend = faulty();
        let (open, blocked) = std::sync::mpsc::channel();
        let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
        let bed = Bed::new(backend.clone(), with_lease(300), move |_| {
            let blocked = blocked.clone();
            async move {
                blocked.lock().unwrap().recv().unwrap();
                "done".into_response()
            }
        });
        let first = tokio::spawn(async move { bed.post("a", "").await });
        let renewed = async {
            while backend.calls(Op::Put) < 1 + 10 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let renewed = tokio::time::timeout(Duration::from_secs(30), renewed).await;
        open.send(()).unwrap();
        assert!(renewed.is_ok(), "it is renewed while the handler blocks");
        assert_eq!(first.await.unwrap().body, "done");
    });
}
