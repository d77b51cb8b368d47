//! Copies in the process.

use std::time::Duration;

use tower_stash::{
    backend::{MemoryBackend, Op},
    cache::{CacheLayer, Consistency, OutcomeKind},
    testing::{Fault, FaultBackend},
};

use crate::fixture::{
    Bed, Inside, counting, faulty, get, memory, request, response, rule, settled, sleep,
};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("cache-tag", "tag")];

fn near(backend: &FaultBackend<MemoryBackend>) -> CacheLayer {
    let layer = CacheLayer::new(backend.clone(), rule()).unwrap();
    layer.with_near_cache(1 << 20)
}

/// An instance that has answered `call 1` once.
async fn warm(backend: &FaultBackend<MemoryBackend>) -> Bed {
    let bed = Bed::behind(near(backend), counting(FRESH));
    assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss));
    bed
}

#[tokio::test(start_paused = true)]
async fn a_near_hit_makes_no_call() {
    let backend = faulty();
    let bed = warm(&backend).await;
    let before = backend.total_calls();
    for _ in 0..3 {
        let answer = bed.get().await;
        assert_eq!(answer.kind(), Some(OutcomeKind::Hit));
        assert_eq!(answer.body, "call 1");
    }
    assert_eq!(backend.total_calls(), before);
}

