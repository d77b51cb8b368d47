//! The quickstart as people run it: real processes, real HTTP.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_TYPE, COOKIE, SET_COOKIE, VARY},
    request::Builder,
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use libtest_mimic::Trial;

use crate::{
    servers::{Result, Servers, eventually, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "quickstart":
        Standalone::two_processes_on_one_redis_share_one_limit
        Standalone::two_processes_on_one_redis_share_sessions
        Standalone::a_logout_everywhere_at_one_process_ends_the_sessions_of_the_other
        Standalone::a_payment_is_made_once_whichever_process_is_asked
        Standalone::a_login_says_who_in_json_or_in_a_form
        Standalone::a_grpc_client_logs_in_and_out
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
        let mut command = Command::new(program("quickstart")?);
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
        self.send(Request::get(path), "").await
    }

    async fn send(&self, request: Builder, body: &'static str) -> Result<Response<Bytes>> {
        let mut request = request.body(Full::new(Bytes::from_static(body.as_bytes())))?;
        *request.uri_mut() = format!("http://{}{}", self.address, request.uri()).parse()?;
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

/// A browser that keeps the session's cookie and nothing else.
#[derive(Default)]
struct Browser {
    cookie: Option<String>,
}

impl Browser {
    async fn get(&mut self, at: &Quickstart, path: &str) -> Result<Response<Bytes>> {
        self.send(at, Request::get(path), "").await
    }

    async fn post(&mut self, at: &Quickstart, path: &str) -> Result<Response<Bytes>> {
        self.send(at, Request::post(path), "").await
    }

    async fn log_in(&mut self, at: &Quickstart) -> Result<()> {
        let form =
            Request::post("/login").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = self.send(at, form, "user=ada").await?;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body(), r#"{"user":"ada"}"#);
        Ok(())
    }

    async fn pay(
        &mut self,
        at: &Quickstart,
        key: &str,
        amount: &'static str,
    ) -> Result<Response<Bytes>> {
        let form = Request::post("/payments")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", key);
        self.send(at, form, amount).await
    }

    async fn send(
        &mut self,
        at: &Quickstart,
        mut request: Builder,
        body: &'static str,
    ) -> Result<Response<Bytes>> {
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = at.send(request, body).await?;
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let (pair, attributes) = set.to_str()?.split_once(';').ok_or("no attributes")?;
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        Ok(response)
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where cargo put the example beside this test.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test
        .ancestors()
        .nth(2)
        .ok_or("the test is not where cargo puts tests")?;
    let program = profile.join("examples").join(name);
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

async fn two_processes_on_one_redis_share_sessions(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let one = Quickstart::start(Some(&redis))?;
    let other = Quickstart::start(Some(&redis))?;
    let mut browser = Browser::default();
    assert_eq!(
        browser.get(&one, "/me").await?.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(browser.cookie, None);

    browser.log_in(&one).await?;
    let mut copy = Browser {
        cookie: browser.cookie.clone(),
    };
    let me = browser.get(&other, "/me").await?;
    assert_eq!(me.status(), StatusCode::OK);
    assert_eq!(me.body(), r#"{"user":"ada"}"#);
    assert_eq!(me.headers()[VARY], "cookie");
    assert_eq!(me.headers().get(SET_COOKIE), None);

    let out = browser.post(&other, "/logout").await?;
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert_eq!(browser.cookie, None);
    for quickstart in [&one, &other] {
        let me = copy.get(quickstart, "/me").await?;
        assert_eq!(me.status(), StatusCode::UNAUTHORIZED);
    }
    Ok(())
}

async fn a_logout_everywhere_at_one_process_ends_the_sessions_of_the_other(
    _: &Servers,
) -> Result<()> {
    let redis = Server::start().await?;
    let one = Quickstart::start(Some(&redis))?;
    let other = Quickstart::start(Some(&redis))?;
    let (mut laptop, mut phone) = (Browser::default(), Browser::default());
    laptop.log_in(&one).await?;
    phone.log_in(&other).await?;

    let out = laptop.post(&one, "/logout-everywhere").await?;
    assert_eq!(out.status(), StatusCode::OK);
    assert_eq!(out.body(), r#"{"ended":2}"#);
    assert_eq!(laptop.cookie, None);
    assert_eq!(
        phone.get(&other, "/me").await?.status(),
        StatusCode::UNAUTHORIZED
    );
    let again = phone.post(&other, "/logout-everywhere").await?;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);

    phone.log_in(&one).await?;
    assert_eq!(phone.get(&other, "/me").await?.status(), StatusCode::OK);
    Ok(())
}

async fn a_payment_is_made_once_whichever_process_is_asked(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let one = Quickstart::start(Some(&redis))?;
    let other = Quickstart::start(Some(&redis))?;
    let mut browser = Browser::default();
    let stranger = browser.pay(&one, "order-1", "amount=5").await?;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    browser.log_in(&one).await?;
    let first = browser.pay(&one, "order-1", "amount=5").await?;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers().get("idempotent-replayed"), None);
    let again = browser.pay(&other, "order-1", "amount=5").await?;
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.body(), first.body());

    let changed = browser.pay(&other, "order-1", "amount=6").await?;
    assert_eq!(changed.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let next = browser.pay(&other, "order-2", "amount=5").await?;
    assert_eq!(next.status(), StatusCode::CREATED);
    assert_ne!(next.body(), first.body(), "another payment");
    let stranger = Browser::default().pay(&one, "order-1", "amount=5").await?;
    assert_eq!(
        stranger.status(),
        StatusCode::UNAUTHORIZED,
        "nobody sees the answer of another"
    );
    Ok(())
}

async fn a_login_says_who_in_json_or_in_a_form(_: &Servers) -> Result<()> {
    let quickstart = Quickstart::start(None)?;
    let mut browser = Browser::default();
    let json = || Request::post("/login").header(CONTENT_TYPE, "application/json; charset=utf-8");
    let response = browser
        .send(&quickstart, json(), r#"{"user":"eve"}"#)
        .await?;
    assert_eq!(response.body(), r#"{"user":"eve"}"#);
    assert_eq!(
        browser.get(&quickstart, "/me").await?.body(),
        r#"{"user":"eve"}"#
    );
    browser.log_in(&quickstart).await?;
    assert_eq!(
        browser.get(&quickstart, "/me").await?.body(),
        r#"{"user":"ada"}"#
    );

    for body in ["", "{}", r#"{"user":7}"#, r#"{"user":""}"#] {
        let refused = browser.send(&quickstart, json(), body).await?;
        assert!(refused.status().is_client_error(), "{body:?}: {refused:?}");
        assert_eq!(refused.headers().get(SET_COOKIE), None);
    }
    Ok(())
}

async fn a_grpc_client_logs_in_and_out(_: &Servers) -> Result<()> {
    let redis = Server::start().await?;
    let mut command = Command::new(program("session_tonic")?);
    let output = command.env("REDIS_URL", redis.url()).output()?;
    let steps = [
        "/shop.Accounts/WhoAmI: Unauthenticated, Unauthorized",
        "/shop.Accounts/LogIn: done",
        "/shop.Accounts/WhoAmI: ada",
        "/shop.Accounts/LogOut: done",
        "/shop.Accounts/WhoAmI: Unauthenticated, Unauthorized",
    ];
    let printed = String::from_utf8(output.stdout)?;
    assert_eq!(printed.lines().collect::<Vec<_>>(), steps);
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
    let mut browser = Browser {
        cookie: Some(format!("__Host-id={}", "A".repeat(64))),
    };
    let me = browser.get(&quickstart, "/me").await?;
    assert_eq!(me.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(me.headers().get(SET_COOKIE), None, "nobody is logged out");
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
