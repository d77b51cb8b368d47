//! What an operator forgets, and what is there afterwards.

use std::time::Duration;

use tokio::time::sleep;
use tower_stash::{
    backend::BackendErrorKind,
    idempotency::{KeyState, RecordErrorKind},
    testing::Fault,
};

use super::office::{ALMOST, KEY, fails, made, never, nobody, office};
use crate::fixture::rule;

#[tokio::test]
async fn a_forgotten_key_runs_again_as_the_first_time() {
    let office = office(rule(), made);
    office.run().await;
    let version = office.found().await.version();
    assert!(office.forget(version).await.unwrap());
    assert!(office.inspect().await.is_none());
    assert!(!office.run().await.is_replay());
    let found = office.found().await;
    assert_eq!((found.attempt(), office.bed.runs()), (1, 2));
    assert!(found.fence() > version.as_u64());
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_not_forgotten() {
    let office = office(rule(), fails);
    office.run().await;
    let seen = office.found().await.version();
    office.run().await;
    assert!(!office.forget(seen).await.unwrap());
    let handle = office.bed.layer.handle();
    assert!(!handle.forget_running(&nobody(), KEY, seen).await.unwrap());
    assert_eq!(office.found().await.attempt(), 2);
}

#[tokio::test]
async fn a_running_request_is_forgotten_by_force_only_and_comes_back_with_its_answer() {
    let office = office(rule(), made);
    let sent = office.begin().await;
    office.clock.advance(ALMOST);
    let found = office.found().await;
    let refused = office.forget(found.version()).await.unwrap_err();
    assert_eq!(refused.kind(), RecordErrorKind::Running);
    assert_eq!(office.found().await.version(), found.version());

    let handle = office.bed.layer.handle();
    let whose = nobody();
    let forced = handle.forget_running(&whose, KEY, found.version());
    assert!(forced.await.unwrap());
    assert!(office.inspect().await.is_none());
    office.gate.add_permits(1);
    assert_eq!(sent.answer().await.status(), 201);
    let back = office.found().await;
    assert_eq!(
        (back.status().unwrap().as_u16(), back.fence()),
        (201, found.fence())
    );
}

#[tokio::test]
async fn a_request_whose_lease_is_over_is_forgotten() {
    let office = office(never(), made);
    let _sent = office.orphan().await;
    let version = office.found().await.version();
    assert!(office.forget(version).await.unwrap());
}

#[tokio::test]
async fn forgetting_loses_to_a_takeover() {
    let office = office(rule(), fails);
    office.run().await;
    let version = office.found().await.version();
    // Between the look and the deletion the next request takes the key.
    office
        .backend
        .script([Fault::None, Fault::Delay(Duration::from_millis(100))]);
    let (forgotten, _sent) = tokio::join!(office.forget(version), async {
        sleep(Duration::from_millis(20)).await;
        office.begin().await
    });
    assert!(!forgotten.unwrap());
    let found = office.found().await;
    assert_eq!(found.attempt(), 2);
    assert!(matches!(found.state(), KeyState::InProgress { .. }));
}

#[tokio::test]
async fn a_deletion_without_an_answer_is_looked_after() {
    let timed_out = Fault::Fail(BackendErrorKind::TimedOut);
    let no_answer = Fault::Fail(BackendErrorKind::Unavailable);
    for (faults, expected) in [
        (vec![Fault::LostReply], Ok(true)),
        (vec![timed_out], Ok(true)),
        (vec![no_answer], Err(RecordErrorKind::Unavailable)),
        (
            vec![Fault::LostReply, Fault::LostReply],
            Err(RecordErrorKind::Indeterminate),
        ),
        (
            vec![timed_out, no_answer],
            Err(RecordErrorKind::Indeterminate),
        ),
        (
            vec![Fault::LostReply, Fault::None, no_answer],
            Err(RecordErrorKind::Indeterminate),
        ),
    ] {
        let office = office(rule(), made);
        office.run().await;
        let version = office.found().await.version();
        office.backend.script([Fault::None]);
        office.backend.script(faults.clone());
        let forgotten = office.forget(version).await.map_err(|error| error.kind());
        assert_eq!(forgotten, expected, "{faults:?}");
        if forgotten == Ok(true) {
            assert!(office.inspect().await.is_none(), "{faults:?}");
        }
    }
}

#[tokio::test]
async fn a_deletion_without_an_answer_and_a_new_claim_behind_it_was_one() {
    let office = office(rule(), made);
    office.run().await;
    let version = office.found().await.version();
    let pause = Fault::Delay(Duration::from_millis(100));
    office
        .backend
        .script([Fault::None, Fault::LostReply, pause]);
    let (forgotten, _sent) = tokio::join!(office.forget(version), async {
        sleep(Duration::from_millis(20)).await;
        office.begin().await
    });
    assert!(forgotten.unwrap());
    assert!(matches!(
        office.found().await.state(),
        KeyState::InProgress { .. }
    ));
}

#[tokio::test]
async fn a_deletion_without_an_answer_and_a_takeover_behind_it_was_none() {
    let office = office(rule(), fails);
    office.run().await;
    let version = office.found().await.version();
    let timed_out = Fault::Fail(BackendErrorKind::TimedOut);
    let pause = Fault::Delay(Duration::from_millis(100));
    office.backend.script([Fault::None, timed_out, pause]);
    let (forgotten, _sent) = tokio::join!(office.forget(version), async {
        sleep(Duration::from_millis(20)).await;
        office.begin().await
    });
    assert!(!forgotten.unwrap());
    assert_eq!(office.found().await.attempt(), 2);
}
