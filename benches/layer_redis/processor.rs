//! Processor time of this process.

use std::{fs, process::Command, time::Duration};

use crate::servers::Result;

/// How long this process has been on a processor, in all of its threads.
pub(crate) fn processor_time() -> Result<Duration> {
    scheduled().map_or_else(reported, Ok)
}

/// Linux tells nanoseconds a thread; none of ours ends while we measure.
fn scheduled() -> Option<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let statistics = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let nanoseconds = statistics.split(' ').next()?.parse().ok()?;
        total += Duration::from_nanos(nanoseconds);
    }
    Some(total)
}

/// Elsewhere `ps` tells it as `[[days-]hours:]minutes:seconds[.hundredths]`.
fn reported() -> Result<Duration> {
    let process = std::process::id().to_string();
    let output = Command::new("ps")
        .args(["-o", "time=", "-p", &process])
        .output()?;
    let mut seconds = 0.0;
    let mut unit = 1.0;
    for (part, next) in String::from_utf8(output.stdout)?
        .trim()
        .rsplit([':', '-'])
        .zip([60.0, 60.0, 24.0, 1.0])
    {
        seconds += part.parse::<f64>()? * unit;
        unit *= next;
    }
    Ok(Duration::try_from_secs_f64(seconds)?)
}
