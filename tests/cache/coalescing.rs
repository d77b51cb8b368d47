//! One fetch for all who want the same, and only for those who may have it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tower_stash::{
    cache::{CacheLayer, Coalescing, NotStored, OutcomeKind},
    testing::FaultBackend,
};

use crate::fixture::{
    Answer, Bed, Gate, Inside, counting, data, faulty, fed, get, in_a_process_that_dies, memory,
    response, rule, settled, sleep,
};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// A handler that waits at the gate, and then answers `call 1` and so on with these headers.
fn gated(
    gate: &Gate,
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(Inside) -> futures_util::future::BoxFuture<'static, axum::response::Response>
+ Clone
+ Send
+ Sync
+ 'static {
    let gate = gate.clone();
    let calls = Arc::new(AtomicUsize::new(0));
    move |_| {
        let gate = gate.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            gate.pass().await;
            response(200, headers, format!("call {call}"))
        })
    }
}

/// So many requests of each, in tasks.
async fn crowd(beds: &[Bed], each: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    let mut sent = Vec::new();
    for number in 0..each {
        for bed in beds {
            let bed = bed.clone();
            let request = get("/a", &[("x-number", &number.to_string())]);
            sent.push(tokio::spawn(async move { bed.send(request).await }));
        }
    }
    settled().await;
    sent
}

async fn all(sent: Vec<tokio::task::JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(timeout(SOON, answer).await.expect("nobody hangs").unwrap());
    }
    answers
}

