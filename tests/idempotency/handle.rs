//! An operator sees what is recorded under a key, forgets it, or settles it.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::Request;
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend, Version},
    idempotency::{
        Done, IdempotencyRule, Idempotent, Inspection, KeyState, Outcome, RecordError,
        RecordErrorKind, Recovery, Unrecorded,
    },
    policy::SubjectId,
    testing::{Fault, FaultBackend, ManualClock},
};

use crate::fixture::{Answer, Bed, post, rule};

const LEASE: Duration = Duration::from_secs(10);

/// Shorter than a lease, by more than a version may be later than its clock.
const ALMOST: Duration = Duration::from_millis(9_999);

const DAY: Duration = Duration::from_secs(24 * 3_600);
const KEY: &str = "k-4711";

/// A layer whose handler answers when it is let go, over a backend whose clock and faults are the
/// test's.
struct Office {
    bed: Bed,
    backend: FaultBackend<MemoryBackend>,
    clock: ManualClock,
    gate: Arc<Semaphore>,
}

/// A request that was sent.
struct Sent(JoinHandle<Answer>);

impl Sent {
    async fn answer(self) -> Answer {
        self.0.await.unwrap()
    }
}

fn never() -> IdempotencyRule {
    IdempotencyRule::new("orders", Recovery::Never(Unrecorded::Withhold)).unwrap()
}

fn office(rule: IdempotencyRule, answer: fn() -> Response) -> Office {
    let clock = ManualClock::new();
    let memory = MemoryBackend::new().with_clock(clock.clone());
    over(FaultBackend::new(memory), clock, rule, answer)
}

fn over(
    backend: FaultBackend<MemoryBackend>,
    clock: ManualClock,
    rule: IdempotencyRule,
    answer: fn() -> Response,
) -> Office {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let bed = Bed::new(backend.clone(), rule, move |_| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            answer()
        }
    });
    Office {
        bed,
        backend,
        clock,
        gate,
    }
}

fn made() -> Response {
    (http::StatusCode::CREATED, "made").into_response()
}

fn fails() -> Response {
    http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn panics() -> Response {
    panic!("after its effects")
}

fn nobody() -> SubjectId {
    SubjectId::shared()
}

fn paid() -> http::Response<Bytes> {
    http::Response::builder()
        .status(202)
        .header("x-receipt", "7")
        .body(Bytes::from("paid"))
        .unwrap()
}

impl Office {
    /// Sends a request, and comes back when its handler has begun.
    async fn begin(&self) -> Sent {
        let (bed, runs) = (self.bed.clone(), self.bed.runs());
        let sent = tokio::spawn(async move { bed.post(KEY, "1 apple").await });
        while self.bed.runs() == runs {
            sleep(Duration::from_millis(1)).await;
        }
        Sent(sent)
    }

    /// Sends a request, and lets its handler answer.
    async fn run(&self) -> Answer {
        self.gate.add_permits(1);
        self.bed.post(KEY, "1 apple").await
    }

    /// A request whose handler is still there, and whose lease is over.
    async fn orphan(&self) -> Sent {
        let sent = self.begin().await;
        // A version is later than its clock where the clock stands still.
        self.clock.advance(LEASE + Duration::from_millis(1));
        sent
    }

    async fn inspect(&self) -> Option<Inspection> {
        let handle = self.bed.layer.handle();
        handle.inspect(&nobody(), KEY).await.unwrap()
    }

    async fn found(&self) -> Inspection {
        self.inspect().await.unwrap()
    }

    async fn forget(&self, version: Version) -> Result<bool, RecordError> {
        let handle = self.bed.layer.handle();
        handle.forget(&nobody(), KEY, version).await
    }

    async fn settle(&self, version: Version) -> Result<bool, RecordError> {
        let handle = self.bed.layer.handle();
        handle.settle(&nobody(), KEY, version, paid()).await
    }

    /// Refuses to settle what is there, and leaves it as it is.
    async fn refuses_to_settle(&self) -> RecordErrorKind {
        let version = self.found().await.version();
        let kind = self.settle(version).await.unwrap_err().kind();
        assert_eq!(self.found().await.version(), version);
        kind
    }
}

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

impl Office {
    /// Waits until the script is over before it asks.
    async fn inspect_quietly(&self) -> Option<Inspection> {
        if self.backend.total_calls() < 2 {
            return None;
        }
        self.inspect().await
    }
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
async fn nothing_is_forgotten_or_settled_or_made_where_nothing_is() {
    let office = office(rule(), made);
    for version in [0, 1, 1_767_225_600_000_000].map(Version::from_u64) {
        assert!(!office.forget(version).await.unwrap());
        assert!(!office.settle(version).await.unwrap());
        assert!(office.inspect().await.is_none());
    }
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
async fn an_outage_is_told_with_its_cause_and_without_the_key() {
    let office = office(rule(), made);
    office.backend.go_down();
    let handle = office.bed.layer.handle();
    let error = handle.inspect(&nobody(), KEY).await.unwrap_err();
    assert_eq!(error.kind(), RecordErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("injected"), "{cause}");
    assert!(!format!("{error} {error:?}").contains(KEY));
    let version = Version::from_u64(1);
    for error in [office.forget(version).await, office.settle(version).await] {
        assert_eq!(error.unwrap_err().kind(), RecordErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn work_that_is_no_request_is_seen_settled_and_forgotten_as_well() {
    let clock = ManualClock::new();
    let memory = MemoryBackend::new().with_clock(clock.clone());
    let jobs = Idempotent::new(memory, never()).unwrap();
    let run = async |fails: bool| {
        let work = move |_| async move { if fails { Err("no") } else { Ok("sent") } };
        jobs.run(KEY, "an invoice", work).await
    };
    assert!(run(true).await.is_err());
    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(found.is_outcome_unknown());
    assert!(
        jobs.settle(KEY, found.version(), "sent by hand")
            .await
            .unwrap()
    );
    assert_eq!(
        run(false).await.unwrap(),
        Done::Replayed("sent by hand".into())
    );

    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(matches!(found.state(), KeyState::Completed { .. }));
    assert_eq!((found.status(), found.is_never_again()), (None, true));
    let refused = jobs.settle(KEY, found.version(), "otherwise").await;
    assert_eq!(refused.unwrap_err().kind(), RecordErrorKind::NotUnknown);
    assert!(jobs.inspect("k-4712").await.unwrap().is_none());
    assert!(!jobs.forget("k-4712", found.version()).await.unwrap());
    assert!(jobs.forget(KEY, found.version()).await.unwrap());
    assert_eq!(run(false).await.unwrap(), Done::Ran("sent".into()));
    let found = jobs.inspect(KEY).await.unwrap().unwrap();
    assert!(jobs.forget_running(KEY, found.version()).await.unwrap());
    assert!(jobs.inspect(KEY).await.unwrap().is_none());
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
