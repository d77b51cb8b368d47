//! The answers that an operator gives where nobody knows.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tower_stash::{
    backend::BackendErrorKind,
    idempotency::{IdempotencyRule, KeyState, Outcome, RecordErrorKind},
    testing::Fault,
};

use super::office::{ALMOST, DAY, KEY, fails, made, never, nobody, office, over, paid, panics};
use crate::fixture::rule;

#[tokio::test]
async fn an_orphan_under_never_is_settled_and_every_repetition_gets_that() {
    let office = office(never(), made);
    let _sent = office.orphan().await;
    let before = office.found().await;
    assert!(before.is_outcome_unknown());
    assert_eq!(
        office.bed.post(KEY, "1 apple").await.problem(),
        "outcome-unknown"
    );

    assert!(office.settle(before.version()).await.unwrap());
    let after = office.found().await;
    assert_eq!(after.status().unwrap(), 202);
    assert_eq!(
        (after.attempt(), after.fence()),
        (before.attempt(), before.fence())
    );
    assert_eq!(after.expires_in(), DAY);
    assert!(after.is_never_again() && !after.is_outcome_unknown());
    assert!(after.version() > before.version());

    let again = office.bed.post(KEY, "1 apple").await;
    assert_eq!((again.status(), &*again.body), (202, "paid"));
    assert_eq!(again.head.headers["x-receipt"], "7");
    assert!(again.is_replay());
    assert_eq!(
        office.bed.post(KEY, "2 apples").await.problem(),
        "key-reused"
    );
    assert_eq!(office.bed.runs(), 1);
}

#[tokio::test]
async fn an_orphan_that_lives_gives_the_settled_answer_in_the_place_of_its_own() {
    let office = office(never(), made);
    let sent = office.orphan().await;
    let version = office.found().await.version();
    assert!(office.settle(version).await.unwrap());
    let settled = office.found().await.version();
    office.gate.add_permits(1);
    let answer = sent.answer().await;
    assert_eq!((answer.status(), &*answer.body), (202, "paid"));
    assert_eq!(office.found().await.version(), settled);
}

#[tokio::test]
async fn settling_loses_to_the_answer_of_an_orphan_that_lives() {
    let office = office(never(), made);
    let sent = office.orphan().await;
    let version = office.found().await.version();
    // Between the look and the writing the handler ends.
    office
        .backend
        .script([Fault::None, Fault::Delay(Duration::from_millis(100))]);
    let (settled, answer) = tokio::join!(office.settle(version), async {
        sleep(Duration::from_millis(20)).await;
        office.gate.add_permits(1);
        sent.answer().await
    });
    assert!(!settled.unwrap());
    assert_eq!((answer.status(), &*answer.body), (201, "made"));
    assert_eq!(office.bed.post(KEY, "1 apple").await.body, "made");
}

#[tokio::test]
async fn a_panic_under_never_is_settled() {
    let office = office(never(), panics);
    assert_eq!(office.run().await.problem(), "outcome-unknown");
    let found = office.found().await;
    assert_eq!(
        (found.state(), found.status()),
        (KeyState::OutcomeUnknown, None)
    );
    assert!(found.is_outcome_unknown());
    assert!(office.settle(found.version()).await.unwrap());
    assert_eq!(office.bed.post(KEY, "1 apple").await.status(), 202);
    assert_eq!(office.bed.runs(), 1);
}

#[tokio::test]
async fn an_owner_that_still_tries_to_record_that_nobody_knows_gives_the_settled_answer() {
    let office = office(never(), panics);
    let sent = office.begin().await;
    // It is recorded, and the owner does not know; it tries again, late.
    let late = Fault::Delay(Duration::from_millis(300));
    office
        .backend
        .script([Fault::LostReply, Fault::LostReply, late]);
    let calls = office.backend.total_calls();
    office.gate.add_permits(1);
    while office.backend.total_calls() < calls + 3 {
        sleep(Duration::from_millis(1)).await;
    }
    let version = office.found().await.version();
    assert!(office.settle(version).await.unwrap());
    let answer = sent.answer().await;
    assert_eq!((answer.status(), &*answer.body), (202, "paid"));
    assert_eq!(office.bed.post(KEY, "1 apple").await.status(), 202);
}

#[tokio::test]
async fn what_is_known_or_will_be_is_not_settled() {
    let completed = office(never(), made);
    completed.run().await;
    assert_eq!(
        completed.refuses_to_settle().await,
        RecordErrorKind::NotUnknown
    );

    let failed = office(never(), || {
        let mut response = made();
        response.extensions_mut().insert(Outcome::Retryable);
        response
    });
    failed.run().await;
    assert_eq!(failed.found().await.state(), KeyState::Failed);
    assert_eq!(
        failed.refuses_to_settle().await,
        RecordErrorKind::NotUnknown
    );

    let running = office(never(), made);
    let _sent = running.begin().await;
    running.clock.advance(ALMOST);
    assert_eq!(running.refuses_to_settle().await, RecordErrorKind::Running);

    let runs_again = office(rule(), made);
    let _sent = runs_again.orphan().await;
    assert!(!runs_again.found().await.is_outcome_unknown());
    assert_eq!(
        runs_again.refuses_to_settle().await,
        RecordErrorKind::NotUnknown
    );

    // A settled one has an answer.
    let settled = office(never(), panics);
    settled.run().await;
    let version = settled.found().await.version();
    assert!(settled.settle(version).await.unwrap());
    assert_eq!(
        settled.refuses_to_settle().await,
        RecordErrorKind::NotUnknown
    );
}