fn calls(beds: &[Bed]) -> usize {
    beds.iter().map(Bed::calls).sum()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_requests_of_two_instances_are_one_call() {
    let gate = Gate::shut();
    let beds = Bed::two(&faulty(), rule(), gated(&gate, FRESH));
    let sent = crowd(&beds, 100).await;
    sleep(1).await;
    gate.stay_open();
    let answers = all(sent).await;
    assert_eq!(calls(&beds), 1);
    for answer in &answers {
        assert_eq!((answer.status(), &*answer.body), (200, "call 1"));
    }
    let kinds = |kind| {
        answers
            .iter()
            .filter(|answer| answer.kind() == Some(kind))
            .count()
    };
    assert_eq!(kinds(OutcomeKind::Miss), 1);
    assert_eq!(kinds(OutcomeKind::Collapsed), 199);
}

#[tokio::test(start_paused = true)]
async fn coalescing_in_the_process_is_one_call_of_each_instance() {
    let gate = Gate::shut();
    let backend = faulty();
    let handler = gated(&gate, FRESH);
    let beds = [(), ()].map(|()| {
        let layer = CacheLayer::new(backend.clone(), rule()).unwrap();
        Bed::behind(layer.with_coalescing(Coalescing::Process), handler.clone())
    });
    let sent = crowd(&beds, 20).await;
    gate.stay_open();
    all(sent).await;
    assert_eq!(calls(&beds), 2);
}

#[tokio::test(start_paused = true)]
async fn without_coalescing_everybody_fetches() {
    let gate = Gate::shut();
    let layer = CacheLayer::new(faulty(), rule()).unwrap();
    let bed = Bed::behind(layer.with_coalescing(Coalescing::Off), gated(&gate, FRESH));
    let beds = [bed];
    let sent = crowd(&beds, 20).await;
    gate.stay_open();
    all(sent).await;
    assert_eq!(calls(&beds), 20);
    assert!(beds[0].get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn who_may_not_have_it_fetches_beside_the_others_and_not_after_them() {
    for headers in [
        &[("cache-control", "private, max-age=60")][..],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=60"), ("set-cookie", "id=1")],
        &[("cache-control", "max-age=60"), ("vary", "cookie")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("vary", "x-number")],
        &[("cache-control", "max-age=0"), ("etag", "\"1\"")],
        &[("cache-control", "no-cache"), ("etag", "\"1\"")],
        &[],
    ] {
        let calls_made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls_made);
        let beds = Bed::two(&faulty(), rule(), move |request: Inside| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                // As long as a handler takes; for all, not for each.
                tokio::time::sleep(TAKES).await;
                let number = request.headers()["x-number"].to_str().unwrap();
                response(200, headers, number.to_owned())
            }
        });
        let began = Instant::now();
        let mut sent = Vec::new();
        for number in 0..50 {
            for (instance, bed) in beds.iter().enumerate() {
                let number = format!("{number} of {instance}");
                let bed = bed.clone();
                sent.push(tokio::spawn(async move {
                    let request = get("/a", &[("x-number", &number)]);
                    let answer = bed.send(request).await;
                    assert_eq!(answer.body, number, "someone else's");
                }));
            }
        }
        for sent in sent {
            sent.await.expect("its own answer");
        }
        let took = began.elapsed();
        assert!(took < 4 * TAKES, "{took:?} for {headers:?}");
        assert_eq!(calls_made.load(Ordering::SeqCst), 100, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_credentials_neither_waits_nor_gives_his_answer() {
    for name in ["authorization", "cookie"] {
        let beds = Bed::two(&faulty(), rule(), move |request: Inside| async move {
            tokio::time::sleep(TAKES).await;
            let who = request.headers().get(name);
            let who = who.map_or("nobody", |who| who.to_str().unwrap());
            response(200, FRESH, who.to_owned())
        });
        let began = Instant::now();
        let mut sent = Vec::new();
        for number in 0..20 {
            for bed in &beds {
                let who = format!("ada{number}");
                sent.push((who.clone(), bed.sending(get("/a", &[(name, &who)])).await));
                sent.push(("nobody".to_owned(), bed.sending(get("/a", &[])).await));
            }
        }
        for (who, answer) in sent {
            assert_eq!(answer.await.unwrap().body, who);
        }
        assert!(began.elapsed() < 4 * TAKES, "{:?}", began.elapsed());
        let anonymous = beds[0].get().await;
        assert_eq!(
            (anonymous.is_hit(), &*anonymous.body),
            (true, "nobody"),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_logged_in_does_not_keep_others_from_being_cached() {
    for asked in [
        ("authorization", "ada"),
        ("cookie", "id=1"),
        ("cache-control", "no-store"),
    ] {
        let bed = Bed::new(faulty(), rule(), counting(FRESH));
        for _ in 0..3 {
            assert!(!bed.get_with(&[asked]).await.is_hit());
        }
        bed.get().await;
        assert!(bed.get().await.is_hit(), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_nobody_with_it() {
    let calls_made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls_made);
    let beds = Bed::two(&faulty(), rule(), move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(TAKES).await;
            assert!(call > 0, "the first one panics");
            response(200, FRESH, "fine")
        }
    });
    let sent = crowd(&beds, 20).await;
    let mut panicked = 0;
    for answer in sent {
        match timeout(SOON, answer).await.expect("nobody hangs") {
            Ok(answer) => assert_eq!(answer.body, "fine"),
            Err(error) => {
                assert!(error.is_panic());
                panicked += 1;
            }
        }
    }
    assert_eq!(panicked, 1);
    assert_eq!(
        calls_made.load(Ordering::SeqCst),
        2,
        "one of the others fetches"
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_dies_is_waited_for_no_longer_than_its_lease() {
    let backend = faulty();
    let dying = backend.clone();
    in_a_process_that_dies(async move {
        let bed = Bed::new(dying, rule(), |_| std::future::pending());
        drop(bed.sending(get("/a", &[])).await);
        assert_eq!(bed.calls(), 1);
    });
    let beds = Bed::two(&backend, rule(), counting(FRESH));
    let began = Instant::now();
    let answers = all(crowd(&beds, 10).await).await;
    assert!(
        began.elapsed() <= Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(answers.iter().all(|answer| answer.status() == 200));
    sleep(5).await;
    beds[0].get().await;
    assert!(beds[1].get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_slow_holder_is_waited_for_three_seconds_and_then_not_at_all() {
    let gate = Gate::shut();
    let backend = faulty();
    let slow = Bed::new(backend.clone(), rule(), gated(&gate, FRESH));
    let first = slow.sending(get("/a", &[])).await;
    let quick = Bed::new(backend, rule(), counting(FRESH));
    let began = Instant::now();
    let answer = quick.get().await;
    assert_eq!(answer.not_stored(), Some(NotStored::NotLeader));
    let waited = began.elapsed();
    assert!((3..=4).contains(&waited.as_secs()), "{waited:?}");
    let began = Instant::now();
    quick.get().await;
    assert!(began.elapsed() < Duration::from_millis(100));
    gate.open();
    first.await.unwrap();
    assert!(quick.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_long_fetch_is_not_repeated_while_its_lease_is_renewed() {
    let gate = Gate::shut();
    let bed = Bed::new(faulty(), rule(), gated(&gate, FRESH));
    let beds = [bed];
    let sent = crowd(&beds, 10).await;
    sleep(20).await;
    gate.open();
    all(sent).await;
    assert_eq!(beds[0].calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_not_waited_for_until_it_can() {
    let backend = faulty();
    let is_open = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = Arc::clone(&is_open);
    let beds = Bed::two(&backend, rule(), move |_| {
        let said = if says.load(Ordering::SeqCst) {
            "max-age=5"
        } else {
            "private"
        };
        async move {
            tokio::time::sleep(TAKES).await;
            response(200, &[("cache-control", said)], "body")
        }
    });
    beds[0].get().await;
    sleep(2).await;
    // For two minutes nobody waits for anybody, on no instance.
    let began = Instant::now();
    all(crowd(&beds, 10).await).await;
    assert!(began.elapsed() < 2 * TAKES);
    assert_eq!(calls(&beds), 21);
    sleep(2).await;
    is_open.store(true, Ordering::SeqCst);
    beds[0].get().await;
    assert!(beds[1].get().await.is_hit());
    // And now they do again.
    sleep(6).await;
    let before = calls(&beds);
    all(crowd(&beds, 10).await).await;
    assert_eq!(calls(&beds) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn who_passes_by_what_cannot_be_stored_asks_the_backend_once_a_second_for_leave() {
    let backend = faulty();
    let bed = Bed::new(
        backend.clone(),
        rule(),
        counting(&[("cache-control", "private")]),
    );
    bed.get().await;
    let puts = |backend: &FaultBackend<_>| backend.calls(tower_stash::backend::Op::Put);
    let before = puts(&backend);
    for _ in 0..20 {
        bed.get().await;
    }
    assert!(puts(&backend) - before <= 1, "{}", puts(&backend) - before);
}

#[tokio::test(start_paused = true)]
async fn waiters_of_a_body_that_breaks_off_fetch_for_themselves() {
    let (feed, body) = fed();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let bed = Bed::new(memory(), rule(), move |_| {
        let answer = match body.lock().unwrap().take() {
            Some(body) => response(200, FRESH, body),
            None => response(200, FRESH, "whole"),
        };
        async move { answer }
    });
    let broken = bed.sending(get("/a", &[])).await;
    feed.send(data("ha")).unwrap();
    let beds = [bed];
    let sent = crowd(&beds, 10).await;
    feed.send(Err(crate::fixture::Broken)).unwrap();
    drop(feed);
    let broken = broken.await.unwrap();
    assert_eq!((broken.is_broken, &*broken.body), (true, "ha"));
    for answer in all(sent).await {
        assert_eq!((answer.is_broken, &*answer.body), (false, "whole"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_many_wait_for_is_one_validation() {
    let gate = Gate::shut();
    let is_first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let gates = gate.clone();
    let beds = Bed::two(&faulty(), rule(), move |request: Inside| {
        let is_first = is_first.swap(false, Ordering::SeqCst);
        let gate = gates.clone();
        async move {
            if is_first {
                return response(
                    200,
                    &[("cache-control", "max-age=5"), ("etag", "\"1\"")],
                    "body",
                );
            }
            gate.pass().await;
            assert_eq!(request.headers()["if-none-match"], "\"1\"");
            response(
                304,
                &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
                "",
            )
        }
    });
    beds[0].get().await;
    sleep(6).await;
    let sent = crowd(&beds, 50).await;
    gate.stay_open();
    for answer in all(sent).await {
        assert_eq!((answer.status(), &*answer.body), (200, "body"));
    }
    assert_eq!(calls(&beds), 2);
}

/// How long a handler takes.
const TAKES: Duration = Duration::from_millis(500);

const SOON: Duration = Duration::from_secs(60);
