//! Room, time, and who leaves.

use super::*;
use crate::{
    backend::{Acquire, BackendErrorKind, Broadcast, Index, Precondition, Quotas, Signal, Version},
    clock::{Clock, Timestamp},
    testing::ManualClock,
};

#[tokio::test]
async fn what_was_used_least_recently_leaves_first_whatever_its_shard() {
    let backend = MemoryBackend::new().with_max_entries(50);
    for n in 0..50 {
        put(&backend, n, 0, MINUTE).await;
    }
    for n in (0..50).filter(|n| n % 2 == 0) {
        assert!(has(&backend, n).await);
    }
    for n in 50..75 {
        put(&backend, n, 0, MINUTE).await;
    }
    for n in 0..75 {
        let stays = n % 2 == 0 || n >= 50;
        assert_eq!(has(&backend, n).await, stays, "entry {n}");
    }
}

#[tokio::test]
async fn bytes_are_bounded_over_all_shards_together() {
    let size = empty_entry() + 1_000;
    let backend = MemoryBackend::new().with_max_bytes(10 * size);
    for n in 0..100 {
        put(&backend, n, 1_000, MINUTE).await;
        assert!(backend.stored_bytes() <= 10 * size);
    }
    assert_eq!(stored(&backend), (10, 10 * size));
    for n in 90..100 {
        assert!(has(&backend, n).await, "the last ten are there");
    }
}

#[tokio::test]
async fn one_entry_may_take_the_whole_bound_but_not_a_byte_more() {
    let bound = empty_entry() + 100;
    let backend = MemoryBackend::new().with_max_bytes(bound);
    put(&backend, 1, 0, MINUTE).await;
    put(&backend, 2, 100, MINUTE).await;
    assert_eq!(stored(&backend), (1, bound));

    let minute = PutOptions::new(MINUTE);
    let larger = backend.put(&key(3), vec![0; 101].into(), minute).await;
    let kind = larger.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::Rejected));
    assert!(has(&backend, 2).await, "what is refused pushes nothing out");
}

#[tokio::test]
async fn an_entry_that_grows_pushes_out_others_and_not_itself() {
    let backend = MemoryBackend::new().with_max_bytes(3 * empty_entry() + 100);
    for n in [1, 2, 3] {
        put(&backend, n, 0, MINUTE).await;
    }
    let version = put(&backend, 1, 0, MINUTE).await;
    put(&backend, 2, 0, MINUTE).await;
    put(&backend, 3, 0, MINUTE).await;
    let same = Precondition::Matches(Version::from_u64(version));
    let options = PutOptions::new(MINUTE).with_precondition(same);
    let grown = backend.put(&key(1), vec![0; 101].into(), options).await;
    assert!(matches!(grown, Ok(Put::Stored(_))), "{grown:?}");
    assert!(!has(&backend, 2).await, "the least recently used one");
    assert!(has(&backend, 3).await);
}

#[tokio::test]
async fn what_expired_leaves_before_anything_that_lives() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new()
        .with_max_entries(40)
        .with_clock(clock.clone());
    for n in 0..20 {
        put(&backend, n, 0, 2 * MINUTE).await;
    }
    for n in 20..40 {
        put(&backend, n, 0, MINUTE).await;
    }
    clock.advance(MINUTE);
    for n in 40..60 {
        put(&backend, n, 0, MINUTE).await;
    }
    for n in (0..20).chain(40..60) {
        assert!(has(&backend, n).await, "entry {n} was alive all the time");
    }
}

#[tokio::test]
async fn writes_sweep_out_what_expired() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    for n in 0..1_000 {
        put(&backend, n, 0, MINUTE).await;
    }
    clock.advance(MINUTE);
    for n in 1_000..2_000 {
        put(&backend, n, 0, MINUTE).await;
    }
    assert_eq!(backend.stored_entries(), 1_000, "only what lives is left");
}

#[tokio::test]
async fn reading_removes_what_expired() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    put(&backend, 1, 10, MINUTE).await;
    clock.advance(MINUTE);
    assert!(!has(&backend, 1).await);
    assert_eq!(stored(&backend), (0, 0));
}

