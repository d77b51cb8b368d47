//! What can be seen from outside: metrics and events.
//!
//! # Metrics
//!
//! With the feature `metrics`, through the [`metrics`](https://docs.rs/metrics) facade; [`METRICS`]
//! is the same table for programs:
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `tower_stash_requests_total` | counter | `layer`, `rule`, `outcome` | requests that a layer decided on |
//! | `tower_stash_backend_duration_seconds` | histogram | `backend`, `op`, `outcome` | how long each call to a `Metered` backend took, in seconds |
//! | `tower_stash_backend_errors_total` | counter | `backend`, `op`, `kind` | calls to a `Metered` backend that failed |
//!
//! Every label has few values, none of which a client can choose; there is never a path, a key or
//! an address in one:
//!
//! * `layer`: `rate_limit`, `concurrency_limit`, `session`, `idempotency`, `cache`.
//! * `rule`: the name that you gave the rule.
//! * `outcome` of a request: what the layer decided, in its own words; each
//!   layer's page lists them.
//! * `backend`: the label that you gave [`Metered`](crate::backend::Metered).
//! * `op`: `get`, `put`, `delete`, `touch`, `acquire`, `refund`, `reset`, `amend`, `slots_hold`,
//!   `slots_renew`, `slots_release`, `index_add`, `index_remove`, `index_members`, `publish`,
//!   `subscribe`.
//! * `outcome` of a call: `ok`, `error`, or `cancelled` if the caller dropped it.
//! * `kind`: `unavailable`, `timed_out`, `disconnected`, `rejected`, `misconfigured`, `corrupt`,
//!   `invalid_input`; see [`BackendErrorKind`](crate::backend::BackendErrorKind).
//!
//! # Events
//!
//! With the feature `tracing`: one event at level DEBUG for each decision, with the layer as target
//! (`tower_stash::rate_limit`) and the fields `rule` and `outcome`. One at level WARN, with the
//! target `tower_stash` and the field `place`, where something that was promised could not be kept:
//! because the backend did not answer, or the server does not say who its peers are; at most one in
//! ten seconds from each place. And one, only once, where proxies forward requests and none is
//! trusted, and where a rule counts one request twice.
mod call_meter;
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
mod decisions;
#[cfg(any(feature = "cache", feature = "idempotency"))]
mod span;
mod warn_site;

pub(crate) use self::call_meter::CallMeter;
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
pub(crate) use self::decisions::Decisions;
#[cfg(any(feature = "cache", feature = "idempotency"))]
pub(crate) use self::span::in_current_span;
pub(crate) use self::warn_site::{WarnOnce, WarnSite};

/// Every metric that this crate emits.
pub const METRICS: &[Metric] = &[REQUESTS, BACKEND_DURATION, BACKEND_ERRORS];

/// A metric, for dashboards and descriptions made by programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What is measured how.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub meaning: &'static str,
}

/// What is measured how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// How often something happened.
    Counter,
    /// How large each of many things was.
    Histogram,
}

const REQUESTS: Metric = Metric {
    name: "tower_stash_requests_total",
    kind: MetricKind::Counter,
    labels: &["layer", "rule", "outcome"],
    meaning: "requests that a layer decided on",
};

const BACKEND_DURATION: Metric = Metric {
    name: "tower_stash_backend_duration_seconds",
    kind: MetricKind::Histogram,
    labels: &["backend", "op", "outcome"],
    meaning: "how long each call to a `Metered` backend took, in seconds",
};

const BACKEND_ERRORS: Metric = Metric {
    name: "tower_stash_backend_errors_total",
    kind: MetricKind::Counter,
    labels: &["backend", "op", "kind"],
    meaning: "calls to a `Metered` backend that failed",
};

/// Who decided.
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerName {
    #[cfg(feature = "rate-limit")]
    RateLimit,
    #[cfg(feature = "rate-limit")]
    ConcurrencyLimit,
    #[cfg(feature = "session")]
    Session,
    #[cfg(feature = "idempotency")]
    Idempotency,
    #[cfg(feature = "cache")]
    Cache,
}

#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
impl LayerName {
    /// The layer as a metric label, and as it stands in a rejection.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            #[cfg(feature = "rate-limit")]
            Self::RateLimit => "rate_limit",
            #[cfg(feature = "rate-limit")]
            Self::ConcurrencyLimit => "concurrency_limit",
            #[cfg(feature = "session")]
            Self::Session => "session",
            #[cfg(feature = "idempotency")]
            Self::Idempotency => "idempotency",
            #[cfg(feature = "cache")]
            Self::Cache => "cache",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        collections::BTreeSet,
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    use metrics_util::{
        MetricKind as EmittedKind,
        debugging::{DebugValue, DebuggingRecorder},
    };

    use super::*;
    use crate::backend::{
        BackendErrorKind, Metered, Op,
        stub::{Stub, call},
    };
    use crate::testing::{Fault, FaultBackend};

    const LAYERS: [LayerName; 5] = [
        LayerName::RateLimit,
        LayerName::ConcurrencyLimit,
        LayerName::Session,
        LayerName::Idempotency,
        LayerName::Cache,
    ];

    fn record(layer: LayerName, rule: &str, outcome: &'static str) {
        Decisions::new(layer, &rule.into()).record(outcome);
    }

    /// A metric as it was emitted: kind, name, labels in order, value.
    pub(crate) type Emitted = (MetricKind, String, Vec<(String, String)>, DebugValue);

