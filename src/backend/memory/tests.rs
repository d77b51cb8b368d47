//! What the memory backend promises beyond the contract: its bounds, who leaves, and its clock.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{MemoryBackend, broadcast::CAPACITY, table::ENTRY_OVERHEAD};
use crate::{
    backend::{
        Acquire, BackendErrorKind, Broadcast, GetOptions, Index, KeyValue, Limit, Precondition,
        Put, PutOptions, Quota, Quotas, Signal, Take, Version,
    },
    clock::{Clock, Timestamp},
    key::{Key, KeyParts},
    testing::ManualClock,
};

const MINUTE: Duration = Duration::from_secs(60);

fn key(n: u64) -> Key {
    Key::custom("test", &KeyParts::new().with(n))
}

/// Bytes that an entry of one key and no content counts.
fn empty_entry() -> usize {
    key(0).as_str().len() + ENTRY_OVERHEAD
}

async fn put(backend: &MemoryBackend, n: u64, len: usize, ttl: Duration) -> u64 {
    let value = Bytes::from(vec![0; len]);
    match backend.put(&key(n), value, PutOptions::new(ttl)).await {
        Ok(Put::Stored(version)) => version.as_u64(),
        other => panic!("{other:?}"),
    }
}

async fn has(backend: &MemoryBackend, n: u64) -> bool {
    let read = backend.get(&key(n), GetOptions::new()).await;
    read.unwrap().is_some()
}

fn hourly(limit: u64) -> [Limit; 1] {
    [Limit::new("a", Quota::per_hour(limit)).unwrap()]
}

fn recount(backend: &MemoryBackend) -> (usize, usize) {
    backend.inner.store.recount()
}

fn stored(backend: &MemoryBackend) -> (usize, usize) {
    (backend.stored_entries(), backend.stored_bytes())
}

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
        let short = Limit::new(&n.to_string(), Quota::per_minute(5)).unwrap();
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
    while backend.acquire(&request).await.is_ok() {}
    let before = stored(&backend);
    let more = backend.acquire(&request.clone().with_cost(500)).await;
    let kind = more.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::Rejected));
    assert!(stored(&backend) <= before);
    assert_eq!(recount(&backend), stored(&backend));
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

#[tokio::test]
async fn a_slow_subscriber_is_told_how_many_messages_it_lost() {
    let backend = MemoryBackend::new();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    for n in 0..CAPACITY + 3 {
        let message = n.to_string().into();
        backend.publish(&key(1), message).await.unwrap();
    }
    assert_eq!(subscription.next().await, Some(Signal::Lagged(3)));
    for n in 3..CAPACITY + 3 {
        let message = Signal::Message(n.to_string().into());
        assert_eq!(subscription.next().await, Some(message));
    }
}

#[tokio::test]
async fn a_channel_closes_behind_its_last_subscriber() {
    let backend = MemoryBackend::new();
    let one = backend.subscribe(&key(1)).await.unwrap();
    let other = backend.subscribe(&key(1)).await.unwrap();
    drop(one);
    assert_eq!(backend.inner.channels.count(), 1);
    drop(other);
    assert_eq!(backend.inner.channels.count(), 0);
    backend.publish(&key(1), "unheard".into()).await.unwrap();
    assert_eq!(backend.inner.channels.count(), 0);
}

#[tokio::test]
async fn subscriptions_end_with_the_last_clone_after_what_was_sent() {
    let backend = MemoryBackend::new();
    let clone = backend.clone();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    drop(backend);
    clone.publish(&key(1), "last".into()).await.unwrap();
    drop(clone);
    let signal = subscription.next().await;
    assert_eq!(signal, Some(Signal::Message("last".into())));
    assert_eq!(subscription.next().await, None);
}

