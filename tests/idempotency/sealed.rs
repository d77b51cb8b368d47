//! Answers and recovery points that only this program can read.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use tower_stash::{
    backend::{Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions, Result},
    idempotency::{
        AnswerKeys, Done, IdempotencyLayer, IdempotencyRule, Idempotent, InProgress, Inspection,
        KeyState, RunError, Unrecorded,
    },
    key::Key,
    policy::{KeyExtractor as _, SubjectId, header},
    testing::ManualClock,
};

use crate::fixture::{Bed, Gate, Inside, execution, never, rule};

const KEY: &str = "k-4711";
const LEASE: Duration = Duration::from_secs(10);

/// What the handler answers and writes down, none of which may be read in the store.
const SECRETS: [&str; 3] = ["iban-of-ada", "receipt-4711", "charge-ch_1"];

/// Memory, and all that was ever written into it.
#[derive(Clone)]
struct Spied {
    memory: Arc<MemoryBackend>,
    written: Arc<Mutex<Vec<Bytes>>>,
    clock: ManualClock,
}

impl Spied {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            memory: Arc::new(MemoryBackend::new().with_clock(clock.clone())),
            written: Arc::default(),
            clock,
        }
    }

    /// Which of the secrets were written so that they can be read.
    fn readable(&self) -> Vec<&'static str> {
        let written = self.written.lock().unwrap();
        let is_in = |secret: &str, bytes: &Bytes| {
            bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        };
        let mut readable = SECRETS.to_vec();
        readable.retain(|secret| written.iter().any(|bytes| is_in(secret, bytes)));
        readable
    }

    fn lets_the_lease_run_out(&self) {
        self.clock.advance(LEASE + Duration::from_millis(1));
    }
}

impl KeyValue for Spied {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.memory.get(key, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.written.lock().unwrap().push(value.clone());
        self.memory.put(key, value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.memory.delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.memory.touch(key, ttl, precondition).await
    }

    fn clock_skew(&self) -> Duration {
        KeyValue::clock_skew(&*self.memory)
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&*self.memory)
    }
}

fn secret(letter: u8) -> [u8; 32] {
    [letter; 32]
}

fn keys(letter: u8) -> AnswerKeys {
    AnswerKeys::new(secret(letter)).unwrap()
}

/// An instance with these keys, or with none.
fn instance<F>(
    backend: &Spied,
    keys: Option<AnswerKeys>,
    rule: IdempotencyRule,
    handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
) -> Bed
where
    F: Future<Output = Response> + Send + 'static,
{
    let layer = IdempotencyLayer::new(backend.clone(), header("x-user").or_shared(), rule).unwrap();
    let layer = match keys {
        Some(keys) => layer.with_answer_keys(keys),
        None => layer,
    };
    Bed::behind(layer, handler)
}

fn paying(backend: &Spied, keys: Option<AnswerKeys>) -> Bed {
    instance(backend, keys, rule(), |_| async { receipt() })
}

fn receipt() -> Response {
    let headers = [("x-receipt", "receipt-4711")];
    (StatusCode::CREATED, headers, "iban-of-ada").into_response()
}

async fn inspect(bed: &Bed) -> Inspection {
    let found = bed.layer.handle().inspect(&SubjectId::shared(), KEY).await;
    found.unwrap().unwrap()
}

/// Sends the request again, which is told that nobody can read what is there; it stays as it is.
async fn cannot_read(bed: &Bed) {
    let before = inspect(bed).await;
    let told = bed.post(KEY, "1 apple").await;
    assert_eq!(told.refusal(), (500, "record-unreadable".into()));
    assert_eq!(bed.runs(), 0);
    assert_eq!(inspect(bed).await.version(), before.version());
}

async fn replays(bed: &Bed) {
    let again = bed.post(KEY, "1 apple").await;
    assert_eq!((again.status(), &*again.body), (201, "iban-of-ada"));
    assert_eq!(again.header("x-receipt"), Some("receipt-4711"));
    assert!(again.is_replay());
    assert_eq!(inspect(bed).await.status().unwrap(), 201);
}

#[tokio::test]
async fn a_sealed_answer_is_replayed_and_nothing_of_it_can_be_read_in_the_store() {
    let store = Spied::new();
    let bed = paying(&store, Some(keys(b'a')));
    assert_eq!(bed.post(KEY, "1 apple").await.body, "iban-of-ada");
    replays(&bed).await;
    assert_eq!(store.readable(), [""; 0]);
    replays(&paying(&store, Some(keys(b'a')))).await;

    // Without keys it can.
    let open = Spied::new();
    paying(&open, None).post(KEY, "1 apple").await;
    assert_eq!(open.readable(), ["iban-of-ada", "receipt-4711"]);
}

#[tokio::test]
async fn what_was_stored_without_keys_is_read_with_keys() {
    let store = Spied::new();
    paying(&store, None).post(KEY, "1 apple").await;
    replays(&paying(&store, Some(keys(b'a')))).await;
}

