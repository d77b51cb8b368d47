//! Slots of requests that outlast a lease.

use std::time::Duration;

use http::StatusCode;
use tower_stash::{
    backend::{BackendErrorKind, Op},
    concurrency_limit::ConcurrencyLimitRule,
    policy::{KeyExtractor as _, header},
    testing::Fault,
};

use crate::endless::{LEASE, endless, faulty, get, is_free, layer, pass, rule};

#[tokio::test(start_paused = true)]
async fn a_request_that_outlasts_its_lease_keeps_its_slot() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let running = get(&endless(&layer)).await;
    for _ in 0..10 {
        pass(&clock, LEASE).await;
        assert!(!is_free(&layer).await);
    }
    assert_eq!(backend.calls(Op::SlotsRenew), 30, "three in a lease");
    drop(running);
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn the_rule_says_how_long_the_lease_is() {
    let (backend, clock) = faulty();
    let lease = Duration::from_secs(3);
    let layer = layer(backend.clone(), rule(1).with_lease(lease).unwrap());
    let _running = get(&endless(&layer)).await;
    pass(&clock, 10 * lease).await;
    assert!(!is_free(&layer).await);
    assert_eq!(backend.calls(Op::SlotsRenew), 30);
}

#[tokio::test(start_paused = true)]
async fn slots_of_one_subject_are_renewed_in_one_call() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1_000));
    let service = endless(&layer);
    let mut running = Vec::new();
    for _ in 0..1_000 {
        running.push(get(&service).await);
    }
    pass(&clock, 2 * LEASE).await;
    assert_eq!(backend.calls(Op::SlotsRenew), 6);
    assert_eq!(get(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn one_task_renews_whatever_is_held_and_ends_when_nothing_is() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(100));
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..2 {
        let mut running = Vec::new();
        for _ in 0..100 {
            running.push(get(&endless(&layer)).await);
        }
        assert_eq!(metrics.num_alive_tasks(), 1);
        pass(&clock, LEASE).await;
        assert_eq!(metrics.num_alive_tasks(), 1);
        drop(running);
        pass(&clock, LEASE).await;
        assert_eq!(metrics.num_alive_tasks(), 0);
        let calls = backend.total_calls();
        pass(&clock, LEASE).await;
        assert_eq!(backend.total_calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_renewals_do_no_harm_within_a_lease() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let _running = get(&endless(&layer)).await;
    for _ in 0..5 {
        backend.script([
            Fault::Fail(BackendErrorKind::TimedOut),
            Fault::LostReply,
            Fault::None,
        ]);
        pass(&clock, LEASE).await;
        assert!(!is_free(&layer).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_does_not_keep_the_next_one_from_being_made() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let _running = get(&endless(&layer)).await;
    backend.script([Fault::Hang]);
    pass(&clock, 2 * LEASE).await;
    assert!(!is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn slots_that_ran_out_in_an_outage_are_held_again_after_it() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(2));
    let _running = [get(&endless(&layer)).await, get(&endless(&layer)).await];
    backend.go_down();
    pass(&clock, 2 * LEASE).await;
    backend.come_up();
    pass(&clock, BREAKER).await;
    assert!(is_free(&layer).await, "the leases are over");
    pass(&clock, LEASE).await;
    assert!(!is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_slot_ran_out_goes_on_and_takes_nobodys_place() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let overdue = get(&endless(&layer)).await;
    backend.go_down();
    pass(&clock, 2 * LEASE).await;
    backend.come_up();
    pass(&clock, BREAKER).await;
    let successor = get(&endless(&layer)).await;
    assert_eq!(successor.status(), StatusCode::OK);
    pass(&clock, 2 * LEASE).await;
    drop(overdue);
    assert!(!is_free(&layer).await, "the successor holds the only slot");
    drop(successor);
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_held_again_after_its_request_ended_is_released() {
    let (backend, clock) = faulty();
    let layer = layer(backend.clone(), rule(1));
    let running = get(&endless(&layer)).await;
    // It runs out, and the next renewal finds that; to hold it again takes a while.
    clock.advance(LEASE);
    let delay = Duration::from_secs(2);
    backend.script([Fault::None, Fault::Delay(delay)]);
    pass(&clock, LEASE / 3 + delay / 2).await;
    assert_eq!(backend.calls(Op::SlotsHold), 2, "it is under way");
    drop(running);
    pass(&clock, delay).await;
    assert_eq!(backend.calls(Op::SlotsRelease), 2);
    assert!(is_free(&layer).await);
}

#[tokio::test(start_paused = true)]
async fn subjects_and_rules_are_renewed_each_at_its_own_pace() {
    let (backend, clock) = faulty();
    let slow = rule(1);
    let fast = ConcurrencyLimitRule::new("fast", header("x-key").or_shared(), 1)
        .unwrap()
        .with_lease(LEASE / 10)
        .unwrap();
    let (slow, fast) = (layer(backend.clone(), slow), layer(backend.clone(), fast));
    let _running = (get(&endless(&slow)).await, get(&endless(&fast)).await);
    pass(&clock, LEASE).await;
    assert_eq!(backend.calls(Op::SlotsRenew), 3 + 30);
    assert!(!is_free(&slow).await);
    assert!(!is_free(&fast).await);
}

/// Longer than the breaker waits before it lets a call through.
const BREAKER: Duration = Duration::from_secs(2);
