//! A layer whose handler, clock and backend are in the test's hands.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};
use tower_stash::{
    backend::{MemoryBackend, Version},
    idempotency::{IdempotencyRule, Inspection, RecordError, RecordErrorKind, Unrecorded},
    policy::SubjectId,
    testing::{FaultBackend, ManualClock},
};

use crate::fixture::{self, Answer, Bed};

pub(super) const LEASE: Duration = Duration::from_secs(10);

/// Shorter than a lease, by more than a version may be later than its clock.
pub(super) const ALMOST: Duration = Duration::from_millis(9_999);

pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);
pub(super) const KEY: &str = "k-4711";

/// A layer whose handler answers when it is let go, over a backend whose clock and faults are the
/// test's.
pub(super) struct Office {
    pub(super) bed: Bed,
    pub(super) backend: FaultBackend<MemoryBackend>,
    pub(super) clock: ManualClock,
    pub(super) gate: Arc<Semaphore>,
}

/// A request that was sent.
pub(super) struct Sent(pub(super) JoinHandle<Answer>);

impl Sent {
    pub(super) async fn answer(self) -> Answer {
        self.0.await.unwrap()
    }
}

pub(super) fn never() -> IdempotencyRule {
    fixture::never(Unrecorded::Withhold)
}

/// Over memory.
pub(super) fn office(rule: IdempotencyRule, answer: fn() -> Response) -> Office {
    let clock = ManualClock::new();
    let memory = MemoryBackend::new().with_clock(clock.clone());
    over(FaultBackend::new(memory), clock, rule, answer)
}

/// Over what another office has, say.
pub(super) fn over(
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

pub(super) fn made() -> Response {
    (http::StatusCode::CREATED, "made").into_response()
}

pub(super) fn fails() -> Response {
    http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

pub(super) fn panics() -> Response {
    panic!("after its effects")
}

pub(super) fn nobody() -> SubjectId {
    SubjectId::shared()
}

pub(super) fn paid() -> http::Response<Bytes> {
    http::Response::builder()
        .status(202)
        .header("x-receipt", "7")
        .body(Bytes::from("paid"))
        .unwrap()
}

impl Office {
    /// Sends a request, and comes back when its handler has begun.
    pub(super) async fn begin(&self) -> Sent {
        let (bed, runs) = (self.bed.clone(), self.bed.runs());
        let sent = tokio::spawn(async move { bed.post(KEY, "1 apple").await });
        while self.bed.runs() == runs {
            sleep(Duration::from_millis(1)).await;
        }
        Sent(sent)
    }

    /// Sends a request, and lets its handler answer.
    pub(super) async fn run(&self) -> Answer {
        self.gate.add_permits(1);
        self.bed.post(KEY, "1 apple").await
    }

    /// A request whose handler is still there, and whose lease is over.
    pub(super) async fn orphan(&self) -> Sent {
        let sent = self.begin().await;
        // A version is later than its clock where the clock stands still.
        self.clock.advance(LEASE + Duration::from_millis(1));
        sent
    }

    pub(super) async fn inspect(&self) -> Option<Inspection> {
        let handle = self.bed.layer.handle();
        handle.inspect(&nobody(), KEY).await.unwrap()
    }

    pub(super) async fn found(&self) -> Inspection {
        self.inspect().await.unwrap()
    }

    pub(super) async fn forget(&self, version: Version) -> Result<bool, RecordError> {
        let handle = self.bed.layer.handle();
        handle.forget(&nobody(), KEY, version).await
    }

    pub(super) async fn settle(&self, version: Version) -> Result<bool, RecordError> {
        let handle = self.bed.layer.handle();
        handle.settle(&nobody(), KEY, version, paid()).await
    }

    /// Refuses to settle what is there, and leaves it as it is.
    pub(super) async fn refuses_to_settle(&self) -> RecordErrorKind {
        let version = self.found().await.version();
        let kind = self.settle(version).await.unwrap_err().kind();
        assert_eq!(self.found().await.version(), version);
        kind
    }

    /// Waits until the script is over before it asks.
    pub(super) async fn inspect_quietly(&self) -> Option<Inspection> {
        if self.backend.total_calls() < 2 {
            return None;
        }
        self.inspect().await
    }
}
