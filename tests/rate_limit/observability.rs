//! What operators see of decisions.

use std::{
    convert::Infallible,
    future::ready,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, Response};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    testing::FaultBackend,
};

use crate::http_client::request;

/// Two admitted requests, one denied, one without a key, one while the backend is down.
async fn five_requests() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let quotas = [("minute", Quota::per_minute(2))];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas).unwrap();
    let layer = RateLimitLayer::new(backend.clone(), rule).unwrap();
    let service = layer.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let keyed = || {
        let mut keyed = request(Method::GET, "/");
        keyed
            .headers_mut()
            .insert("x-key", "s3cret".parse().unwrap());
        keyed
    };
    for request in [keyed(), keyed(), keyed(), request(Method::GET, "/")] {
        let Ok(_) = service.clone().oneshot(request).await;
    }
    backend.go_down();
    let Ok(_) = service.oneshot(keyed()).await;
}

/// Runs it an hour later than any other test, so that none of them has just given the same warning.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        future.await
    })
}

#[test]
fn every_decision_is_counted_under_its_rule_and_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || block_on(five_requests()));
    let mut counted: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| label.value().to_owned());
            (
                key.key().name().to_owned(),
                labels.collect::<Vec<_>>().join(" "),
                value,
            )
        })
        .collect();
    counted.sort_by(|a, b| a.1.cmp(&b.1));
    let row = |labels: &str, count| {
        let name = "tower_stash_requests_total".to_owned();
        (name, labels.to_owned(), DebugValue::Counter(count))
    };
    assert_eq!(
        counted,
        [
            row("rate_limit api allowed", 2),
            row("rate_limit api denied", 1),
            row("rate_limit api missing_key", 1),
            row("rate_limit api outage", 1),
        ]
    );
}

#[test]
fn an_outage_is_warned_of_and_nothing_a_client_sent_is_logged() {
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
    tracing::subscriber::with_default(subscriber, || block_on(five_requests()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains(" WARN tower_stash: could not "), "{log}");
    assert!(
        log.contains("DEBUG tower_stash::rate_limit: rule=api outcome=\"denied\""),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}
