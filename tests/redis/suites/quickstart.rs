//! The quickstart as people run it: real processes, real HTTP.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use libtest_mimic::Trial;

use crate::{
    servers::{Result, Servers, eventually, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "quickstart":
        Standalone::two_processes_on_one_redis_share_one_limit
        Standalone::health_tells_an_outage_and_its_end
        Standalone::without_redis_it_counts_in_memory_and_stops_on_ctrl_c
    )
}

/// A running quickstart, killed when the test ends.
struct Quickstart {
    process: Child,
    address: String,
    /// Held open, as a terminal is.
    _output: BufReader<ChildStdout>,
}

impl Quickstart {
    /// Starts it on a free port and waits until it listens.
    fn start(redis: Option<&Server>) -> Result<Self> {
        let mut command = Command::new(program()?);
        command.env("PORT", "0").stdout(Stdio::piped());
        match redis {
            Some(redis) => command.env("REDIS_URL", redis.url()),
            None => command.env_remove("REDIS_URL"),
        };
        let mut process = command.spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut output = BufReader::new(output);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let address = first
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(','))
            .ok_or_else(|| format!("no address in {first:?}"))?;
        Ok(Self {
            address: address.0.to_owned(),
            process,
            _output: output,
        })
    }

    async fn get(&self, path: &str) -> Result<Response<Bytes>> {
        let request =
            Request::get(format!("http://{}{path}", self.address)).body(Empty::<Bytes>::new())?;
        let response = Client::builder(TokioExecutor::new())
            .build_http()
            .request(request)
            .await?;
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(
            parts,
            body.collect().await?.to_bytes(),
        ))
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where cargo put the example beside this test.
fn program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test
        .ancestors()
        .nth(2)
        .ok_or("the test is not where cargo puts tests")?;
    let program = profile.join("examples").join("quickstart");
    if program.exists() {
        return Ok(program);
    }
    Err("the example is not built: run cargo test --all-features, or cargo build --examples --all-features".into())
}

async fn two_processes_on_one_redis_share_one_limit(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let both = [
        Quickstart::start(Some(&redis))?,
        Quickstart::start(Some(&redis))?,
    ];
    for turn in 0..5 {
        let response = both[turn % 2].get("/limited").await?;
        assert_eq!(response.status(), StatusCode::OK, "request {turn}");
    }
    for quickstart in &both {
        let denied = quickstart.get("/limited").await?;
        assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = denied.headers()["retry-after"].to_str()?.parse()?;
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(
            denied.headers()["ratelimit-policy"],
            "\"limited.burst\";q=5;w=10"
        );
        assert!(
            denied.headers()["ratelimit"]
                .to_str()?
                .starts_with("\"limited.burst\";r=0;t=")
        );
        assert_eq!(denied.headers()["content-type"], "application/problem+json");
        let health = quickstart.get("/health").await?;
        assert_eq!(health.body(), r#"{"answers":true,"backend":"redis"}"#);
    }
    Ok(())
}

async fn health_tells_an_outage_and_its_end(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let quickstart = Quickstart::start(Some(&redis))?;
    redis.kill()?;
    let health = quickstart.get("/health").await?;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.body(), r#"{"answers":false,"backend":"redis"}"#);
    assert_eq!(
        quickstart.get("/limited").await?.status(),
        StatusCode::OK,
        "uncounted, but served"
    );
    redis.restart().await?;
    eventually("the health is good again", async || {
        Ok(quickstart.get("/health").await?.status() == StatusCode::OK)
    })
    .await
}

async fn without_redis_it_counts_in_memory_and_stops_on_ctrl_c(_: &Servers) -> Result<()> {
    let mut quickstart = Quickstart::start(None)?;
    for _ in 0..5 {
        assert_eq!(quickstart.get("/limited").await?.status(), StatusCode::OK);
    }
    assert_eq!(
        quickstart.get("/limited").await?.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(
        quickstart.get("/health").await?.body(),
        r#"{"answers":true,"backend":"memory"}"#
    );

    let interrupt = format!("kill -INT {}", quickstart.process.id());
    let interrupt = Command::new("sh").args(["-c", &interrupt]).status()?;
    assert!(interrupt.success());
    let mut status = None;
    eventually("the process ends", async || {
        status = quickstart.process.try_wait()?;
        Ok(status.is_some())
    })
    .await?;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    Ok(())
}
