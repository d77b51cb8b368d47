//! Any sequence of calls.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    backend::{Acquire, Index, Precondition, Quotas, SlotId, SlotLimit, Slots, Take},
    clock::Clock,
    testing::ManualClock,
};

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
    Hold(u64, u8),
    Release(u64, u8),
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
        3 => (key(), any::<u8>()).prop_map(|(k, slot)| Step::Hold(k, slot)),
        1 => (key(), any::<u8>()).prop_map(|(k, slot)| Step::Release(k, slot)),
        2 => (0..20_u64).prop_map(Step::Pass),
    ]
}

async fn apply(backend: &MemoryBackend, clock: &ManualClock, step: Step) {
    let millis = Duration::from_millis;
    let limits = [Limit::new("a", Quota::sliding(60, millis(30))).unwrap()];
    let names = ["a", "b"].map(|name| SlotLimit::new(name, 10, millis(30)).unwrap());
    let pool = |slot: u8| names[usize::from(slot % 2)];
    let id = |slot: u8| SlotId::from_u128(slot.into());
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
        Step::Hold(k, slot) => _ = backend.hold(&key(k), &pool(slot), id(slot)).await,
        Step::Release(k, slot) => {
            _ = backend.release(&key(k), &pool(slot), id(slot)).await;
        }
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
