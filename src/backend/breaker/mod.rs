//! Failing at once while the backend is down.

mod circuit;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use self::circuit::{Circuit, Permit, Settings, Verdict};
use super::{
    BackendError, BackendErrorKind, Op, Result,
    wrapper::{Wrapper, impl_capabilities},
};
use crate::clock::monotonic_now;

/// A backend that is left alone while it is down, so that an outage costs its callers no waiting.
///
/// After [5](Self::with_failure_threshold) outages in a row ([`BackendError::is_outage`]) it opens.
/// What is [`Rejected`](BackendErrorKind::Rejected) was answered, and at once, so it counts for none.
/// Open, calls fail at once with [`Unavailable`](BackendErrorKind::Unavailable), and nothing is applied.
/// After [1 s](Self::with_probe_after) one call goes through as a probe, while the others still
/// fail at once. If the probe is answered the breaker closes; if the outage goes on, so does the
/// wait. Calls that began before the breaker last opened or closed have no say.
///
/// What hangs is no failure: give the backend a time-out, *inside* the breaker, so that it sees the
/// call fail. A call that its caller drops counts for nothing; if it was the probe, the next call
/// is one. Clones share one breaker.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::backend::{Breaker, MemoryBackend, Timeout};
///
/// let backend = Timeout::new(MemoryBackend::new(), Duration::from_millis(100));
/// let backend = Breaker::new(backend).with_failure_threshold(10);
/// assert!(!backend.is_open());
/// ```
#[derive(Clone, Debug)]
pub struct Breaker<B> {
    backend: B,
    settings: Settings,
    circuit: Arc<SharedCircuit>,
}

impl<B> Breaker<B> {
    /// This backend behind a closed breaker.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self::with_settings(backend, Settings::default())
    }

    /// Opens after this many outages in a row, 5 if not said; zero means one.
    ///
    /// The result is a closed breaker of its own, which no earlier clone shares.
    #[must_use]
    pub fn with_failure_threshold(self, failures: u32) -> Self {
        let settings = Settings {
            failures,
            ..self.settings
        };
        Self::with_settings(self.backend, settings)
    }

    /// Lets a probe through after this long, 1 s if not said.
    ///
    /// The result is a closed breaker of its own, which no earlier clone shares.
    #[must_use]
    pub fn with_probe_after(self, probe_after: Duration) -> Self {
        let settings = Settings {
            probe_after,
            ..self.settings
        };
        Self::with_settings(self.backend, settings)
    }

    fn with_settings(backend: B, settings: Settings) -> Self {
        Self {
            backend,
            settings,
            circuit: Arc::new(SharedCircuit::new(settings)),
        }
    }

    /// Whether calls fail at once; it is so while a probe is under way as well.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.circuit.update(|circuit| circuit.is_open())
    }
}

impl<B: Sync> Wrapper for Breaker<B> {
    async fn around<T: Send, F: Future<Output = Result<T>> + Send>(
        &self,
        _op: Op,
        call: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        let Some(attempt) = Attempt::begin(&self.circuit) else {
            return Err(BackendError::new(
                BackendErrorKind::Unavailable,
                "reach the backend: its breaker is open after repeated failures",
            ));
        };
        let answer = call().await;
        attempt.end(Verdict::of(&answer));
        answer
    }
}

impl_capabilities!(Breaker);

/// A call that was let through, which tells the circuit what became of it, even when it is dropped.
struct Attempt<'a> {
    circuit: &'a SharedCircuit,
    permit: Permit,
    verdict: Verdict,
}

impl<'a> Attempt<'a> {
    fn begin(circuit: &'a SharedCircuit) -> Option<Self> {
        Some(Self {
            circuit,
            permit: circuit.admit()?,
            verdict: Verdict::Unknown,
        })
    }

    fn end(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.circuit.settle(self.permit, self.verdict);
    }
}

/// A circuit for all clones of a breaker; as long as nothing fails, nobody takes its lock.
#[derive(Debug)]
struct SharedCircuit {
    /// The generation of the circuit while it is closed and without a failure; else [`ASK`].
    spotless: AtomicU64,
    circuit: Mutex<Circuit>,
}

impl SharedCircuit {
    fn new(settings: Settings) -> Self {
        let circuit = Circuit::new(settings);
        Self {
            spotless: AtomicU64::new(circuit.spotless().unwrap_or(ASK)),
            circuit: Mutex::new(circuit),
        }
    }

    fn admit(&self) -> Option<Permit> {
        match self.spotless.load(Ordering::Acquire) {
            ASK => self.update(|circuit| circuit.admit(monotonic_now())),
            generation => Some(Permit { generation }),
        }
    }

    fn settle(&self, permit: Permit, verdict: Verdict) {
        let nothing_to_clear = self.spotless.load(Ordering::Acquire) == permit.generation;
        if nothing_to_clear && verdict != Verdict::Outage {
            return;
        }
        self.update(|circuit| circuit.settle(permit, verdict, monotonic_now()));
    }

    fn update<T>(&self, update: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let result = update(&mut circuit);
        self.spotless
            .store(circuit.spotless().unwrap_or(ASK), Ordering::Release);
        result
    }
}