#[tokio::test]
async fn a_waiting_subscription_is_woken_by_the_end() {
    let backend = MemoryBackend::new();
    let mut subscription = backend.subscribe(&key(1)).await.unwrap();
    let waiting = tokio::spawn(async move { subscription.next().await });
    tokio::task::yield_now().await;
    drop(backend);
    let woken = tokio::time::timeout(MINUTE / 12, waiting).await;
    assert_eq!(woken.expect("it is woken").unwrap(), None);
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

#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize, u64),
    Delete(u64),
    Touch(u64, u64),
    Read(u64),
    Add(u64, u8, u64),
    Remove(u64, u8),
    Acquire(u64, u64),
    Reset(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..12_u64;
    prop_oneof![
        4 => (key(), 0..900_usize, 1..50_u64).prop_map(|(k, len, ttl)| Step::Put(k, len, ttl)),
        1 => key().prop_map(Step::Delete),
        1 => (key(), 1..50_u64).prop_map(|(k, ttl)| Step::Touch(k, ttl)),
        2 => key().prop_map(Step::Read),
        4 => (key(), any::<u8>(), 0..50_u64).prop_map(|(k, m, ttl)| Step::Add(k, m, ttl)),
        1 => (key(), any::<u8>()).prop_map(|(k, m)| Step::Remove(k, m)),
        3 => (key(), 0..40_u64).prop_map(|(k, cost)| Step::Acquire(k, cost)),
        1 => key().prop_map(Step::Reset),
        2 => (0..20_u64).prop_map(Step::Pass),
    ]
}

async fn apply(backend: &MemoryBackend, clock: &ManualClock, step: Step) {
    let millis = Duration::from_millis;
    let limits = [Limit::new("a", Quota::sliding(60, millis(30))).unwrap()];
    match step {
        Step::Put(k, len, ttl) => {
            let options = PutOptions::new(millis(ttl));
            _ = backend.put(&key(k), vec![0; len].into(), options).await;
        }
        Step::Delete(k) => _ = backend.delete(&key(k), Precondition::Any).await,
        Step::Touch(k, ttl) => {
            _ = backend.touch(&key(k), millis(ttl), Precondition::Any).await;
        }
        Step::Read(k) => _ = has(backend, k).await,
        Step::Add(k, m, ttl) => {
            let member = Bytes::from(vec![m; usize::from(m)]);
            let deadline = clock.now() + millis(ttl);
            _ = backend.add(&key(k), member, deadline).await;
        }
        Step::Remove(k, m) => {
            let member = Bytes::from(vec![m; usize::from(m)]);
            _ = backend.remove(&key(k), member).await;
        }
        Step::Acquire(k, cost) => {
            let request = Acquire::new(key(k), limits).with_cost(cost);
            _ = backend.acquire(&request.with_take(Take::UpTo)).await;
        }
        Step::Reset(k) => _ = backend.reset(&key(k), &limits).await,
        Step::Pass(time) => clock.advance(millis(time)),
    }
}

proptest! {
    #[test]
    fn what_is_counted_is_what_is_stored_and_within_bounds(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let clock = ManualClock::new();
        let backend = MemoryBackend::new().with_max_bytes(4_000).with_max_entries(9).with_clock(clock.clone());
        for step in steps {
            runtime.block_on(apply(&backend, &clock, step));
            let (entries, bytes) = stored(&backend);
            prop_assert_eq!(recount(&backend), (entries, bytes));
            prop_assert!(entries <= 9 && bytes <= 4_000);
        }
    }

    #[test]
    fn an_unbounded_store_keeps_exactly_what_lives(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let clock = ManualClock::new();
        let backend = MemoryBackend::new().with_clock(clock.clone());
        let mut model = HashMap::new();
        for step in steps {
            let now = clock.now();
            let until = |ttl| now + Duration::from_millis(ttl);
            match step {
                Step::Put(k, _, ttl) => _ = model.insert(k, until(ttl)),
                Step::Delete(k) => _ = model.remove(&k),
                Step::Touch(k, ttl) => {
                    model.entry(k).and_modify(|end| if *end > now { *end = until(ttl) });
                }
                _ => {}
            }
            runtime.block_on(apply(&backend, &clock, step));
        }
        let now = clock.now();
        for k in 0..12 {
            let lives = model.get(&k).is_some_and(|end| *end > now);
            prop_assert_eq!(runtime.block_on(has(&backend, k)), lives);
        }
    }
}
