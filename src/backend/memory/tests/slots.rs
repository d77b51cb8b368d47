//! Slots on leases.

use super::*;
use crate::{
    backend::{BackendErrorKind, Hold, SlotId, SlotLimit, Slots},
    clock::Clock,
    testing::ManualClock,
};

fn slot(n: u128) -> SlotId {
    SlotId::from_u128(n)
}

fn named(name: &str) -> SlotLimit {
    SlotLimit::new(name, 100, MINUTE).unwrap()
}

#[tokio::test]
async fn slots_leave_with_the_last_one_of_their_subject() {
    let backend = MemoryBackend::new();
    for name in ["a", "b"] {
        assert!(
            backend
                .hold(&key(1), &named(name), slot(1))
                .await
                .unwrap()
                .is_held()
        );
    }
    assert_eq!(stored(&backend), (1, empty_entry() + 2 * (120 + 120)));
    for name in ["a", "b"] {
        backend
            .release(&key(1), &named(name), slot(1))
            .await
            .unwrap();
    }
    assert_eq!(stored(&backend), (0, 0));
}

#[tokio::test]
async fn slots_that_ran_out_take_no_room() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    for n in 0..50 {
        _ = backend.hold(&key(1), &named("a"), slot(n)).await.unwrap();
    }
    clock.advance(MINUTE / 2);
    _ = backend.hold(&key(1), &named("a"), slot(50)).await.unwrap();
    clock.advance(MINUTE / 2);
    let hold = backend.hold(&key(1), &named("a"), slot(51)).await;
    assert_eq!(hold.unwrap(), Hold::Held { in_use: 2 });
    assert_eq!(stored(&backend), (1, empty_entry() + 120 + 2 * 120));
}

#[tokio::test]
async fn slots_that_outgrow_the_bound_are_refused_and_those_held_stay() {
    let backend = MemoryBackend::new().with_max_bytes(empty_entry() + 120 + 3 * 120);
    for n in 0..3 {
        assert!(
            backend
                .hold(&key(1), &named("a"), slot(n))
                .await
                .unwrap()
                .is_held()
        );
    }
    for name in ["a", "b"] {
        let fourth = backend.hold(&key(1), &named(name), slot(3)).await;
        let kind = fourth.map_err(|error| error.kind());
        assert_eq!(kind, Err(BackendErrorKind::Rejected));
    }
    let slots = [slot(0), slot(1), slot(2), slot(3)];
    let held = backend.renew(&key(1), &named("a"), &slots).await.unwrap();
    assert_eq!(held, [true, true, true, false]);
    assert_eq!(recount(&backend), stored(&backend));
}

#[tokio::test]
async fn a_slot_is_free_at_its_deadline_and_not_before() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let one = SlotLimit::new("one", 2, MINUTE).unwrap();
    let begin = clock.now();
    _ = backend.hold(&key(1), &one, slot(1)).await.unwrap();
    clock.set(begin + MINUTE / 2);
    _ = backend.hold(&key(1), &one, slot(2)).await.unwrap();
    clock.set(begin + MINUTE - Duration::from_micros(1));
    let third = backend.hold(&key(1), &one, slot(3)).await;
    assert_eq!(third.unwrap(), Hold::Full { in_use: 2 });
    clock.set(begin + MINUTE);
    let third = backend.hold(&key(1), &one, slot(3)).await;
    assert_eq!(third.unwrap(), Hold::Held { in_use: 2 });
}

#[tokio::test]
async fn a_clock_that_steps_back_by_more_than_a_lease_locks_nobody_out() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let one = SlotLimit::new("one", 1, MINUTE).unwrap();
    let begin = clock.now();
    let hold = async |n| {
        backend
            .hold(&key(1), &one, slot(n))
            .await
            .unwrap()
            .is_held()
    };
    assert!(hold(1).await);
    clock.set(begin - MINUTE);
    assert!(!hold(2).await, "it is held two leases ahead at most");
    clock.set(begin - MINUTE - Duration::from_micros(1));
    assert!(hold(2).await, "it is of another time");
    assert_eq!(
        backend.renew(&key(1), &one, &[slot(1)]).await.unwrap(),
        [false]
    );
}