#[tokio::test(start_paused = true)]
async fn what_another_instance_stored_is_near_once_it_was_read() {
    let backend = faulty();
    warm(&backend).await;
    let other = Bed::behind(near(&backend), counting(FRESH));
    // Of what it reads first it does not know yet that it missed nothing.
    other.get().await;
    assert_eq!(other.get().await.body, "call 1");
    let before = backend.total_calls();
    assert_eq!(other.get().await.body, "call 1");
    assert_eq!(backend.total_calls(), before);
    assert_eq!(other.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_used_no_longer_than_an_instance_may_be_behind() {
    let backend = faulty();
    let bed = warm(&backend).await;
    sleep(2).await;
    let before = backend.calls(Op::Get);
    assert!(bed.get().await.is_hit());
    assert_eq!(backend.calls(Op::Get), before + 1);
}

#[tokio::test(start_paused = true)]
async fn near_hits_ask_twice_a_second_what_was_purged_and_nothing_else() {
    let backend = faulty();
    let bed = warm(&backend).await;
    let (gets, puts) = (backend.calls(Op::Get), backend.calls(Op::Put));
    for _ in 0..19 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(bed.get().await.is_hit());
    }
    assert_eq!(backend.calls(Op::Get), gets);
    assert_eq!(backend.calls(Op::Put), puts + 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_poll_that_is_due() {
    let backend = faulty();
    let bed = warm(&backend).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    backend.script([Fault::Hang]);
    let before = tokio::time::Instant::now();
    assert!(bed.get().await.is_hit());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_heeded_at_once_where_it_was_made() {
    let backend = faulty();
    let bed = warm(&backend).await;
    bed.layer.purge().tag("tag").await.unwrap();
    assert_eq!(bed.get().await.body, "call 2");
    bed.layer.purge().all().await.unwrap();
    assert_eq!(bed.get().await.body, "call 3");
    bed.layer.purge().url("http://example.com/a").await.unwrap();
    assert_eq!(bed.get().await.body, "call 4");
}

#[tokio::test(start_paused = true)]
async fn a_purge_elsewhere_is_heeded_after_two_seconds_at_the_latest() {
    let backend = faulty();
    for purges_url in [false, true] {
        let bed = warm(&backend).await;
        let other = near(&backend).purge();
        if purges_url {
            other.url("http://example.com/a").await.unwrap();
        } else {
            other.tag("tag").await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(bed.get().await.body, "call 2");
        near(&backend).purge().all().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_tells_of_a_purge_though_a_copy_is_here() {
    let backend = faulty();
    let bed = warm(&backend).await;
    near(&backend).purge().tag("tag").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // This one begins the poll.
    bed.get().await;
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_softly_purged_copy_does_not_answer_as_fresh() {
    let backend = faulty();
    let bed = warm(&backend).await;
    bed.layer.purge().soft().tag("tag").await.unwrap();
    let stale = bed.get().await;
    assert_eq!(stale.kind(), Some(OutcomeKind::Stale));
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_method_purges_the_copy() {
    let backend = faulty();
    let bed = warm(&backend).await;
    bed.send(request("POST", "/a", &[])).await;
    assert_eq!(bed.get().await.body, "call 3");
}

#[tokio::test(start_paused = true)]
async fn a_read_under_way_brings_nothing_back_that_was_purged_meanwhile() {
    let backend = faulty();
    warm(&backend).await;
    let bed = Bed::behind(near(&backend), counting(FRESH));
    // The first call is the poll.
    backend.script([Fault::None, Fault::LateReply(Duration::from_millis(50))]);
    let reading = bed.sending(get("/a", &[])).await;
    bed.layer.purge().url("http://example.com/a").await.unwrap();
    assert_eq!(reading.await.unwrap().kind(), Some(OutcomeKind::Miss));
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_several_is_near_as_well() {
    let backend = faulty();
    let varying = |request: Inside| {
        let language = request.headers().get("accept-language").cloned();
        let language = language.map(|value| value.to_str().unwrap().to_owned());
        let headers = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        std::future::ready(response(200, &headers, language.unwrap_or_default()))
    };
    let bed = Bed::behind(near(&backend), varying);
    let ask = |language: &'static str| bed.send(get("/a", &[("accept-language", language)]));
    for language in ["de", "en", "de", "en"] {
        ask(language).await;
    }
    let before = backend.total_calls();
    assert_eq!(ask("de").await.body, "de");
    assert_eq!(ask("en").await.body, "en");
    assert_eq!(backend.total_calls(), before);
    assert_eq!(bed.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_large_response_is_read_each_time() {
    let backend = faulty();
    let large = |_: Inside| {
        let body = "x".repeat(64 * 1024);
        std::future::ready(response(200, &[("cache-control", "max-age=60")], body))
    };
    let bed = Bed::behind(near(&backend), large);
    bed.get().await;
    let before = backend.calls(Op::Get);
    assert!(bed.get().await.is_hit());
    assert_eq!(backend.calls(Op::Get), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_strict_instance_has_no_copies() {
    let backend = faulty();
    let layer = near(&backend).with_consistency(Consistency::Strict);
    let bed = Bed::behind(layer, counting(FRESH));
    bed.get().await;
    let before = backend.calls(Op::Get);
    assert!(bed.get().await.is_hit());
    assert!(backend.calls(Op::Get) > before);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_not_fresh_any_more_is_left_for_what_is_stored() {
    let backend = faulty();
    let short = &[("cache-control", "max-age=1, stale-while-revalidate=60")];
    let one = Bed::behind(near(&backend), counting(short));
    let other = Bed::behind(near(&backend), counting(short));
    one.get().await;
    other.get().await;
    assert_eq!(other.get().await.body, "call 1");
    sleep(1).await;
    // It is fetched anew by one of them, and the other takes that.
    assert_eq!(one.get().await.kind(), Some(OutcomeKind::Stale));
    settled().await;
    assert_eq!(other.get().await.body, "call 2");
    assert_eq!(other.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_memory_a_copy_heeds_the_purges_of_all_at_once() {
    let backend = memory();
    let layer = || {
        let layer = CacheLayer::new(backend.clone(), rule()).unwrap();
        layer.with_near_cache(1 << 20)
    };
    let bed = Bed::behind(layer(), counting(FRESH));
    bed.get().await;
    assert!(bed.get().await.is_hit());
    layer().purge().tag("tag").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(bed.get().await.body, "call 2");
}
