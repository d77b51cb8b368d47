//! Locks by name.

use std::time::Duration;

use tower_stash::{
    backend::BackendErrorKind,
    idempotency::{LeaseError, Leases},
    testing::Fault,
};

use crate::fixture::{faulty, memory, settled, sleep};

fn is_held<T>(answer: &Result<T, LeaseError>) -> bool {
    matches!(answer, Err(LeaseError::Held(_)))
}

#[tokio::test(start_paused = true)]
async fn a_lease_has_one_holder_at_a_time_and_fences_that_grow() {
    let store = memory();
    let (one, other) = (Leases::new(store.clone()), Leases::new(store));
    let first = one.acquire("report").await.unwrap();
    assert!(is_held(&other.acquire("report").await));
    assert!(other.acquire("another").await.is_ok());
    let fence = first.fence();
    first.release().await.unwrap();
    let second = other.acquire("report").await.unwrap();
    assert!(second.fence() > fence);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_as_long_as_it_is_held_and_given_back_when_dropped() {
    let store = memory();
    let (one, other) = (Leases::new(store.clone()), Leases::new(store));
    let lease = one.acquire("report").await.unwrap();
    for _ in 0..40 {
        sleep(1).await;
        assert!(!lease.is_lost());
        assert!(is_held(&other.acquire("report").await));
    }
    drop(lease);
    settled().await;
    assert!(other.acquire("report").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_it_when_it_is_given_back_or_is_told_when_it_is_not() {
    let store = memory();
    let (one, other) = (Leases::new(store.clone()), Leases::new(store));
    let lease = one.acquire("report").await.unwrap();
    let impatient = other.acquire_within("report", Duration::from_secs(1));
    assert!(is_held(&impatient.await));
    let patient =
        tokio::spawn(async move { other.acquire_within("report", Duration::from_secs(5)).await });
    sleep(1).await;
    lease.release().await.unwrap();
    assert!(patient.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_is_told_and_gives_back_nothing_of_another() {
    let (store, backend) = (memory(), faulty());
    let far = Leases::new(backend.clone());
    let lease = far.acquire("report").await.unwrap();
    backend.go_down();
    let lost = tokio::time::timeout(Duration::from_secs(11), lease.lost());
    assert!(lost.await.is_ok());
    assert!(lease.is_lost());
    // Its time is over at the backend, too.
    backend.come_up();
    let next = far.acquire("report").await;
    let next = next.unwrap();
    assert!(next.fence() > lease.fence());
    lease.release().await.unwrap();
    assert!(
        is_held(&far.acquire("report").await),
        "it is still the next one's"
    );
    drop((store, next));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_takes_the_lease_all_the_same() {
    let backend = faulty();
    let leases = Leases::new(backend.clone());
    backend.script([Fault::LostReply]);
    let lease = leases.acquire("report").await.unwrap();
    backend.script([Fault::LostReply]);
    lease.release().await.unwrap();
    assert!(leases.acquire("report").await.is_ok());
    backend.script([Fault::Fail(BackendErrorKind::Unavailable)]);
    let failed = leases.acquire("other").await;
    assert!(matches!(failed, Err(LeaseError::Backend(_))));
}

#[tokio::test]
async fn a_lease_of_no_time_is_refused() {
    for lease in [Duration::from_millis(99), Duration::from_secs(3_601)] {
        let leases = Leases::new(memory()).with_lease(lease);
        assert!(leases.unwrap_err().to_string().contains("one hour"));
    }
}