    /// What is emitted while this runs, on a clock that stands still unless advanced.
    pub(crate) fn emitted(run: impl Future<Output = ()>) -> Vec<Emitted> {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || paused_runtime().block_on(run));
        let metrics = snapshotter.snapshot().into_vec();
        metrics
            .into_iter()
            .map(|(key, _, _, value)| {
                let kind = match key.kind() {
                    EmittedKind::Counter => MetricKind::Counter,
                    EmittedKind::Histogram => MetricKind::Histogram,
                    EmittedKind::Gauge => panic!("there is no gauge"),
                };
                let labels = key
                    .key()
                    .labels()
                    .map(|label| (label.key().to_owned(), label.value().to_owned()));
                let name = key.key().name().to_owned();
                (kind, name, labels.collect(), value)
            })
            .collect()
    }

    /// The events of this crate while this runs, as lines, on a clock that
    /// stands still unless advanced.
    pub(crate) fn logged(run: impl Future<Output = ()>) -> Vec<String> {
        // With one subscriber alone, tracing asks only the thread that comes to an event first
        // whether anybody listens, and that may be another test's.
        let _another = tracing::Dispatch::new(tracing_subscriber::registry());
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .without_time()
            .with_ansi(false)
            .with_writer({
                let log = log.clone();
                move || log.clone()
            })
            .finish();
        tracing::subscriber::with_default(subscriber, || paused_runtime().block_on(run));
        let bytes = log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .filter(|line| line.contains("tower_stash"))
            .map(str::to_owned)
            .collect()
    }

    fn paused_runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime needs nothing but memory")
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_table_lists_exactly_what_is_emitted() {
        let emitted = emitted(async {
            for layer in LAYERS {
                record(layer, "login", "allowed");
            }
            let faulty = FaultBackend::new(Stub::default());
            let backend = Metered::new(faulty.clone(), "memory");
            for &op in Op::ALL {
                call(&backend, op).await.expect("no fault was asked for");
                for kind in BackendErrorKind::ALL {
                    faulty.script([Fault::Fail(kind)]);
                    call(&backend, op).await.expect_err("it fails");
                }
            }
        });
        let emitted: BTreeSet<_> = emitted
            .iter()
            .map(|(kind, name, labels, _)| {
                let labels: Vec<_> = labels.iter().map(|(label, _)| label.as_str()).collect();
                format!("{kind:?} {name} {labels:?}")
            })
            .collect();
        let listed: BTreeSet<_> = METRICS
            .iter()
            .map(|metric| format!("{:?} {} {:?}", metric.kind, metric.name, metric.labels))
            .collect();
        assert_eq!(emitted, listed);
    }

    #[test]
    fn the_table_in_the_docs_is_the_table_for_programs() {
        let documented: Vec<_> = docs()
            .filter(|line| line.starts_with("| `tower_stash"))
            .collect();
        let listed: Vec<_> = METRICS
            .iter()
            .map(|metric| {
                format!(
                    "| `{}` | {} | `{}` | {} |",
                    metric.name,
                    format!("{:?}", metric.kind).to_lowercase(),
                    metric.labels.join("`, `"),
                    metric.meaning
                )
            })
            .collect();
        assert_eq!(documented, listed);
    }

    #[test]
    fn the_docs_list_every_value_of_a_label_that_is_ours() {
        let ours = [
            ("layer", LAYERS.map(LayerName::as_str).to_vec()),
            ("op", Op::ALL.iter().map(|op| op.as_str()).collect()),
            (
                "kind",
                BackendErrorKind::ALL.map(BackendErrorKind::as_str).to_vec(),
            ),
        ];
        let docs: Vec<_> = docs().collect();
        let docs = docs.join(" ").replace("   ", " ");
        for (label, values) in ours {
            let line = format!("* `{label}`: `{}`", values.join("`, `"));
            assert!(docs.contains(&line), "{line} is not in the docs");
        }
    }

    /// The lines of the module's documentation.
    fn docs() -> impl Iterator<Item = &'static str> {
        include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//!"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
    }

    #[test]
    fn each_decision_counts_one_under_its_layer_rule_and_outcome() {
        let mut emitted = emitted(async {
            record(LayerName::RateLimit, "login", "denied");
            record(LayerName::RateLimit, "login", "denied");
            record(LayerName::RateLimit, "pages", "allowed");
        });
        emitted.sort_by(|a, b| a.2.cmp(&b.2));
        let counted = |layer: &str, rule: &str, outcome: &str, count| {
            let labels = [("layer", layer), ("rule", rule), ("outcome", outcome)]
                .map(|(label, value)| (label.to_owned(), value.to_owned()));
            let name = REQUESTS.name.to_owned();
            let value = DebugValue::Counter(count);
            (MetricKind::Counter, name, labels.to_vec(), value)
        };
        assert_eq!(
            emitted,
            [
                counted("rate_limit", "login", "denied", 2),
                counted("rate_limit", "pages", "allowed", 1),
            ]
        );
    }

    #[test]
    fn each_decision_is_one_debug_event_with_the_layer_as_target() {
        let log = logged(async {
            for layer in LAYERS {
                record(layer, "login", "denied");
            }
        });
        let lines = LAYERS.map(|layer| {
            let layer = layer.as_str();
            format!(r#"DEBUG tower_stash::{layer}: rule=login outcome="denied""#)
        });
        assert_eq!(log, lines);
    }
}
