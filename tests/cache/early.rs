//! Fetching anew before the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::response::Response;
use tower_stash::cache::{CacheLayer, CacheRule, OutcomeKind};

use crate::fixture::{Bed, Inside, memory, response, rule, sleep};

/// A handler that takes a second; its answers are fresh for ten.
fn slow() -> impl Fn(Inside) -> futures_util::future::BoxFuture<'static, Response> + Clone {
    let calls = Arc::new(AtomicUsize::new(0));
    move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            sleep(1).await;
            response(
                200,
                &[("cache-control", "max-age=10")],
                format!("call {call}"),
            )
        })
    }
}

fn bed(rule: CacheRule, chance: fn() -> f64) -> Bed {
    let layer = CacheLayer::new(memory(), rule).unwrap();
    Bed::behind(layer.with_chance(chance), slow())
}

/// It makes a fetch of a second due 4.6 seconds before the end.
fn one_in_a_hundred() -> f64 {
    0.01
}

#[tokio::test(start_paused = true)]
async fn shortly_before_the_end_it_is_fetched_anew_and_nobody_waits() {
    let bed = bed(rule().with_early_refresh(), one_in_a_hundred);
    bed.get().await;
    // It was a second old when it came.
    sleep(4).await;
    assert_eq!(bed.get().await.body, "call 1");
    sleep(1).await;
    assert_eq!(bed.calls(), 1);
    let before = bed.get().await;
    assert_eq!(
        (before.kind(), &*before.body),
        (Some(OutcomeKind::Hit), "call 1")
    );
    sleep(2).await;
    assert_eq!(bed.calls(), 2);
    let after = bed.get().await;
    assert_eq!(
        (after.kind(), &*after.body),
        (Some(OutcomeKind::Hit), "call 2")
    );
    assert_eq!(bed.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_many_one_fetches() {
    let bed = bed(rule().with_early_refresh(), one_in_a_hundred);
    bed.get().await;
    sleep(7).await;
    for _ in 0..20 {
        assert_eq!(bed.get().await.body, "call 1");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(bed.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_luck_or_a_rule_for_it_nothing_is_fetched_early() {
    let unlucky = bed(rule().with_early_refresh(), || 1.0);
    let without = bed(rule(), one_in_a_hundred);
    for bed in [unlucky, without] {
        bed.get().await;
        sleep(8).await;
        assert_eq!(bed.get().await.body, "call 1");
        sleep(2).await;
        assert_eq!(bed.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_early_on_behalf_of_who_has_credentials() {
    let bed = bed(rule().with_early_refresh(), one_in_a_hundred);
    bed.get().await;
    sleep(8).await;
    assert_eq!(bed.get_with(&[("cookie", "a=b")]).await.body, "call 1");
    sleep(2).await;
    assert_eq!(bed.calls(), 1);
}