/// No generation: the circuit has to be asked.
const ASK: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;
    use crate::{
        backend::{
            KeyValue,
            stub::{Stub, call},
        },
        testing::{Fault, FaultBackend},
    };

    const OUTAGE: Fault = Fault::Fail(BackendErrorKind::TimedOut);
    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker that opens at the second failure, and the faulty backend behind it.
    fn breaker() -> (Breaker<FaultBackend<Stub>>, FaultBackend<Stub>) {
        let faulty = FaultBackend::new(Stub::default());
        (
            Breaker::new(faulty.clone()).with_failure_threshold(2),
            faulty,
        )
    }

    /// A breaker that opened just now.
    async fn open_breaker() -> (Breaker<FaultBackend<Stub>>, FaultBackend<Stub>) {
        let (breaker, faulty) = breaker();
        faulty.script([OUTAGE; 2]);
        for _ in 0..2 {
            call(&breaker, Op::Get).await.expect_err("the outage");
        }
        assert!(breaker.is_open());
        (breaker, faulty)
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_fails_every_call_at_once_without_making_it() {
        let (breaker, faulty) = open_breaker().await;
        let before = faulty.total_calls();
        for &op in Op::ALL {
            let error = call(&breaker, op).await.expect_err("it is open");
            assert_eq!(error.kind(), BackendErrorKind::Unavailable);
        }
        assert_eq!(faulty.total_calls(), before);
        assert_eq!(breaker.clock_skew(), Stub::CLOCK_SKEW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_breaker_passes_every_call_and_every_error_on() {
        let (breaker, faulty) = breaker();
        for &op in Op::ALL {
            faulty.script([Fault::None, OUTAGE, Fault::None]);
            call(&breaker, op).await.expect("it is closed");
            let error = call(&breaker, op).await.expect_err("the outage");
            assert_eq!(error.kind(), BackendErrorKind::TimedOut);
            call(&breaker, op).await.expect("one failure opens nothing");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_five_failures_and_probes_after_a_second_by_default() {
        let faulty = FaultBackend::new(Stub::default());
        let breaker = Breaker::new(faulty.clone());
        faulty.script([OUTAGE; 5]);
        for _ in 0..5 {
            assert!(!breaker.is_open());
            call(&breaker, Op::Get).await.expect_err("the outage");
        }
        assert!(breaker.is_open());
        tokio::time::advance(Duration::from_millis(999)).await;
        call(&breaker, Op::Get).await.expect_err("too early");
        tokio::time::advance(Duration::from_millis(1)).await;
        call(&breaker, Op::Get).await.expect("the probe");
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn other_calls_fail_while_the_probe_is_under_way() {
        let (breaker, faulty) = open_breaker().await;
        let before = faulty.total_calls();
        tokio::time::advance(SECOND).await;
        faulty.script([Fault::Delay(SECOND)]);
        {
            let mut probe = pin!(call(&breaker, Op::Get));
            assert!(poll!(probe.as_mut()).is_pending());
            call(&breaker, Op::Put).await.expect_err("it is open");
            assert_eq!(faulty.total_calls(), before + 1);
            probe.await.expect("the probe is answered");
        }
        assert!(!breaker.is_open());
        call(&breaker, Op::Put).await.expect("it is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_probe_leaves_the_next_call_to_probe() {
        let (breaker, faulty) = open_breaker().await;
        tokio::time::advance(SECOND).await;
        faulty.script([Fault::Hang]);
        let dropped = tokio::time::timeout(SECOND, call(&breaker, Op::Get)).await;
        assert!(dropped.is_err());
        assert!(breaker.is_open());
        call(&breaker, Op::Get).await.expect("the next probe");
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_does_not_close_what_opened_meanwhile() {
        let (breaker, faulty) = breaker();
        faulty.script([Fault::Delay(SECOND / 2), OUTAGE, OUTAGE]);
        let mut late = pin!(call(&breaker, Op::Get));
        assert!(poll!(late.as_mut()).is_pending());
        for _ in 0..2 {
            call(&breaker, Op::Get).await.expect_err("the outage");
        }
        late.await.expect("it is answered");
        assert!(breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn clones_share_one_breaker() {
        let (breaker, faulty) = breaker();
        let clone = breaker.clone();
        faulty.script([OUTAGE; 2]);
        call(&breaker, Op::Get).await.expect_err("the outage");
        call(&clone, Op::Get).await.expect_err("the outage");
        assert!(breaker.is_open());
        assert!(clone.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn both_settings_hold_in_either_order() {
        for failures_first in [true, false] {
            let faulty = FaultBackend::new(Stub::default());
            let breaker = Breaker::new(faulty.clone());
            let breaker = if failures_first {
                breaker
                    .with_failure_threshold(1)
                    .with_probe_after(3 * SECOND)
            } else {
                breaker
                    .with_probe_after(3 * SECOND)
                    .with_failure_threshold(1)
            };
            faulty.script([OUTAGE]);
            call(&breaker, Op::Get).await.expect_err("the outage");
            tokio::time::advance(2 * SECOND).await;
            call(&breaker, Op::Get).await.expect_err("too early");
            tokio::time::advance(SECOND).await;
            call(&breaker, Op::Get).await.expect("the probe");
        }
    }
}
