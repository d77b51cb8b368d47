//! A bound on how long a call takes.

use std::{future::Future, time::Duration};

use super::{
    BackendError, Op, Result,
    wrapper::{Wrapper, impl_capabilities},
};

/// A backend whose every call ends within a time.
///
/// A call that has no answer by then is dropped and gives
/// [`TimedOut`](super::BackendErrorKind::TimedOut): it may have been applied, or be applied
/// shortly. Prefer a backend's own time-out where it has one, such as
/// `RedisBackend::with_command_timeout`: its connection then knows that nobody waits any more.
///
/// Of a subscription it bounds the subscribing, not the waiting for signals.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::backend::{MemoryBackend, Timeout};
///
/// let backend = Timeout::new(MemoryBackend::new(), Duration::from_millis(250));
/// ```
///
/// Calls need a tokio runtime with its timer.
#[derive(Clone, Debug)]
pub struct Timeout<B> {
    backend: B,
    after: Duration,
}

impl<B> Timeout<B> {
    /// This backend, given this long for every call.
    ///
    /// With a time of zero only calls that need not wait are answered.
    #[must_use]
    pub const fn new(backend: B, after: Duration) -> Self {
        Self { backend, after }
    }
}

impl<B: Sync> Wrapper for Timeout<B> {
    async fn around<T: Send, F: Future<Output = Result<T>> + Send>(
        &self,
        op: Op,
        call: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        tokio::time::timeout(self.after, call())
            .await
            .unwrap_or_else(|_| Err(BackendError::timed_out(op.attempt(), self.after)))
    }
}

impl_capabilities!(Timeout);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{
            BackendErrorKind,
            stub::{Stub, call},
        },
        clock::monotonic_now,
        testing::{Fault, FaultBackend},
    };

    const AFTER: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_in_time_whichever_it_is() {
        let faulty = FaultBackend::new(Stub::default());
        let backend = Timeout::new(faulty.clone(), AFTER);
        for &op in Op::ALL {
            faulty.script([Fault::Hang]);
            let began = monotonic_now();
            let error = call(&backend, op).await.expect_err("it hangs");
            assert_eq!(error.kind(), BackendErrorKind::TimedOut);
            assert_eq!(monotonic_now() - began, AFTER);
            assert_eq!(
                error.to_string(),
                format!("could not {}: no answer in 250 ms", op.attempt())
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_passed_on() {
        let faulty = FaultBackend::new(Stub::default());
        let backend = Timeout::new(faulty.clone(), AFTER);
        faulty.script([Fault::Delay(Duration::from_millis(249))]);
        call(&backend, Op::Put).await.expect("it is in time");
        faulty.script([Fault::Fail(BackendErrorKind::Corrupt)]);
        let error = call(&backend, Op::Get).await.expect_err("it is corrupt");
        assert_eq!(error.kind(), BackendErrorKind::Corrupt);
    }
}
