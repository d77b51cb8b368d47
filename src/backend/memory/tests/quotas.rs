//! Counters.

use std::collections::BTreeSet;

use super::*;
use crate::{
    backend::{Acquire, BackendErrorKind, Quotas},
    testing::ManualClock,
};

#[tokio::test]
async fn looking_at_a_quota_or_being_denied_makes_no_entry() {
    let backend = MemoryBackend::new();
    let request = Acquire::new(key(1), hourly(5));
    let look = backend.acquire(&request.clone().with_cost(0)).await;
    assert!(look.unwrap().admitted);
    let denied = backend.acquire(&request.clone().with_cost(6)).await;
    assert!(!denied.unwrap().admitted);
    assert_eq!(stored(&backend), (0, 0));

    let taken = backend.acquire(&request).await.unwrap();
    assert_eq!(backend.stored_entries(), 1);
    backend.refund(&taken.receipt(&request)).await.unwrap();
    backend.reset(&key(1), &request.limits).await.unwrap();
    assert_eq!(stored(&backend), (0, 0));
}

#[tokio::test]
async fn a_quota_that_must_push_others_out_counts_each_hit_once() {
    let backend = MemoryBackend::new().with_max_bytes(6 * empty_entry());
    let request = Acquire::new(key(100), hourly(60));
    for n in 0..60 {
        put(&backend, n, 0, MINUTE).await;
        let decision = backend.acquire(&request).await.unwrap();
        assert_eq!(decision.limits[0].remaining, 59 - n);
        assert_eq!(recount(&backend), stored(&backend));
    }
    assert!(!backend.acquire(&request).await.unwrap().admitted);
}

#[tokio::test]
async fn counters_that_ended_take_no_room_beside_one_that_lives() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let [lasting] = hourly(1_000);
    let mut sizes = Vec::new();
    for n in 0..20 {
        let short = Limit::new(n.to_string(), Quota::per_minute(5)).unwrap();
        let request = Acquire::new(key(1), [lasting, short]);
        backend.acquire(&request).await.unwrap();
        sizes.push(backend.stored_bytes());
        clock.advance(3 * MINUTE / 2);
    }
    let grown = sizes
        .iter()
        .skip(2)
        .find(|size| **size > sizes[1] + 20 * 16);
    assert_eq!(grown, None, "{sizes:?}");
}

#[tokio::test]
async fn the_room_that_a_log_holds_in_reserve_is_counted_and_given_back() {
    let backend = MemoryBackend::new();
    let request = Acquire::new(key(1), hourly(1_000));
    let mut sizes = BTreeSet::new();
    for _ in 0..100 {
        backend.acquire(&request).await.unwrap();
        sizes.insert(backend.stored_bytes());
    }
    assert!(sizes.len() < 20, "it grows by more than a hit: {sizes:?}");

    let all = request.with_cost(900);
    let decision = backend.acquire(&all).await.unwrap();
    let full = backend.stored_bytes();
    backend.refund(&decision.receipt(&all)).await.unwrap();
    assert!(full - backend.stored_bytes() >= 900 * size_of::<u64>());
    assert_eq!(recount(&backend), stored(&backend));
}

#[tokio::test]
async fn a_log_that_outgrows_the_bound_is_refused_and_stays_as_it_was() {
    let backend = MemoryBackend::new().with_max_bytes(empty_entry() + 1_000);
    let request = Acquire::new(key(1), hourly(1_000));
    let some = request.clone().with_cost(40);
    backend.acquire(&some).await.unwrap();
    let before = stored(&backend);
    let more = backend.acquire(&request.clone().with_cost(500)).await;
    let kind = more.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::Rejected));
    assert!(stored(&backend) <= before);
    assert_eq!(recount(&backend), stored(&backend));
}
