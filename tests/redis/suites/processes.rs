//! Two processes, one limit.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use libtest_mimic::Trial;
use tower_stash::{
    backend::{Acquire, BackendError, Limit, MINUTE, Quota, Quotas as _, RedisBackend},
    key::{Key, KeyParts},
};

use super::connect;
use crate::{
    servers::{Result, Servers, standalone::Server},
    stress::stressed,
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "processes":
        Standalone::two_processes_admit_exactly_the_limit_every_time
    )
}

/// P12, between processes.
async fn two_processes_admit_exactly_the_limit_every_time(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let namespace = connect(server.url().into()).await?.namespace().to_owned();
    let address = format!("{} {namespace}", server.url());
    let rounds = stressed(2 * QUOTAS);
    let test = move || {
        let mut hitters = [Hitter::start(&address)?, Hitter::start(&address)?];
        for round in 0..rounds {
            for hitter in &mut hitters {
                hitter.order(round)?;
            }
            let mut admitted = 0;
            for hitter in &mut hitters {
                admitted += hitter.admitted()?;
            }
            assert_eq!(admitted, LIMIT, "round {round}: {:?}", quota(round));
        }
        eprintln!("processes: {rounds} rounds of exactly {LIMIT}");
        Ok(())
    };
    tokio::task::spawn_blocking(test).await?
}

/// What is asked for in this round.
fn quota(round: u32) -> Quota {
    match round % QUOTAS {
        0 => Quota::sliding(LIMIT, MINUTE),
        1 => Quota::counter(LIMIT, 600 * MINUTE),
        2 => Quota::fixed(LIMIT, MINUTE),
        3 => Quota::buckets(LIMIT, MINUTE, 10),
        _ => Quota::token_bucket(LIMIT, 600 * MINUTE),
    }
}

/// Another process that asks as often as it can.
struct Hitter {
    process: Child,
    orders: ChildStdin,
    counts: BufReader<ChildStdout>,
}

impl Hitter {
    fn start(address: &str) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .env(HITTER, address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (orders, counts) = pipes.ok_or("no pipes")?;
        Ok(Self {
            process,
            orders,
            counts: BufReader::new(counts),
        })
    }

    fn order(&mut self, round: u32) -> Result<()> {
        writeln!(self.orders, "{round}")?;
        Ok(())
    }

    fn admitted(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.counts.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Hitter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// If this process was started to ask for rounds, does that until there are no more, and says so.
pub(crate) fn hit_if_asked() -> bool {
    let Ok(address) = env::var(HITTER) else {
        return false;
    };
    let (url, namespace) = address.split_once(' ').expect("a URL and a namespace");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let backend = runtime.block_on(RedisBackend::connect(url));
    let backend = backend.expect("a connection");
    let backend = backend.with_namespace(namespace).expect("a namespace");
    for round in stdin().lines() {
        let round = round.expect("a line").parse().expect("a number");
        let admitted = runtime.block_on(hit(&backend, round));
        println!("{}", admitted.expect("Redis answers"));
    }
    true
}

/// How much is admitted of a round.
async fn hit(backend: &RedisBackend, round: u32) -> Result<u64> {
    let subject = Key::custom("processes", &KeyParts::new().with(u64::from(round)));
    let request = Acquire::new(subject, [Limit::new("limit", quota(round))?]);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (backend, request) = (backend.clone(), request.clone());
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..20 {
                    admitted += u64::from(backend.acquire(&request).await?.admitted);
                }
                Ok::<_, BackendError>(admitted)
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await??;
    }
    Ok(admitted)
}

/// The variable that makes this program ask for rounds instead of running tests.
const HITTER: &str = "TOWER_STASH_TEST_HITTER";

/// Less than both ask for together, more than one alone may get.
const LIMIT: u64 = 197;

/// How many kinds of quota there are.
const QUOTAS: u32 = 5;