#[tokio::test]
async fn who_lacks_the_key_cannot_read_and_runs_nothing() {
    let store = Spied::new();
    paying(&store, Some(keys(b'a'))).post(KEY, "1 apple").await;
    for wrong in [None, Some(keys(b'b'))] {
        let bed = paying(&store, wrong);
        assert_eq!(inspect(&bed).await.state(), KeyState::Unreadable);
        assert_eq!(inspect(&bed).await.status(), None);
        cannot_read(&bed).await;
        // Whose the key is does not depend on it.
        let other = bed.post(KEY, "2 apples").await;
        assert_eq!(other.refusal(), (422, "key-reused".into()));
    }
    replays(&paying(&store, Some(keys(b'a')))).await;
}

#[tokio::test]
async fn who_lacks_the_key_can_still_forget() {
    let store = Spied::new();
    paying(&store, Some(keys(b'a'))).post(KEY, "1 apple").await;
    let bed = paying(&store, None);
    let version = inspect(&bed).await.version();
    let handle = bed.layer.handle();
    let forgotten = handle.forget(&SubjectId::shared(), KEY, version).await;
    assert!(forgotten.unwrap());
}

#[tokio::test]
async fn a_secret_is_replaced_without_losing_what_it_sealed() {
    let store = Spied::new();
    paying(&store, Some(keys(b'a'))).post(KEY, "1 apple").await;
    let rotated = keys(b'b').with_previous(secret(b'a')).unwrap();
    let rotated = paying(&store, Some(rotated));
    replays(&rotated).await;
    rotated.post("k-4712", "1 apple").await;

    let after = paying(&store, Some(keys(b'b')));
    cannot_read(&after).await;
    assert!(after.post("k-4712", "1 apple").await.is_replay());
    let before = paying(&store, Some(keys(b'a')));
    let told = before.post("k-4712", "1 apple").await;
    assert_eq!(told.problem(), "record-unreadable");
}

#[tokio::test]
async fn an_answer_of_an_operator_is_sealed_as_well() {
    let store = Spied::new();
    let panics = |keys| {
        instance(&store, keys, never(Unrecorded::Withhold), |_| async {
            panic!()
        })
    };
    let bed = panics(Some(keys(b'a')));
    assert_eq!(bed.post(KEY, "1 apple").await.problem(), "outcome-unknown");
    // Where nothing is kept, nothing is sealed: everybody sees that nobody knows.
    let without = panics(None);
    assert_eq!(inspect(&without).await.state(), KeyState::OutcomeUnknown);
    assert_eq!(
        without.post(KEY, "1 apple").await.problem(),
        "outcome-unknown"
    );

    let answer = http::Response::builder().status(201);
    let answer = answer.header("x-receipt", "receipt-4711");
    let answer = answer.body(Bytes::from("iban-of-ada")).unwrap();
    let version = inspect(&bed).await.version();
    let handle = bed.layer.handle();
    let settled = handle
        .settle(&SubjectId::shared(), KEY, version, answer)
        .await;
    assert!(settled.unwrap());
    replays(&bed).await;
    assert_eq!(store.readable(), [""; 0]);
    cannot_read(&paying(&store, None)).await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_hides_where_its_result_is() {
    let store = Spied::new();
    let bed = |keys| {
        let rule = rule().with_answer_limit(3);
        instance(&store, keys, rule, |_| async {
            (
                StatusCode::CREATED,
                [("location", "/receipt-4711")],
                "iban-of-ada",
            )
                .into_response()
        })
    };
    bed(Some(keys(b'a'))).post(KEY, "1 apple").await;
    assert_eq!(store.readable(), [""; 0]);
    let again = bed(Some(keys(b'a'))).post(KEY, "1 apple").await;
    assert_eq!(again.json()["location"], "/receipt-4711");
    let told = bed(None).post(KEY, "1 apple").await;
    assert_eq!(told.problem(), "record-unreadable");
}

#[tokio::test]
async fn who_waits_gets_what_was_sealed() {
    let store = Spied::new();
    let gate = Gate::shut();
    let rule = rule().with_in_progress(InProgress::Wait(Duration::from_secs(5)));
    let held = gate.clone();
    let bed = instance(&store, Some(keys(b'a')), rule, move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            receipt()
        }
    });
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let waiting = bed.post(KEY, "1 apple");
        let opened = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            gate.open();
        };
        tokio::join!(waiting, opened).0
    };
    let (first, second) = tokio::join!(bed.post(KEY, "1 apple"), waiting);
    assert!(!first.is_replay() && second.is_replay());
    assert_eq!(
        (&*first.body, &*second.body),
        ("iban-of-ada", "iban-of-ada")
    );
}

