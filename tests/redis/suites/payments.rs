//! The examples that make payments, do jobs and a report, as people run them: real processes, killed
//! in between.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::quickstart::program;
use crate::{
    servers::{Result, Servers, eventually, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "payments":
        Standalone::a_payment_whose_process_is_killed_is_charged_once
        Standalone::a_charge_that_was_noted_down_is_not_asked_for_again
        Standalone::an_attempt_that_was_taken_for_dead_changes_no_ledger
        Standalone::a_payment_whose_client_is_gone_ends_before_its_program
        Standalone::a_grpc_payment_is_made_once
        Standalone::jobs_are_done_once_and_a_report_has_one_writer
    )
}

/// A running `idempotency_axum`, killed when the test ends.
struct Shop {
    process: Child,
    address: String,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Shop {
    /// Starts it on a free port, with this ledger, and waits until it listens.
    async fn start(redis: &Server) -> Result<Self> {
        let mut process = Command::new(program("idempotency_axum")?)
            .args(["--port", "0", "--redis", &redis.url(), "--file"])
            .arg(ledger(redis))
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let (sender, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        let mut shop = Self {
            process,
            address: String::new(),
            lines,
        };
        let first = shop.says("Listening on http://").await?;
        let address = first
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(';'))
            .ok_or_else(|| format!("no address in {first:?}"))?;
        address.0.clone_into(&mut shop.address);
        Ok(shop)
    }

    /// Waits for a line with this in it.
    async fn says(&mut self, what: &str) -> Result<String> {
        loop {
            let line = timeout(Duration::from_secs(20), self.lines.recv()).await;
            let line = line.map_err(|_| format!("nothing more said, but not {what:?}"))?;
            let line = line.ok_or_else(|| format!("ended without {what:?}"))?;
            if line.contains(what) {
                return Ok(line);
            }
        }
    }

    /// A payment with the key `order`, sent but not waited for.
    fn pay(&self) -> tokio::task::JoinHandle<Result<Response<Bytes>>> {
        let request = Request::post(format!("http://{}/payments", self.address))
            .header("x-api-key", "key-of-ada")
            .header("idempotency-key", "order")
            .header(CONTENT_TYPE, "application/json");
        tokio::spawn(send(request, r#"{"amount": 40}"#))
    }

    async fn ledger(&self) -> Result<Value> {
        let request = Request::get(format!("http://{}/ledger", self.address));
        Ok(serde_json::from_slice(send(request, "").await?.body())?)
    }

    /// Sends a signal of this name.
    fn signal(&self, name: &str) -> Result<()> {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status()?.success());
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn send(request: http::request::Builder, body: &'static str) -> Result<Response<Bytes>> {
    let response = Client::builder(TokioExecutor::new())
        .build_http()
        .request(request.body(Full::new(Bytes::from_static(body.as_bytes())))?)
        .await?;
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(
        parts,
        body.collect().await?.to_bytes(),
    ))
}

/// Where the ledger of all shops on this server is.
fn ledger(redis: &Server) -> PathBuf {
    redis.directory().join("payments.sqlite")
}

/// What is paid and charged after a payment that took two attempts, with how often the provider was
/// asked.
fn paid_once(asked: u32) -> Value {
    json!({
        "paid": [{ "account": "ada", "amount": 40, "charge": 1 }],
        "charged": [{ "charge": 1, "amount": 40, "asked": asked }],
    })
}

/// Kills a shop when it has said this, and pays again at another one.
async fn kill_at(what: &str, asked: u32) -> Result<()> {
    let redis = Server::start().await?;
    let mut shop = Shop::start(&redis).await?;
    let unanswered = shop.pay();
    shop.says(what).await?;
    if what.contains("attempt 1") {
        // It says so before it asks; the provider takes longer than this.
        eventually("the provider has charged", async || {
            Ok(shop.ledger().await?["charged"] != json!([]))
        })
        .await?;
    }
    shop.kill()?;
    assert!(unanswered.await?.is_err(), "the process was killed");

    let shop = Shop::start(&redis).await?;
    let first = shop.pay().await??;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers().get("idempotent-replayed"), None);
    let receipt: Value = serde_json::from_slice(first.body())?;
    assert_eq!(receipt, json!({ "charge": 1, "amount": 40, "attempt": 2 }));
    let again = shop.pay().await??;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.body(), first.body());
    assert_eq!(shop.ledger().await?, paid_once(asked));
    Ok(())
}

async fn a_payment_whose_process_is_killed_is_charged_once(_: &Servers) -> Result<()> {
    kill_at("attempt 1", 2).await
}

async fn a_charge_that_was_noted_down_is_not_asked_for_again(_: &Servers) -> Result<()> {
    kill_at("noted down: true", 1).await
}

async fn an_attempt_that_was_taken_for_dead_changes_no_ledger(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let mut slow = Shop::start(&redis).await?;
    let waiting = slow.pay();
    slow.says("noted down: true").await?;
    slow.signal("STOP")?; // and does not know for how long

    let shop = Shop::start(&redis).await?;
    let first = shop.pay().await??;
    let receipt: Value = serde_json::from_slice(first.body())?;
    assert_eq!(receipt["attempt"], 2);

    slow.signal("CONT")?;
    slow.says("the ledger has a later attempt").await?;
    let late = waiting.await??;
    assert_eq!(late.headers()["idempotent-replayed"], "true");
    assert_eq!(late.body(), first.body(), "one answer, whoever was asked");
    assert_eq!(shop.ledger().await?, paid_once(1));
    Ok(())
}

async fn a_payment_whose_client_is_gone_ends_before_its_program(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let mut shop = Shop::start(&redis).await?;
    let dropped = shop.pay();
    shop.says("attempt 1").await?;
    dropped.abort();
    shop.signal("INT")?;
    shop.says("is in the ledger").await?;
    let last = shop.says("Stopped").await?;
    assert!(last.ends_with(": 0"), "{last}");

    let shop = Shop::start(&redis).await?;
    let again = shop.pay().await??;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(shop.ledger().await?, paid_once(1));
    Ok(())
}

async fn a_grpc_payment_is_made_once(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let mut command = Command::new(program("idempotency_tonic")?);
    let output = command.env("REDIS_URL", redis.url()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let steps = [
        (r#""": "#, "InvalidArgument"),
        (r#""lamp": "#, "attempt 1"),
        (r#""lamp": "#, "attempt 1 (replayed)"),
        (r#""lamp": "#, "FailedPrecondition"),
        (r#""chair": "#, "Aborted"),
        (r#""chair": "#, "attempt 1"),
        (r#""chair": "#, "attempt 1 (replayed)"),
        (r#""palace": "#, "OutOfRange, more than you may spend"),
        (
            r#""palace": "#,
            "OutOfRange, more than you may spend (replayed)",
        ),
        (r#""broom": "#, "Unavailable"),
        (r#""broom": "#, "attempt 2"),
    ];
    assert_eq!(printed.lines().count(), steps.len(), "{printed}");
    for (line, (key, answer)) in printed.lines().zip(steps) {
        assert!(line.contains(key) && line.contains(answer), "{line}");
        assert_eq!(
            line.contains("replayed"),
            answer.contains("replayed"),
            "{line}"
        );
    }
    let receipts = |key: &str| {
        let of_key = printed.lines().filter(|line| line.contains(key));
        let numbers = of_key.filter_map(|line| line.split_once("receipt ")?.1.split(' ').next());
        numbers.map(str::to_owned).collect::<Vec<_>>()
    };
    for key in ["lamp", "chair"] {
        let receipts = receipts(key);
        assert!(
            matches!(&*receipts, [one, other] if one == other),
            "{printed}"
        );
    }
    Ok(())
}

async fn jobs_are_done_once_and_a_report_has_one_writer(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let mut command = Command::new(program("worker")?);
    let output = command.env("REDIS_URL", redis.url()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    for told in [
        "deliveries of 4 jobs, and 4 mails",
        "ada's invoice is sent: no. 1, attempt 2",
        "zoe's invoice was sent",
        "instance 1 writes: false; its lease is lost: true",
        "the report was made by instance 2",
    ] {
        assert!(printed.contains(told), "no {told:?} in: {printed}");
    }
    let sent = printed.matches("invoice is sent").count();
    assert_eq!(sent, 4, "each job ran to its end once: {printed}");
    Ok(())
}