#[tokio::test]
async fn a_record_lives_to_the_microsecond() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    put(&backend, 1, 0, Duration::from_micros(1_500)).await;
    clock.advance(Duration::from_micros(1_999));
    assert!(has(&backend, 1).await, "1.5 ms are rounded up to 2");
    clock.advance(Duration::from_micros(1));
    assert!(!has(&backend, 1).await);
}

#[tokio::test]
async fn versions_grow_over_all_keys_and_when_the_clock_steps_back() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let first = put(&backend, 1, 0, MINUTE).await;
    assert_eq!(first, clock.now().as_micros(), "the time of the write");
    let second = put(&backend, 2, 0, MINUTE).await;
    assert_eq!(second, first + 1, "the same microsecond, another key");
    clock.set(clock.now() - MINUTE);
    let third = put(&backend, 1, 0, MINUTE).await;
    assert_eq!(third, second + 1, "an earlier microsecond");
}

#[tokio::test]
async fn a_clock_that_steps_back_to_the_epoch_breaks_nothing() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let request = Acquire::new(key(2), hourly(5));
    let deadline = clock.now() + MINUTE;
    put(&backend, 1, 0, MINUTE).await;
    backend.add(&key(3), "m".into(), deadline).await.unwrap();
    backend.acquire(&request).await.unwrap();
    clock.set(Timestamp::default());
    assert!(has(&backend, 1).await);
    put(&backend, 1, 0, MINUTE).await;
    assert!(backend.acquire(&request).await.unwrap().admitted);
    let page = backend.members(&key(3), None).await.unwrap();
    assert_eq!(page.members.len(), 1);
}

#[tokio::test]
async fn a_bound_of_zero_stores_nothing_and_still_delivers() {
    for backend in [
        MemoryBackend::new().with_max_bytes(0),
        MemoryBackend::new().with_max_entries(0),
    ] {
        let refused = Some(BackendErrorKind::Rejected);
        let minute = PutOptions::new(MINUTE);
        let put = backend.put(&key(1), Bytes::new(), minute).await;
        assert_eq!(put.err().map(|e| e.kind()), refused);
        let request = Acquire::new(key(1), hourly(5));
        let acquired = backend.acquire(&request).await;
        assert_eq!(acquired.err().map(|e| e.kind()), refused);
        let deadline = Timestamp::from_micros(u64::MAX);
        let added = backend.add(&key(1), Bytes::new(), deadline).await;
        assert_eq!(added.err().map(|e| e.kind()), refused);
        assert!(!has(&backend, 1).await);

        let mut subscription = backend.subscribe(&key(1)).await.unwrap();
        backend.publish(&key(1), "hello".into()).await.unwrap();
        let signal = subscription.next().await;
        assert_eq!(signal, Some(Signal::Message("hello".into())));
    }
}

#[tokio::test]
async fn one_key_names_three_things_that_do_not_meet() {
    let backend = MemoryBackend::new();
    let deadline = Timestamp::from_micros(u64::MAX);
    put(&backend, 1, 0, MINUTE).await;
    backend.add(&key(1), "m".into(), deadline).await.unwrap();
    let request = Acquire::new(key(1), hourly(5));
    backend.acquire(&request).await.unwrap();
    assert!(backend.delete(&key(1), Precondition::Any).await.unwrap());
    assert_eq!(backend.stored_entries(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bounds_hold_while_many_tasks_write() {
    let bound = 40 * empty_entry();
    let backend = MemoryBackend::new()
        .with_max_bytes(bound)
        .with_max_entries(30);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let backend = backend.clone();
            tokio::spawn(async move {
                for n in 0..500 {
                    let len = usize::try_from(n % 7).unwrap() * 100;
                    put(&backend, task * 31 + n, len, MINUTE).await;
                    let (entries, bytes) = stored(&backend);
                    assert!(entries <= 30 && bytes <= bound);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(recount(&backend), stored(&backend));
}
