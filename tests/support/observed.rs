//! What operators see while something runs.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::LAYER;

/// How often each rule of [`LAYER`] had each outcome while this ran, in the
/// alphabet's order: `"api allowed"`.
pub(crate) fn outcomes(run: impl Future<Output = ()>) -> Vec<(String, u64)> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || paused().block_on(run));
    let layer = format!("{LAYER} ");
    let emitted = snapshotter.snapshot().into_vec().into_iter();
    let mut counted: Vec<_> = emitted
        .map(|(key, _, _, value)| {
            assert_eq!(key.key().name(), "tower_stash_requests_total");
            let labels = key.key().labels().map(|label| label.value().to_owned());
            let labels = labels.collect::<Vec<_>>().join(" ");
            let outcome = labels.strip_prefix(&layer).unwrap().to_owned();
            let DebugValue::Counter(count) = value else {
                panic!("no counter: {value:?}")
            };
            (outcome, count)
        })
        .collect();
    counted.sort();
    counted
}

/// These counts as [`outcomes`] has them.
pub(crate) fn counts<const N: usize>(counts: [(&str, u64); N]) -> [(String, u64); N] {
    counts.map(|(outcome, count)| (outcome.to_owned(), count))
}

/// All that is logged while this runs.
pub(crate) fn logged(run: impl Future<Output = ()>) -> String {
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
    // An hour later than any other test, so that none of them has just given the same warning.
    let later = async {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        run.await;
    };
    tracing::subscriber::with_default(subscriber, || paused().block_on(later));
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

/// A runtime whose time is the test's.
pub(crate) fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

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
