//! Metrics of a backend.

use std::future::Future;

use super::{
    Op, Result,
    wrapper::{Wrapper, impl_capabilities},
};
use crate::observe::CallMeter;

/// A backend whose calls are timed and whose errors are counted, in the metrics that
/// [`observe`](crate::observe) lists; without the feature `metrics` it does nothing.
///
/// Put it around other wrappers: it then shows what a layer sees, with time-outs and what an open
/// breaker refused. A call that its caller drops has the outcome `cancelled`.
///
/// ```
/// use tower_stash::backend::{Breaker, MemoryBackend, Metered};
///
/// let backend = Metered::new(Breaker::new(MemoryBackend::new()), "sessions");
/// ```
#[derive(Clone, Debug)]
pub struct Metered<B> {
    backend: B,
    label: &'static str,
}

impl<B> Metered<B> {
    /// This backend, whose metrics carry this as their label `backend`.
    #[must_use]
    pub const fn new(backend: B, label: &'static str) -> Self {
        Self { backend, label }
    }
}

impl<B: Sync> Wrapper for Metered<B> {
    async fn around<T: Send, F: Future<Output = Result<T>> + Send>(
        &self,
        op: Op,
        call: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        let meter = CallMeter::start(self.label, op);
        let answer = call().await;
        meter.stop(&answer);
        answer
    }
}

impl_capabilities!(Metered);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use metrics_util::debugging::DebugValue;

    use super::*;
    use crate::{
        backend::{
            BackendErrorKind, KeyValue,
            stub::{Stub, call},
        },
        observe::tests::emitted,
        testing::{Fault, FaultBackend},
    };

    const DELAY: Duration = Duration::from_millis(125);

    /// What a call emits that meets this fault and is dropped after a second, as
    /// `name label=value.. value`.
    fn metrics_of_a_call(op: Op, fault: Fault) -> Vec<String> {
        let emitted = emitted(async {
            let faulty = FaultBackend::new(Stub::default());
            faulty.script([fault]);
            let backend = Metered::new(faulty, "shop");
            let second = Duration::from_secs(1);
            drop(tokio::time::timeout(second, call(&backend, op)).await);
        });
        let mut lines: Vec<_> = emitted
            .iter()
            .map(|(_, name, labels, value)| {
                let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let value = match value {
                    DebugValue::Counter(count) => count.to_string(),
                    DebugValue::Histogram(values) => format!("{values:?}"),
                    DebugValue::Gauge(_) => panic!("there is no gauge"),
                };
                let name = name.trim_start_matches("tower_stash_backend_");
                format!("{name} {} {value}", labels.join(" "))
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_answered_call_is_timed_under_its_name() {
        for &op in Op::ALL {
            assert_eq!(
                metrics_of_a_call(op, Fault::Delay(DELAY)),
                [format!(
                    "duration_seconds backend=shop op={} outcome=ok [0.125]",
                    op.as_str()
                )]
            );
        }
    }

    #[test]
    fn a_failed_call_is_timed_and_counted_by_kind() {
        for kind in BackendErrorKind::ALL {
            let kind_label = kind.as_str();
            assert_eq!(
                metrics_of_a_call(Op::Put, Fault::Fail(kind)),
                [
                    "duration_seconds backend=shop op=put outcome=error [0.0]".into(),
                    format!("errors_total backend=shop op=put kind={kind_label} 1"),
                ]
            );
        }
    }

    #[test]
    fn a_dropped_call_is_timed_as_cancelled_and_is_no_error() {
        assert_eq!(
            metrics_of_a_call(Op::Acquire, Fault::Hang),
            ["duration_seconds backend=shop op=acquire outcome=cancelled [1.0]"]
        );
    }

    #[tokio::test]
    async fn answers_and_errors_are_passed_on() {
        let stub = Stub::default();
        let faulty = FaultBackend::new(stub.clone());
        let backend = Metered::new(faulty.clone(), "shop");
        for &op in Op::ALL {
            call(&backend, op).await.expect("no fault was asked for");
        }
        assert_eq!(stub.applied(), Op::ALL);
        assert_eq!(backend.clock_skew(), Stub::CLOCK_SKEW);

        faulty.script([Fault::Fail(BackendErrorKind::Corrupt)]);
        let error = call(&backend, Op::Get).await.expect_err("it is corrupt");
        assert_eq!(error.kind(), BackendErrorKind::Corrupt);
    }
}
