//! Measuring the calls to a backend.

use crate::backend::{Op, Result};
#[cfg(feature = "metrics")]
use crate::clock::{Monotonic, monotonic_now};

/// Measures one call to a backend; when dropped before
/// [`stop`](Self::stop), one that was cancelled.
#[cfg(feature = "metrics")]
pub(crate) struct CallMeter {
    backend: &'static str,
    op: Op,
    started: Monotonic,
    outcome: &'static str,
}

#[cfg(feature = "metrics")]
impl CallMeter {
    pub(crate) fn start(backend: &'static str, op: Op) -> Self {
        Self {
            backend,
            op,
            started: monotonic_now(),
            outcome: "cancelled",
        }
    }

    pub(crate) fn stop<T>(mut self, answer: &Result<T>) {
        let Err(error) = answer else {
            self.outcome = "ok";
            return;
        };
        self.outcome = "error";
        metrics::counter!(
            super::BACKEND_ERRORS.name,
            "backend" => self.backend,
            "op" => self.op.as_str(),
            "kind" => error.kind().as_str()
        )
        .increment(1);
    }
}

#[cfg(feature = "metrics")]
impl Drop for CallMeter {
    fn drop(&mut self) {
        metrics::histogram!(
            super::BACKEND_DURATION.name,
            "backend" => self.backend,
            "op" => self.op.as_str(),
            "outcome" => self.outcome
        )
        .record(monotonic_now().saturating_duration_since(self.started));
    }
}

/// Measures nothing.
#[cfg(not(feature = "metrics"))]
pub(crate) struct CallMeter;

#[cfg(not(feature = "metrics"))]
impl CallMeter {
    pub(crate) fn start(_backend: &'static str, _op: Op) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as the meter that measures")]
    pub(crate) fn stop<T>(self, _answer: &Result<T>) {}
}