/// Charges once, whatever it takes: what it answers is how it came to know of the charge. Ends well
/// from this attempt on.
fn charging(backend: &Spied, keys: Option<AnswerKeys>, ends_at: u32) -> Bed {
    instance(backend, keys, rule(), move |request| async move {
        let run = execution(&request);
        let was = run.recovered("charge-ch_1");
        if was.is_none() && run.checkpoint("charge-ch_1", "receipt-4711").await.is_err() {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        match (run.attempt(), was) {
            (attempt, _) if attempt < ends_at => StatusCode::BAD_GATEWAY.into_response(),
            (_, Some(charge)) => charge.into_response(),
            (_, None) => "charged now".into_response(),
        }
    })
}

#[tokio::test]
async fn recovery_points_are_sealed_and_reach_the_attempt_after_next() {
    let store = Spied::new();
    let bed = charging(&store, Some(keys(b'a')), 3);
    for _ in 0..2 {
        assert_eq!(bed.post(KEY, "1 apple").await.status(), 502);
    }
    assert_eq!(bed.post(KEY, "1 apple").await.body, "receipt-4711");
    assert_eq!(store.readable(), [""; 0]);

    let open = Spied::new();
    charging(&open, None, 2).post(KEY, "1 apple").await;
    assert_eq!(open.readable(), ["receipt-4711", "charge-ch_1"]);
    // What is open can be read with keys too, and goes on open until it is written anew.
    let again = charging(&open, Some(keys(b'a')), 2)
        .post(KEY, "1 apple")
        .await;
    assert_eq!(again.body, "receipt-4711");
}

#[tokio::test]
async fn who_cannot_read_recovery_points_does_not_run_what_failed() {
    let store = Spied::new();
    charging(&store, Some(keys(b'a')), 2)
        .post(KEY, "1 apple")
        .await;
    for wrong in [None, Some(keys(b'b'))] {
        let bed = charging(&store, wrong, 2);
        assert_eq!(inspect(&bed).await.state(), KeyState::Failed);
        cannot_read(&bed).await;
    }
    let rotated = keys(b'b').with_previous(secret(b'a')).unwrap();
    let again = charging(&store, Some(rotated), 2)
        .post(KEY, "1 apple")
        .await;
    assert_eq!(again.body, "receipt-4711");
}

#[tokio::test]
async fn who_cannot_read_recovery_points_does_not_take_over() {
    let store = Spied::new();
    let dies = instance(&store, Some(keys(b'a')), rule(), |request| async move {
        let run = execution(&request);
        run.checkpoint("charge-ch_1", "receipt-4711").await.unwrap();
        std::future::pending().await
    });
    let _orphan = dies.sending(crate::fixture::post(KEY, "1 apple")).await;
    store.lets_the_lease_run_out();
    cannot_read(&charging(&store, None, 2)).await;
    let again = charging(&store, Some(keys(b'a')), 2)
        .post(KEY, "1 apple")
        .await;
    assert_eq!(again.body, "receipt-4711");
}

#[tokio::test]
async fn work_that_is_no_request_is_sealed_as_well() {
    let store = Spied::new();
    let jobs = |keys: Option<AnswerKeys>| {
        let jobs = Idempotent::new(store.clone(), rule()).unwrap();
        match keys {
            Some(keys) => jobs.with_answer_keys(keys),
            None => jobs,
        }
    };
    let run = async |jobs: &Idempotent| {
        let work = |_| async { Ok::<_, std::fmt::Error>("receipt-4711") };
        jobs.run(KEY, "an invoice", work).await
    };
    let sealed = jobs(Some(keys(b'a')));
    assert_eq!(
        run(&sealed).await.unwrap(),
        Done::Ran("receipt-4711".into())
    );
    assert_eq!(
        run(&sealed).await.unwrap(),
        Done::Replayed("receipt-4711".into())
    );
    assert_eq!(store.readable(), [""; 0]);
    let without = jobs(None);
    assert!(matches!(run(&without).await, Err(RunError::Unavailable)));
    let seen = async |jobs: &Idempotent| jobs.inspect(KEY).await.unwrap().unwrap().state();
    assert_eq!(seen(&without).await, KeyState::Unreadable);
    assert!(matches!(seen(&sealed).await, KeyState::Completed { .. }));
}

#[tokio::test]
async fn where_nothing_is_kept_nothing_is_sealed() {
    let store = Spied::new();
    let jobs = Idempotent::new(store.clone(), rule().with_answer_limit(3)).unwrap();
    let sealing = jobs.with_answer_keys(keys(b'a'));
    let work = |_| async { Ok::<_, std::fmt::Error>("receipt-4711") };
    sealing.run(KEY, "an invoice", work).await.unwrap();
    let without = Idempotent::new(store.clone(), rule()).unwrap();
    let found = without.inspect(KEY).await.unwrap().unwrap();
    assert!(matches!(
        found.state(),
        KeyState::Completed {
            is_replayable: false,
            ..
        }
    ));
}
