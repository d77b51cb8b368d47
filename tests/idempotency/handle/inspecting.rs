//! What an operator sees of a key.

use std::time::Duration;

use http::Request;
use tokio::time::sleep;
use tower_stash::{
    idempotency::{KeyState, RecordErrorKind},
    policy::SubjectId,
    testing::Fault,
};

use super::office::{DAY, KEY, LEASE, Sent, fails, made, never, nobody, office};
use crate::fixture::{post, rule};

#[tokio::test]
async fn a_running_request_is_seen_with_what_is_left_of_its_lease() {
    let office = office(never(), made);
    let _sent = office.begin().await;
    office.clock.advance(Duration::from_secs(4));
    let found = office.found().await;
    let KeyState::InProgress {
        is_started,
        lease_left,
        ..
    } = found.state()
    else {
        panic!("{found:?}");
    };
    assert!(is_started && found.is_never_again() && !found.is_outcome_unknown());
    assert_eq!(lease_left, Duration::from_secs(6));
    assert_eq!(found.age(), Duration::from_secs(4));
    assert_eq!(found.expires_in(), DAY.saturating_sub(found.age()));
    assert_eq!((found.rule(), found.attempt()), ("orders", 1));
    assert_eq!(found.status(), None);
}

#[tokio::test]
async fn a_claim_that_has_not_begun_is_seen_so() {
    let office = office(never(), made);
    // Nobody says whether the handler may begin.
    office.backend.script([Fault::None, Fault::Hang]);
    let bed = office.bed.clone();
    let _sent = Sent(tokio::spawn(async move { bed.post(KEY, "1 apple").await }));
    while office.inspect_quietly().await.is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    office.clock.advance(LEASE);
    let found = office.found().await;
    assert!(matches!(
        found.state(),
        KeyState::InProgress {
            is_started: false,
            lease_left: Duration::ZERO,
            ..
        }
    ));
    assert!(!found.is_outcome_unknown());
    assert_eq!(
        office.refuses_to_settle().await,
        RecordErrorKind::NotUnknown
    );
}

#[tokio::test]
async fn an_answer_is_seen_by_its_status_and_shows_nothing_else() {
    let office = office(rule(), made);
    office.run().await;
    office.clock.advance(Duration::from_secs(60));
    let found = office.found().await;
    assert!(matches!(
        found.state(),
        KeyState::Completed {
            is_replayable: true,
            ..
        }
    ));
    assert_eq!(found.status().unwrap(), 201);
    assert_eq!(found.age(), Duration::from_secs(60));
    assert!(!found.is_never_again() && !found.is_outcome_unknown());
    let shown = format!("{found:?}");
    assert!(!shown.contains("made") && !shown.contains(KEY), "{shown}");
    assert!(shown.contains("orders"), "{shown}");
}

#[tokio::test]
async fn an_answer_that_was_too_large_is_seen_as_not_replayable() {
    let office = office(rule().with_answer_limit(3), made);
    office.run().await;
    let found = office.found().await;
    assert!(matches!(
        found.state(),
        KeyState::Completed {
            is_replayable: false,
            ..
        }
    ));
    assert_eq!(found.status().unwrap(), 201);
}

#[tokio::test]
async fn a_failure_is_seen_and_its_fence_is_the_one_its_handler_had() {
    let office = office(rule(), fails);
    office.run().await;
    let first = office.found().await;
    office.run().await;
    let second = office.found().await;
    assert_eq!(second.state(), KeyState::Failed);
    assert_eq!((first.attempt(), second.attempt()), (1, 2));
    assert!(first.version() < second.version());
    assert!(first.version().as_u64() < second.fence());
    assert!(second.fence() < second.version().as_u64());
}

#[tokio::test]
async fn a_key_belongs_to_who_sent_it() {
    let office = office(rule(), made);
    office.gate.add_permits(1);
    let mut request = post(KEY, "1 apple");
    request
        .headers_mut()
        .insert("x-user", "ada".parse().unwrap());
    let request: Request<_> = request;
    office.bed.send(request).await;
    let handle = office.bed.layer.handle();
    let whose = async |whose: SubjectId, key| handle.inspect(&whose, key).await.unwrap().is_some();
    assert!(whose("ada".into(), KEY).await);
    assert!(!whose("bob".into(), KEY).await);
    assert!(!whose(nobody(), KEY).await);
    assert!(!whose("ada".into(), "k-4712").await);
}
