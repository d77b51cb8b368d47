//! What operators see of decisions.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::ServiceExt as _;
use tower_stash::{
    concurrency_limit::ConcurrencyLimitRule,
    policy::{KeyExtractor as _, header},
};

use crate::{
    endless::{LEASE, endless, faulty, layer, pass},
    http_client::request,
};

/// One admitted request that outlasts an outage, one denied, one without a key, one in the outage.
async fn four_requests() {
    let (backend, clock) = faulty();
    let rule = ConcurrencyLimitRule::new("api", header("x-key").or_reject(), 1).unwrap();
    let service = endless(&layer(backend.clone(), rule));
    let keyed = || -> Request<Body> {
        let mut keyed = request(Method::GET, "/");
        keyed
            .headers_mut()
            .insert("x-key", "s3cret".parse().unwrap());
        keyed
    };
    let Ok(_running) = service.clone().oneshot(keyed()).await;
    for request in [keyed(), request(Method::GET, "/")] {
        let Ok(_) = service.clone().oneshot(request).await;
    }
    backend.go_down();
    let Ok(_) = service.oneshot(keyed()).await;
    pass(&clock, 2 * LEASE).await;
    backend.come_up();
    pass(&clock, LEASE).await;
}

/// Runs it so many hours later than other tests, so that none of them has just given the same warning.
fn block_on_after<T>(hours: u64, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::advance(Duration::from_secs(hours * 3_600)).await;
        future.await
    })
}

#[test]
fn every_decision_is_counted_under_its_rule_and_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || block_on_after(1, four_requests()));
    let mut counted: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| label.value().to_owned());
            let labels = labels.collect::<Vec<_>>().join(" ");
            (format!("{} {labels}", key.key().name()), value)
        })
        .collect();
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    let row = |outcome: &str| {
        let name = format!("tower_stash_requests_total concurrency_limit api {outcome}");
        (name, DebugValue::Counter(1))
    };
    let outcomes = ["allowed", "denied", "missing_key", "outage"];
    assert_eq!(counted, outcomes.map(row));
}

#[test]
fn outages_and_slots_that_ran_out_are_warned_of_and_nothing_a_client_sent_is_logged() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // With one subscriber alone, tracing asks only the thread that comes to an event first whether
    // anybody listens, and that may be another test's.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || block_on_after(2, four_requests()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in [
        r#"DEBUG tower_stash::concurrency_limit: rule=api outcome="denied""#,
        r#"place="concurrency_limit: hold""#,
        r#"place="concurrency_limit: renew""#,
        r#"place="concurrency_limit: release""#,
        r#"a slot ran out while its request runs; more may run than the limit place="concurrency_limit: overdue""#,
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    assert!(!log.contains("s3cret"), "{log}");
}
