//! `RateLimitLayer` over memory against the service that it wraps, and against `tower_governor`.
//!
//! `cargo bench --bench layer_memory --all-features` prints each case's time and what it is to the
//! bare service's in the same run; then how fast the layer is to
//! `tower_governor`'s, round by round.

use std::{
    convert::Infallible,
    error::Error,
    fs,
    future::{Future as _, Ready, ready},
    hint::black_box,
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use http::{Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

mod peer;
#[path = "../layer_redis/rounds.rs"]
mod rounds;
#[path = "../support/mod.rs"]
mod support;

type BoxError = Box<dyn Error>;

fn main() -> Result<(), BoxError> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&directory)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();

    let mut group = criterion.benchmark_group(GROUP);
    measure(&mut group, BARE, service_fn(inner));
    for (case, quotas) in cases() {
        let rule = RateLimitRule::new("rule", header("x-client").or_reject(), quotas)?;
        let routes = Routes::new().get(if case == UNMATCHED { "/other" } else { PATH }, rule);
        let layer = RateLimitLayer::new(MemoryBackend::new(), routes)?;
        measure(&mut group, case, layer.layer(service_fn(inner)));
    }
    group.finish();
    criterion.final_summary();
    if support::is_asked_for() {
        print_ratios(&directory);
        peer::compare()?;
    }
    Ok(())
}

type Quotas = Vec<(&'static str, Quota)>;

/// Limits that are not reached, except in the last case.
fn cases() -> [(&'static str, Quotas); 7] {
    let window = Duration::from_secs(1);
    let plenty = 1_000_000_000;
    let fixed = Quota::fixed(plenty, window);
    let counter = Quota::counter(plenty, window);
    // Its window is so short that the log stays short, too.
    let sliding = Quota::log(10_000, Duration::from_millis(1));
    [
        (UNMATCHED, vec![("a", fixed)]),
        ("fixed", vec![("a", fixed)]),
        (
            "fixed, aligned",
            vec![("a", Quota::fixed_aligned(plenty, window))],
        ),
        ("counter", vec![("a", counter)]),
        ("sliding, 1 ms of hits", vec![("a", sliding)]),
        (
            "three limits",
            vec![("a", fixed), ("b", counter), ("c", sliding)],
        ),
        (
            "denied",
            vec![("a", Quota::fixed(1, Duration::from_secs(3_600)))],
        ),
    ]
}

fn inner(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

/// Measures from the call to the response; making the request is not part of it.
fn measure<S>(group: &mut BenchmarkGroup<'_, WallTime>, case: &str, mut service: S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    group.bench_function(case, |bencher| {
        bencher.iter_batched(
            || {
                let request = Request::get(PATH).header("x-client", "203.0.113.7");
                request.body(Body::empty()).unwrap_or_default()
            },
            |request| {
                let mut response = pin!(service.call(black_box(request)));
                match response
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(Ok(response)) => response,
                    Poll::Pending => unreachable!("memory never waits"),
                }
            },
            BatchSize::SmallInput,
        );
    });
}

fn print_ratios(directory: &Path) {
    let Some(bare) = median(directory, BARE) else {
        return;
    };
    support::heading(&[&"over memory", &"ns a request", &"to the bare service"]);
    for case in [BARE].into_iter().chain(cases().map(|(case, _)| case)) {
        if let Some(median) = median(directory, case) {
            let ratio = format!("{:.1}", median / bare);
            support::row(&[&case, &format!("{median:.0}"), &ratio]);
        }
    }
}

/// Nanoseconds of a case, from the file in which criterion leaves them.
fn median(directory: &Path, case: &str) -> Option<f64> {
    let case: PathBuf = [GROUP, case, "new", "estimates.json"].iter().collect();
    let estimates = fs::read(directory.join(case)).ok()?;
    let estimates: serde_json::Value = serde_json::from_slice(&estimates).ok()?;
    estimates.pointer("/median/point_estimate")?.as_f64()
}

const GROUP: &str = "layer over memory";
const BARE: &str = "bare service";
const UNMATCHED: &str = "no rule matches";
const PATH: &str = "/limited";
