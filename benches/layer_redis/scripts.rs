//! What Redis itself spends on a call, by its own account: microseconds of `INFO commandstats`.

use std::{sync::Arc, time::Duration};

use fred::types::Value;
use futures_util::future::try_join_all;
use tower_stash::{
    backend::{Acquire, Ban, Limit, MINUTE, Quota, Quotas as _, Strikes},
    key::{Key, KeyParts},
};

use crate::{
    app::App,
    rounds::Rounds,
    servers::{Result, standalone::Server},
    support,
};

/// What is measured against the first two of these.
pub(crate) struct Cost {
    case: &'static str,
    /// The most that it should be to the baseline.
    target: &'static str,
    /// Microseconds a call, round by round.
    micros: Vec<f64>,
}

/// Measures every case in every round.
pub(crate) async fn measure(server: &Server, app: &App, rounds: usize) -> Result<Vec<Cost>> {
    let incr = server.call(&["SCRIPT", "LOAD", INCR]).await?.to_string();
    let mut plain = Cost::new("INCR, a command", "");
    let mut baseline = Cost::new("INCR + PEXPIRE in a script", "");
    let mut costs: Vec<(Cost, Arc<[Limit]>)> = Vec::new();
    for (case, target, quotas) in cases() {
        let limits = quotas
            .into_iter()
            .enumerate()
            .map(|(number, quota)| Limit::new(number.to_string(), quota));
        costs.push((Cost::new(case, target), limits.collect::<Result<_, _>>()?));
    }
    // The first round only fills the counters.
    for round in 0..=rounds {
        eprint!("\rscripts: round {round} of {rounds}");
        let micros = time(server, "incr", |subject| incr_alone(app, subject)).await?;
        plain.note(round, micros);
        let micros = time(server, "evalsha", |subject| count_up(app, &incr, subject)).await?;
        baseline.note(round, micros);
        for (cost, limits) in &mut costs {
            let call = |subject| acquire(app, cost.case, limits, subject);
            let micros = time(server, "evalsha", call).await?;
            cost.note(round, micros);
        }
    }
    eprintln!();
    Ok([plain, baseline]
        .into_iter()
        .chain(costs.into_iter().map(|(cost, _)| cost))
        .collect())
}

/// A call, the most that it should be to the baseline, and what it asks.
type Case = (&'static str, &'static str, Vec<Quota>);

fn cases() -> [Case; 11] {
    let hour = Duration::from_secs(3_600);
    let fixed = |minutes: u64| Quota::fixed(1_000_000, Duration::from_secs(60 * minutes));
    let counter = Quota::counter(1_000_000, hour);
    let bucket = Quota::token_bucket(1_000_000, hour);
    let log = Quota::log(10_000, hour);
    // Its hits leave the window while others come.
    let busy_log = Quota::log(10_000, Duration::from_millis(50));
    [
        ("fixed", "3", vec![fixed(60)]),
        ("counter", "3", vec![counter]),
        ("token bucket", "3", vec![bucket]),
        (
            "10 buckets",
            "10",
            vec![Quota::buckets(1_000_000, hour, 10)],
        ),
        ("20 buckets", "", vec![Quota::sliding(1_000_000, hour)]),
        ("log, not full", "4", vec![log]),
        (
            "log, denied at 100 hits",
            "4",
            vec![Quota::sliding(100, hour)],
        ),
        ("log, in the steady state", "4", vec![busy_log]),
        (
            "three fixed limits",
            "4 × fixed",
            vec![fixed(1), fixed(2), fixed(3)],
        ),
        (
            "fixed + counter + log",
            "4 × one",
            vec![fixed(60), counter, log],
        ),
        (WITH_BAN, "", vec![fixed(61)]),
    ]
}

/// Microseconds of a command, over many calls for some subjects.
async fn time<F: Future<Output = Result<()>>>(
    server: &Server,
    command: &str,
    call: impl Fn(u64) -> F,
) -> Result<f64> {
    server.call(&["CONFIG", "RESETSTAT"]).await?;
    for _ in 0..CALLS_EACH {
        try_join_all((0..SUBJECTS).map(&call)).await?;
    }
    let stats = server.call(&["INFO", "commandstats"]).await?;
    let stats = stats.field(&format!("cmdstat_{command}"));
    let stats = stats.ok_or("the command was not run")?;
    let micros = stats
        .split(',')
        .find_map(|field| field.strip_prefix("usec_per_call="));
    Ok(micros
        .ok_or("INFO commandstats has no usec_per_call")?
        .parse()?)
}

async fn incr_alone(app: &App, subject: u64) -> Result<()> {
    let key = format!("incr:{{client-of-the-bench-{subject}}}:alone");
    let sent = app.send("INCR", &key, vec![key.clone().into()]).await;
    sent.map(drop).map_err(|status| status.to_string().into())
}

async fn count_up(app: &App, digest: &str, subject: u64) -> Result<()> {
    let key = format!("incr:{{client-of-the-bench-{subject}}}:f60000.0123456789abcdef");
    let args: Vec<Value> = vec![digest.into(), 1.into(), key.clone().into(), 60_000.into()];
    let sent = app.send("EVALSHA", &key, args).await;
    sent.map(drop).map_err(|status| status.to_string().into())
}

async fn acquire(app: &App, case: &str, limits: &Arc<[Limit]>, subject: u64) -> Result<()> {
    let subject = Key::custom(case, &KeyParts::new().with(subject));
    let mut request = Acquire::new(subject, Arc::clone(limits));
    if case == WITH_BAN {
        let ban = Ban::after(100).within(MINUTE).lasting(MINUTE);
        request = request
            .with_strikes(Strikes::new(case, ban)?)
            .with_resizing();
    }
    app.backend().acquire(&request).await?;
    Ok(())
}

pub(crate) fn print(costs: &[Cost]) {
    let [plain, baseline, ..] = costs else {
        return;
    };
    support::heading(&[
        &"a call, in Redis itself",
        &"µs",
        &"to INCR",
        &"to INCR + PEXPIRE",
        &"to be at most",
    ]);
    for cost in costs {
        let micros = Rounds::new(cost.micros.iter().copied()).median();
        let to_plain = Rounds::ratio(&cost.micros, &plain.micros);
        let to_script = Rounds::ratio(&cost.micros, &baseline.micros);
        support::row(&[
            &cost.case,
            &format!("{micros:.1}"),
            &to_plain,
            &to_script,
            &cost.target,
        ]);
    }
}

impl Cost {
    fn new(case: &'static str, target: &'static str) -> Self {
        Self {
            case,
            target,
            micros: Vec::new(),
        }
    }

    fn note(&mut self, round: usize, micros: f64) {
        if round > 0 {
            self.micros.push(micros);
        }
    }
}

const WITH_BAN: &str = "fixed, may be banned and resized";
const SUBJECTS: u64 = 20;
const CALLS_EACH: u64 = 20;

const INCR: &str = "local n = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return n";
