//! Instances that die, by the runtime that their handlers run in.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::StatusCode;
use tower_stash::{
    backend::{Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions, Result},
    idempotency::{IdempotencyRule, InProgress, Outcome, Unrecorded},
    key::Key,
    testing::{Fault, FaultBackend},
};

use crate::fixture::{
    Bed, execution, in_a_process_that_dies, leave_orphan, memory, never, post, refused, rule, sleep,
};

/// An instance whose handler tells its attempt and its fence.
fn instance(backend: impl KeyValue, rule: IdempotencyRule) -> Bed {
    Bed::new(backend, rule, |request| async move {
        let run = execution(&request);
        format!("{} {}", run.attempt(), run.fence()).into_response()
    })
}

/// Attempt and fence of a run that [`instance`] answers.
async fn run(bed: &Bed, key: &str) -> (u32, u64) {
    let answer = bed.post(key, "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let (attempt, fence) = answer.body.split_once(' ').unwrap();
    (attempt.parse().unwrap(), fence.parse().unwrap())
}

const LEASE: u64 = 10;

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_work_is_done_again_and_knows_it() {
    let backend = memory();
    let bed = instance(backend.clone(), rule());
    let (_, before) = run(&bed, "another").await;
    leave_orphan(&backend, rule(), post("a", ""));
    let busy = bed.post("a", "").await;
    assert_eq!(busy.refusal(), refused(409, "in-progress"));
    sleep(LEASE + 1).await;
    let (attempt, fence) = run(&bed, "a").await;
    assert_eq!(attempt, 2);
    assert!(fence > before);
    assert!(bed.post("a", "").await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn each_crash_counts_an_attempt() {
    let backend = memory();
    for crash in 0..3 {
        in_a_process_that_dies(async {
            sleep(crash * (LEASE + 10)).await;
            let bed = Bed::new(backend.clone(), rule(), |_| std::future::pending());
            drop(bed.sending(post("a", "")).await);
            assert_eq!(bed.runs(), 1);
        });
    }
    sleep(60).await;
    assert_eq!(run(&instance(backend, rule()), "a").await.0, 4);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_nobody_knows_where_nothing_runs_twice() {
    for unrecorded in [Unrecorded::Withhold, Unrecorded::Answer] {
        let backend = memory();
        leave_orphan(&backend, never(unrecorded), post("a", ""));
        let bed = instance(backend, never(unrecorded));
        assert_eq!(bed.post("a", "").await.refusal().0, 409);
        for _ in 0..3 {
            sleep(LEASE + 1).await;
            let answer = bed.post("a", "").await;
            assert_eq!(answer.refusal(), refused(500, "outcome-unknown"));
        }
        assert_eq!(bed.runs(), 0);
    }
}

/// Whichever of two deployed rules says so.
#[tokio::test(start_paused = true)]
async fn nothing_runs_twice_if_the_old_rule_or_the_new_one_says_so() {
    for (old, new) in [
        (never(Unrecorded::Withhold), rule()),
        (rule(), never(Unrecorded::Withhold)),
    ] {
        let backend = memory();
        leave_orphan(&backend, old, post("a", ""));
        sleep(LEASE + 1).await;
        let bed = instance(backend, new);
        let answer = bed.post("a", "").await;
        assert_eq!(answer.refusal(), refused(500, "outcome-unknown"));
        assert_eq!(bed.runs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_died_before_its_handler_began_has_done_nothing() {
    let memory = memory();
    let dying = FaultBackend::new(memory.clone());
    // The claim is written; that the handler begins is not.
    dying.script([Fault::None, Fault::Hang]);
    in_a_process_that_dies(async {
        let bed = instance(dying, never(Unrecorded::Withhold));
        drop(bed.sending(post("a", "")).await);
        assert_eq!(bed.runs(), 0);
    });
    let bed = instance(memory, never(Unrecorded::Withhold));
    assert_eq!(bed.post("a", "").await.refusal().0, 409);
    sleep(LEASE + 1).await;
    assert_eq!(run(&bed, "a").await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_taken_for_dead_and_is_not_answers_with_the_answer_of_the_other() {
    // Whatever it says of its own.
    for outcome in [Outcome::Final, Outcome::Retryable, Outcome::NotExecuted] {
        let memory = memory();
        let partitioned = FaultBackend::new(memory.clone());
        let first = Bed::new(partitioned.clone(), rule(), move |request| async move {
            sleep(25).await;
            let run = execution(&request);
            assert!(run.is_lease_lost());
            run.set_outcome(outcome);
            (StatusCode::CREATED, "zombie").into_response()
        });
        let zombie = first.sending(post("a", "")).await;
        partitioned.go_down();
        sleep(LEASE + 1).await;
        let second = instance(memory, rule());
        let (attempt, fence) = run(&second, "a").await;
        assert_eq!(attempt, 2);
        partitioned.come_up();
        let answer = zombie.await.unwrap();
        assert_eq!(
            (answer.status(), &*answer.body),
            (200, &*format!("2 {fence}")),
            "{outcome:?}"
        );
        assert!(answer.is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_taken_for_dead_while_another_one_works_waits_or_is_told() {
    for (waits, status) in [(true, 200), (false, 409)] {
        let memory = memory();
        let partitioned = FaultBackend::new(memory.clone());
        let mut rule = rule();
        if waits {
            let wait = InProgress::Wait(Duration::from_secs(60));
            rule = rule.with_in_progress(wait);
        }
        let working = |backend, seconds| {
            Bed::new(backend, rule.clone(), move |request| async move {
                sleep(seconds).await;
                execution(&request).attempt().to_string().into_response()
            })
        };
        let first = working(partitioned.clone(), 25)
            .sending(post("a", ""))
            .await;
        partitioned.go_down();
        sleep(LEASE + 1).await;
        let second = working(FaultBackend::new(memory), 25)
            .sending(post("a", ""))
            .await;
        partitioned.come_up();
        assert_eq!(second.await.unwrap().body, "2");
        let first = first.await.unwrap();
        assert_eq!(first.status(), status);
        assert_eq!(first.is_replay(), waits);
    }
}

/// A backend that can lose everything, as by a failover.
#[derive(Clone)]
struct Forgetful(Arc<Mutex<MemoryBackend>>);

impl Forgetful {
    fn forget_all(&self) {
        *self.0.lock().unwrap() = memory();
    }

    fn memory(&self) -> MemoryBackend {
        self.0.lock().unwrap().clone()
    }
}

impl KeyValue for Forgetful {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.memory().get(key, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.memory().put(key, value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.memory().delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.memory().touch(key, ttl, precondition).await
    }

    fn clock_skew(&self) -> Duration {
        Duration::ZERO
    }

    fn is_remote(&self) -> bool {
        false
    }
}

/// A service that takes a second.
fn slow(backend: impl KeyValue) -> Bed {
    Bed::new(backend, rule(), |_| async {
        sleep(1).await;
        "slow".into_response()
    })
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_record_was_lost_puts_its_answer_there() {
    let backend = Forgetful(Arc::new(Mutex::new(memory())));
    let bed = slow(backend.clone());
    let first = bed.sending(post("a", "")).await;
    backend.forget_all();
    assert_eq!(first.await.unwrap().body, "slow");
    assert!(bed.post("a", "").await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_key_another_request_has_by_now_does_not_know() {
    let backend = Forgetful(Arc::new(Mutex::new(memory())));
    let bed = slow(backend.clone());
    let first = bed.sending(post("a", "1 apple")).await;
    backend.forget_all();
    let other = instance(backend, rule());
    assert_eq!(other.post("a", "2 apples").await.status(), 200);
    let answer = first.await.unwrap();
    assert_eq!(answer.refusal(), refused(500, "outcome-unknown"));
    assert!(other.post("a", "2 apples").await.is_replay());
}
