//! A backend that fails makes no request fail.

use std::time::Duration;

use tokio::time::Instant;
use tower_stash::{
    backend::{BackendErrorKind, Timeout},
    cache::{CacheLayer, Coalescing, NotStored, OutcomeKind},
    testing::Fault,
};

use crate::fixture::{Bed, counting, faulty, get, memory, request, response, rule, settled, sleep};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// What may become of a call.
const FAULTS: [Fault; 8] = [
    Fault::Fail(BackendErrorKind::Unavailable),
    Fault::Fail(BackendErrorKind::Rejected),
    Fault::Fail(BackendErrorKind::Corrupt),
    Fault::LostReply,
    Fault::Delay(Duration::from_secs(5)),
    Fault::LateReply(Duration::from_secs(5)),
    Fault::Hang,
    Fault::HangAfter,
];

#[tokio::test(start_paused = true)]
async fn without_a_backend_everybody_is_answered_and_afterwards_from_the_store_again() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
    bed.get().await;
    backend.go_down();
    sleep(3).await;
    for call in 2..20 {
        let answer = bed.get().await;
        assert_eq!(
            (answer.status(), answer.body),
            (200, format!("call {call}"))
        );
        assert_eq!(
            answer.head.extensions.get().map(kind),
            Some(OutcomeKind::Unavailable)
        );
    }
    backend.come_up();
    sleep(2).await;
    let answer = bed.get().await;
    assert_eq!((answer.is_hit(), &*answer.body), (true, "call 1"));
}

fn kind(outcome: &tower_stash::cache::CacheOutcome) -> OutcomeKind {
    outcome.kind
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_is_not_asked_by_every_request() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
    backend.go_down();
    for _ in 0..10 {
        bed.get().await;
    }
    let before = backend.total_calls();
    for _ in 0..100 {
        bed.get().await;
    }
    assert!(backend.total_calls() - before <= 2, "the breaker is open");
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_costs_a_tenth_of_a_second_and_no_more() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
    bed.get().await;
    sleep(3).await;
    for fault in [
        Fault::Hang,
        Fault::HangAfter,
        Fault::Delay(Duration::from_secs(5)),
        Fault::LateReply(Duration::from_secs(5)),
    ] {
        backend.script([fault; 10]);
        let began = Instant::now();
        assert_eq!(bed.get().await.status(), 200);
        let took = began.elapsed();
        assert!(took <= Duration::from_millis(110), "{fault:?}: {took:?}");
        // What is left of the script is over, and the breaker closed.
        for _ in 0..6 {
            sleep(2).await;
            bed.get().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_fault_at_any_call_fails_a_request_or_hangs_it() {
    for fault in FAULTS {
        for coalescing in [Coalescing::Fleet, Coalescing::Off] {
            for call in 0..12 {
                let backend = faulty();
                let handler = counting(&[
                    ("cache-control", "max-age=5, stale-while-revalidate=1"),
                    ("vary", "accept"),
                    ("etag", "\"1\""),
                ]);
                let layer = CacheLayer::new(backend.clone(), rule()).unwrap();
                let bed = Bed::behind(layer.with_coalescing(coalescing), handler);
                backend.script(vec![Fault::None; call]);
                backend.script([fault]);
                for pause in [0, 0, 6, 1, 20] {
                    sleep(pause).await;
                    let began = Instant::now();
                    let request = || get("/a", &[]);
                    let sent = [bed.sending(request()).await, bed.sending(request()).await];
                    for answer in sent {
                        let answer = answer.await.unwrap();
                        assert_eq!(answer.status(), 200, "{fault:?} at {call}");
                        assert!(answer.body.starts_with("call"));
                    }
                    let took = began.elapsed();
                    assert!(
                        took < Duration::from_secs(6),
                        "{fault:?} at {call}: {took:?}"
                    );
                }
                // By then it works as if nothing had been.
                sleep(10).await;
                bed.get().await;
                sleep(2).await;
                assert!(bed.get().await.is_hit(), "{fault:?} at {call}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_stores_nothing_and_keeps_nobody_waiting() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), |_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        response(200, FRESH, "body")
    });
    // The journal and the lease are written, and the response is not.
    backend.script([Fault::None; 3]);
    backend.script([Fault::Fail(BackendErrorKind::Rejected)]);
    let began = Instant::now();
    let mut sent = Vec::new();
    for _ in 0..50 {
        sent.push(bed.sending(get("/a", &[])).await);
    }
    for answer in sent {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_millis(1_600),
        "not one after the other: {took:?}"
    );
    sleep(2).await;
    bed.get().await;
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_is_too_small_is_as_good_as_none() {
    let bed = Bed::new(memory().with_max_bytes(2_000), rule(), |_| async {
        response(200, FRESH, "x".repeat(10_000))
    });
    for _ in 0..5 {
        assert_eq!(bed.get().await.body.len(), 10_000);
        sleep(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_purge_is_lost_is_heeded_here_at_once_and_elsewhere_soon() {
    let backend = faulty();
    let beds = Bed::two(&backend, rule(), counting(FRESH));
    beds[0].get().await;
    assert!(beds[1].get().await.is_hit());
    backend.go_down();
    let answer = beds[0].send(request("PUT", "/a", &[])).await;
    assert_eq!(answer.status(), 200);
    sleep(5).await;
    backend.come_up();
    let here = beds[0].get().await;
    assert_ne!(here.body, "call 1");
    sleep(4).await;
    settled().await;
    assert_ne!(beds[1].get().await.body, "call 1");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_store_alone_is_told_504_or_answered_by_the_handler() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
    backend.go_down();
    let answer = bed.get_with(&[("cache-control", "only-if-cached")]).await;
    assert_eq!(answer.status(), 504, "only a hit or 504");
    assert_ne!(answer.not_stored(), Some(NotStored::Backend));
}

#[tokio::test(start_paused = true)]
async fn faults_by_chance_fail_no_request() {
    for seed in 0..20 {
        let backend = faulty()
            .with_seed(seed)
            .with_fault_rate(0.2)
            .with_faults(FAULTS);
        // A change waits for its purge as long as the backend lets it.
        let backend = Timeout::new(backend, Duration::from_secs(1));
        let beds = Bed::two(
            &backend,
            rule(),
            counting(&[("cache-control", "max-age=2, stale-while-revalidate=2")]),
        );
        let mut sent = Vec::new();
        for number in 0..200 {
            let bed = &beds[number % 2];
            let (method, path) = (
                if number % 17 == 0 { "PUT" } else { "GET" },
                ["/a", "/b"][number % 2],
            );
            sent.push(bed.sending(request(method, path, &[])).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for answer in sent {
            let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
            assert_eq!(
                answer.expect("nobody hangs").unwrap().status(),
                200,
                "{seed}"
            );
        }
    }
}
