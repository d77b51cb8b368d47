//! Sets whose members expire.

use super::*;
use crate::{
    backend::{BackendErrorKind, Index},
    clock::{Clock, Timestamp},
    testing::ManualClock,
};

#[tokio::test]
async fn an_index_leaves_with_its_last_member() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let deadline = clock.now() + MINUTE;
    for member in ["a", "b"] {
        let added = backend.add(&key(1), member.into(), deadline).await;
        added.unwrap();
    }
    assert_eq!(backend.stored_entries(), 1);
    for member in ["a", "b"] {
        assert!(backend.remove(&key(1), member.into()).await.unwrap());
    }
    assert_eq!(stored(&backend), (0, 0));
}

#[tokio::test]
async fn a_write_prunes_the_members_that_expired() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let now = clock.now();
    for n in 0..100 {
        let member = format!("member {n:03}").into();
        backend.add(&key(1), member, now + MINUTE).await.unwrap();
    }
    let later = now + 2 * MINUTE;
    backend.add(&key(1), "x".into(), later).await.unwrap();
    clock.advance(MINUTE);
    backend.add(&key(1), "y".into(), later).await.unwrap();
    let two_members = empty_entry() + 2 * (1 + 160);
    assert_eq!(stored(&backend), (1, two_members));
}

#[tokio::test]
async fn an_index_that_outgrows_the_bound_is_refused_and_stays_as_it_was() {
    let backend = MemoryBackend::new().with_max_bytes(empty_entry() + 3 * 161);
    let deadline = Timestamp::from_micros(u64::MAX);
    for member in ["a", "b", "c"] {
        let added = backend.add(&key(1), member.into(), deadline).await;
        added.unwrap();
    }
    let fourth = backend.add(&key(1), "d".into(), deadline).await;
    let kind = fourth.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::Rejected));
    let page = backend.members(&key(1), None).await.unwrap();
    assert_eq!(page.members.len(), 3);
    assert_eq!(recount(&backend), stored(&backend));
}