#[tokio::test]
async fn an_orphan_is_settled_if_its_rule_says_never_by_now() {
    let before = office(rule(), made);
    let _sent = before.orphan().await;
    let now = over(before.backend.clone(), before.clock.clone(), never(), made);
    assert!(now.found().await.is_outcome_unknown());
    assert_eq!(
        now.bed.post(KEY, "1 apple").await.problem(),
        "outcome-unknown"
    );
    let version = now.found().await.version();
    assert!(now.settle(version).await.unwrap());
    assert_eq!(now.bed.post(KEY, "1 apple").await.status(), 202);
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_not_settled() {
    let office = office(never(), panics);
    office.run().await;
    let version = office.found().await.version();
    assert!(office.settle(version).await.unwrap());
    assert!(!office.settle(version).await.unwrap());
}

#[tokio::test]
async fn a_settlement_without_an_answer_is_looked_after() {
    let timed_out = Fault::Fail(BackendErrorKind::TimedOut);
    let no_answer = Fault::Fail(BackendErrorKind::Unavailable);
    for (faults, expected, is_settled) in [
        (vec![Fault::LostReply], Ok(true), true),
        (vec![timed_out], Ok(true), true),
        (vec![no_answer], Err(RecordErrorKind::Unavailable), false),
        (
            vec![Fault::LostReply, no_answer],
            Err(RecordErrorKind::Indeterminate),
            true,
        ),
        (
            vec![timed_out, timed_out],
            Err(RecordErrorKind::Indeterminate),
            false,
        ),
    ] {
        let office = office(never(), panics);
        office.run().await;
        let version = office.found().await.version();
        office.backend.script([Fault::None]);
        office.backend.script(faults.clone());
        let settled = office.settle(version).await.map_err(|error| error.kind());
        assert_eq!(settled, expected, "{faults:?}");
        let answer = office.bed.post(KEY, "1 apple").await;
        assert_eq!(answer.status() == 202, is_settled, "{faults:?}");
    }
}

#[tokio::test]
async fn a_settled_answer_has_what_a_recorded_one_has() {
    let settle = async |rule: IdempotencyRule| {
        let office = office(rule, panics);
        office.run().await;
        let version = office.found().await.version();
        let answer = http::Response::builder()
            .header("set-cookie", "id=1")
            .header("date", "Thu, 01 Jan 2026 00:00:00 GMT")
            .header("content-length", "4711")
            .header("content-type", "text/plain")
            .body(Bytes::from("paid"))
            .unwrap();
        let handle = office.bed.layer.handle();
        let settled = handle.settle(&nobody(), KEY, version, answer).await;
        assert!(settled.unwrap());
        office.bed.post(KEY, "1 apple").await.head.headers
    };
    let headers = settle(never()).await;
    assert_eq!(headers["content-type"], "text/plain");
    for name in ["set-cookie", "date", "content-length"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(
        settle(never().with_stored_cookies()).await["set-cookie"],
        "id=1"
    );
}

#[tokio::test]
async fn an_answer_with_too_many_headers_is_refused_and_nothing_is_written() {
    let office = office(never(), panics);
    office.run().await;
    let version = office.found().await.version();
    let mut answer = paid();
    for _ in 0..5_000 {
        answer.headers_mut().append("x-a", "b".parse().unwrap());
    }
    let handle = office.bed.layer.handle();
    let refused = handle.settle(&nobody(), KEY, version, answer).await;
    assert_eq!(refused.unwrap_err().kind(), RecordErrorKind::TooLarge);
    assert_eq!(office.found().await.version(), version);
}

#[tokio::test]
async fn a_failure_after_an_orphan_is_settled_where_its_rule_says_never_by_now() {
    let before = office(rule(), fails);
    let _orphan = before.orphan().await;
    before.gate.add_permits(2);
    before.bed.post(KEY, "1 apple").await;
    let found = before.found().await;
    assert_eq!((found.state(), found.attempt()), (KeyState::Failed, 2));
    assert!(!found.is_outcome_unknown());
    let now = over(before.backend.clone(), before.clock.clone(), never(), made);
    let found = now.found().await;
    assert!(found.is_outcome_unknown());
    assert_eq!(
        now.bed.post(KEY, "1 apple").await.problem(),
        "outcome-unknown"
    );
    assert!(now.settle(found.version()).await.unwrap());
    assert_eq!(now.bed.post(KEY, "1 apple").await.status(), 202);
}
