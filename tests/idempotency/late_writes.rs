//! What may not happen to a key after, beside or instead of a run.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::response::IntoResponse as _;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use tokio::task::yield_now;
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend},
    idempotency::{
        CheckpointError, Execution, InProgress, KeyState, Leases, Outage, Outcome, Unrecorded,
    },
    policy::SubjectId,
    testing::Fault,
};

use crate::fixture::{
    Bed, Gate, execution, faulty, memory, never, post, refused, rule, settled, sleep,
};

/// Where a handler leaves its run for the test.
type Kept = Arc<Mutex<Option<Execution>>>;

/// What is recorded under the key "a" of everybody.
async fn state(bed: &Bed) -> Option<KeyState> {
    let found = bed.layer.handle().inspect(&nobody(), "a").await;
    found.unwrap().map(|found| found.state())
}

fn nobody() -> SubjectId {
    SubjectId::shared()
}

#[tokio::test(start_paused = true)]
async fn a_recovery_point_that_comes_after_the_end_does_not_take_a_freed_key() {
    for rule in [rule(), never(Unrecorded::Answer)] {
        let kept = Kept::default();
        let keep = Arc::clone(&kept);
        let bed = Bed::new(memory(), rule, move |request| {
            let run = execution(&request);
            run.set_outcome(Outcome::NotExecuted);
            *keep.lock().unwrap() = Some(run);
            async { StatusCode::CONFLICT.into_response() }
        });
        bed.post("a", "").await;
        let run = kept.lock().unwrap().take().unwrap();
        let late = run.checkpoint("late", "x").await;
        assert_eq!(late, Err(CheckpointError::Lost));
        assert_eq!(bed.post("a", "other").await.status(), 409);
        assert_eq!(bed.runs(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_point_that_comes_after_the_end_does_not_replace_the_answer() {
    let backend = faulty();
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    let bed = Bed::new(backend.clone(), rule(), move |request| {
        *keep.lock().unwrap() = Some(execution(&request));
        async { "done".into_response() }
    });
    backend.script([
        Fault::None,
        Fault::LostReply,
        Fault::Fail(BackendErrorKind::Unavailable),
    ]);
    let first = bed.sending(post("a", "")).await;
    let run = kept.lock().unwrap().take().unwrap();
    for point in ["one", "two"] {
        let late = run.checkpoint(point, "x").await;
        assert_eq!(late, Err(CheckpointError::Lost));
    }
    let clean = bed.post("a", "").await;
    assert!(clean.is_replay(), "{clean:?}");
    assert_eq!(first.await.unwrap().body, "done");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_waits_for_the_last_write_does_not_bring_a_freed_key_back() {
    for yields in 0..8 {
        let rule = never(Unrecorded::Answer).with_lease(Duration::from_secs(9));
        let bed = Bed::new(memory(), rule.unwrap(), move |request| async move {
            execution(&request).set_outcome(Outcome::NotExecuted);
            sleep(3).await;
            for _ in 0..yields {
                yield_now().await;
            }
            StatusCode::CONFLICT.into_response()
        });
        bed.post("a", "").await;
        settled().await;
        assert!(
            !matches!(state(&bed).await, Some(KeyState::InProgress { .. })),
            "{yields}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_under_way_does_not_keep_a_key_that_is_freed() {
    let backend = faulty();
    let rule = rule().with_lease(Duration::from_secs(9)).unwrap();
    let bed = Bed::new(backend.clone(), rule, |request| async move {
        execution(&request).set_outcome(Outcome::NotExecuted);
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        StatusCode::CONFLICT.into_response()
    });
    backend.script([Fault::None, Fault::LateReply(Duration::from_secs(1))]);
    bed.post("a", "").await;
    assert_eq!(state(&bed).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_that_could_not_begin_leaves_the_key_to_the_next() {
    for fault in [
        Fault::LostReply,
        Fault::Fail(BackendErrorKind::Disconnected),
    ] {
        let backend = faulty();
        let bed = Bed::new(
            backend.clone(),
            never(Unrecorded::Answer),
            |request| async move {
                match execution(&request).attempt() {
                    1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                    _ => StatusCode::CREATED.into_response(),
                }
            },
        );
        assert_eq!(bed.post("a", "").await.status(), 503);
        // The claim, which finds what failed; its takeover; the start, whose reply is lost.
        backend.script([
            Fault::None,
            Fault::None,
            fault,
            Fault::Fail(BackendErrorKind::Unavailable),
        ]);
        assert_eq!(bed.post("a", "").await.status(), 503);
        assert_eq!(bed.runs(), 1);
        sleep(11).await;
        let last = bed.post("a", "").await;
        assert_eq!((last.status(), bed.runs()), (201, 2), "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_wait_for_ever_does() {
    let gate = Gate::shut();
    let opened = gate.clone();
    let rule = rule().with_in_progress(InProgress::Wait(Duration::MAX));
    let bed = Bed::new(memory(), rule, move |_| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            "done".into_response()
        }
    });
    let first = bed.sending(post("a", "")).await;
    let second = bed.sending(post("a", "")).await;
    opened.open();
    assert_eq!(first.await.unwrap().body, "done");
    assert_eq!(second.await.unwrap().body, "done");
    assert_eq!(bed.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_can_be_waited_for_for_ever() {
    let leases = Leases::new(MemoryBackend::new());
    let held = leases.acquire("report").await.unwrap();
    let waits = tokio::spawn(async move { leases.acquire_within("report", Duration::MAX).await });
    settled().await;
    held.release().await.unwrap();
    assert!(waits.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_web_that_succeeded_does_not_run_again() {
    let bed = Bed::new(memory(), rule(), |_| async {
        let mut response =
            axum::body::Bytes::from_static(b"\0\0\0\0\x02hi\x80\0\0\0\x0fgrpc-status:0\r\n")
                .into_response();
        let web = HeaderValue::from_static("application/grpc-web+proto");
        response.headers_mut().insert(CONTENT_TYPE, web);
        response
    });
    let call = || {
        let mut call = post("a", "\0\0\0\0\x02hi");
        let web = HeaderValue::from_static("application/grpc-web+proto");
        call.headers_mut().insert(CONTENT_TYPE, web);
        call
    };
    for _ in 0..2 {
        let (head, _) = bed.head(call()).await.into_parts();
        assert_eq!(head.status, 200);
    }
    assert_eq!(bed.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_cannot_read_is_no_outage_to_pass_through() {
    let backend = faulty();
    let rule = rule().with_outage(Outage::PassThrough).unwrap();
    let bed = Bed::new(backend.clone(), rule, |_| async { "done".into_response() });
    backend.script([Fault::Fail(BackendErrorKind::Corrupt)]);
    let unreadable = bed.post("a", "").await;
    assert_eq!(unreadable.refusal(), refused(500, "record-unreadable"));
    assert_eq!(bed.runs(), 0);
}

#[test]
fn problems_have_no_address_that_a_link_cannot_hold() {
    let layer = Bed::new(memory(), rule(), |_| async { "".into_response() }).layer;
    for base in ["https://shop.example/#\n", "https://shop.example/#\u{e9}"] {
        assert!(layer.clone().with_problem_base(base).is_err(), "{base:?}");
    }
}
