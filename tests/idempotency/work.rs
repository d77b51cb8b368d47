//! Work that is no request.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tower_stash::{
    backend::BackendErrorKind,
    idempotency::{
        Done, IdempotencyRule, Idempotent, InProgress, Outage, Outcome, Recovery, RunError,
        Unrecorded,
    },
    testing::Fault,
};

use crate::fixture::{faulty, memory, never, rule, sleep};

type Ran = Result<Done, RunError<io::Error>>;

/// Does "made", and counts how often.
async fn make(
    work: &Idempotent,
    key: &'static str,
    request: &str,
    count: &Arc<AtomicUsize>,
) -> Ran {
    let count = Arc::clone(count);
    work.run(key, request, async move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok("made")
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn work_is_done_once_for_each_key_and_rule() {
    let (store, count) = (memory(), Arc::default());
    let work = Idempotent::new(store.clone(), rule()).unwrap();
    let made = Bytes::from("made");
    assert_eq!(
        make(&work, "1", "a", &count).await.unwrap(),
        Done::Ran(made.clone())
    );
    let again = make(&work, "1", "a", &count).await.unwrap();
    assert_eq!(again, Done::Replayed(made));
    assert!(matches!(
        make(&work, "1", "b", &count).await,
        Err(RunError::Mismatch)
    ));
    assert!(!make(&work, "2", "b", &count).await.unwrap().is_replay());

    let other = IdempotencyRule::new("other", Recovery::ReExecute).unwrap();
    let other = Idempotent::new(store, other).unwrap();
    assert!(!make(&other, "1", "b", &count).await.unwrap().is_replay());
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_it_is_done_is_told_or_waits() {
    let store = memory();
    let work = Idempotent::new(store.clone(), rule()).unwrap();
    let slow = {
        let work = work.clone();
        tokio::spawn(async move {
            let slow = async |_| {
                sleep(2).await;
                Ok::<_, io::Error>("slow")
            };
            work.run("1", "", slow).await
        })
    };
    sleep(1).await;
    let count = Arc::default();
    let busy = make(&work, "1", "", &count).await;
    assert!(matches!(busy, Err(RunError::Busy(left)) if left <= Duration::from_secs(10)));

    let patient = rule().with_in_progress(InProgress::Wait(Duration::from_secs(5)));
    let patient = Idempotent::new(store, patient).unwrap();
    let waited = make(&patient, "1", "", &count).await.unwrap();
    assert_eq!(waited, Done::Replayed("slow".into()));
    assert!(!slow.await.unwrap().unwrap().is_replay());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_failed_or_panicked_is_tried_again_unless_it_must_not_be() {
    for (rule, is_tried_again) in [(rule(), true), (never(Unrecorded::Withhold), false)] {
        let work = Idempotent::new(memory(), rule).unwrap();
        let fails = async |_| Err::<Bytes, _>(io::Error::other("no"));
        let failed = work.run("1", "", fails).await;
        assert!(matches!(failed, Err(RunError::Failed(_))));
        let panics = async |_| -> io::Result<Bytes> { panic!("no") };
        assert!(matches!(
            work.run("2", "", panics).await,
            Err(RunError::Panicked)
        ));

        let count = Arc::default();
        for key in ["1", "2"] {
            match make(&work, key, "", &count).await {
                Ok(done) => assert!(is_tried_again && !done.is_replay()),
                Err(error) => {
                    assert!(!is_tried_again && matches!(error, RunError::OutcomeUnknown));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_work_says_of_itself_is_heard_also_beside_an_error() {
    let work = Idempotent::new(memory(), never(Unrecorded::Withhold)).unwrap();
    let count = Arc::default();
    for (key, outcome) in [("1", Outcome::NotExecuted), ("2", Outcome::Retryable)] {
        let failed = work.run(key, "", async move |run| {
            run.set_outcome(outcome);
            Err::<Bytes, _>(io::Error::other("not yet"))
        });
        assert!(matches!(failed.await, Err(RunError::Failed(_))));
        assert!(!make(&work, key, "", &count).await.unwrap().is_replay());
    }
    let done = work.run("3", "", async |run| {
        run.set_outcome(Outcome::NotExecuted);
        Ok::<_, io::Error>("nothing to do")
    });
    assert!(!done.await.unwrap().is_replay());
    // The key is free, also for other work.
    assert!(!make(&work, "3", "other", &count).await.unwrap().is_replay());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_large_is_given_once_and_told_afterwards() {
    let work = Idempotent::new(memory(), rule().with_answer_limit(3)).unwrap();
    let count = Arc::default();
    assert_eq!(
        make(&work, "1", "", &count).await.unwrap().into_result(),
        "made"
    );
    assert!(matches!(
        make(&work, "1", "", &count).await,
        Err(RunError::NotKept)
    ));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_when_nobody_waits_for_it() {
    let work = Idempotent::new(memory(), rule()).unwrap();
    let slow = async |_| {
        sleep(2).await;
        Ok::<_, io::Error>("slow")
    };
    let impatient = tokio::time::timeout(Duration::from_secs(1), work.run("1", "", slow));
    assert!(impatient.await.is_err());
    sleep(2).await;
    let count = Arc::default();
    let done = make(&work, "1", "", &count).await.unwrap();
    assert_eq!(done, Done::Replayed("slow".into()));
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_while_the_backend_is_away_or_the_program_ends() {
    let backend = faulty();
    let work = Idempotent::new(backend.clone(), rule()).unwrap();
    let count = Arc::default();
    backend.script([Fault::Fail(BackendErrorKind::Unavailable)]);
    assert!(matches!(
        make(&work, "1", "", &count).await,
        Err(RunError::Unavailable)
    ));
    assert!(make(&work, "1", "", &count).await.is_ok());
    assert_eq!(work.drain(Duration::from_secs(1)).await, 0);
    assert!(matches!(
        make(&work, "2", "", &count).await,
        Err(RunError::Unavailable)
    ));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn work_has_no_way_to_run_unprotected() {
    let rule = rule().with_outage(Outage::PassThrough).unwrap();
    let problem = Idempotent::new(memory(), rule).unwrap_err().to_string();
    assert!(problem.contains("Outage::Reject"), "{problem}");
}
