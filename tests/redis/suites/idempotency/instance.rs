//! The application in a process of its own, which can be stopped and killed.

use std::{env, io::stdin, path::PathBuf, process::Stdio, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    runtime::Runtime,
};
use tower_stash::backend::{RedisBackend, RedisConfig};

use super::app::{Answer, App, Kind, Ledger, Order, waiting};
use crate::servers::{Address, Result};

/// What a process is told of its part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) url: String,
    /// The certificate to trust, in PEM; only with TLS.
    pub(super) ca: Option<String>,
    pub(super) namespace: String,
    pub(super) kind: Kind,
    /// In milliseconds.
    pub(super) lease: u64,
    /// Whether requests wait for who is at work.
    pub(super) waits: bool,
    pub(super) ledger: PathBuf,
}

impl Part {
    /// That of instances beside this backend, with this ledger.
    pub(super) fn beside(
        backend: &RedisBackend,
        address: Address,
        ledger: &Ledger,
        (kind, lease): (Kind, Duration),
    ) -> Self {
        Self {
            url: address.url,
            ca: address.ca,
            namespace: backend.namespace().to_owned(),
            kind,
            lease: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            waits: false,
            ledger: ledger.path().to_owned(),
        }
    }

    /// The application that plays it.
    async fn app(&self) -> Result<App> {
        let mut config = RedisConfig::new(&self.url)?
            .with_namespace(&*self.namespace)
            // Many come at once, and a busy machine is no outage.
            .with_command_timeout(Duration::from_secs(1));
        if let Some(ca) = &self.ca {
            config = config.with_ca_certificate(&**ca);
        }
        let backend = RedisBackend::connect(config).await?;
        let rule = self.kind.rule(Duration::from_millis(self.lease))?;
        let rule = if self.waits { waiting(rule) } else { rule };
        App::new(backend, rule, &Ledger::open(self.ledger.clone())?)
    }
}

/// A process that ends with this one.
#[derive(Debug)]
pub(super) struct Instance {
    process: Child,
    /// Closed when this process ends, which the other one sees.
    _orders: ChildStdin,
    base: String,
}

impl Instance {
    /// Starts one, and waits until it listens.
    pub(super) async fn start(part: &Part) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .env(PART, serde_json::to_string(part)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (orders, said) = pipes.ok_or("no pipes")?;
        let base = BufReader::new(said).lines().next_line().await?;
        Ok(Self {
            process,
            _orders: orders,
            base: base.ok_or("it ended before it listened")?,
        })
    }

    /// Where requests are sent to.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Sends an order and waits for its answer.
    pub(super) async fn order(&self, key: &str, order: Order) -> Result<Answer> {
        send(&http_client(), order.request(&self.base, "/orders", key)?).await
    }

    /// Sends an order without waiting for its answer.
    pub(super) fn ordering(
        &self,
        key: &str,
        order: Order,
    ) -> Result<tokio::task::JoinHandle<Result<Answer>>> {
        let request = order.request(&self.base, "/orders", key)?;
        Ok(tokio::spawn(
            async move { send(&http_client(), request).await },
        ))
    }

    /// Sends `SIGSTOP` or another signal.
    pub(super) async fn signal(&self, name: &str) -> Result<()> {
        let id = self.process.id().ok_or("it has ended")?;
        let kill = format!("kill -{name} {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status().await?;
        assert!(sent.success(), "{kill}");
        Ok(())
    }

    /// Sends `SIGKILL` and waits for the end.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

pub(super) type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub(super) fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(super) async fn send(client: &HttpClient, request: Request<Bytes>) -> Result<Answer> {
    Answer::read(client.request(request.map(Full::new)).await?).await
}

/// If this process was started to be an instance, is one until the other one ends, and says so.
pub(crate) fn serve_if_asked() -> bool {
    let Ok(part) = env::var(PART) else {
        return false;
    };
    let part: Part = serde_json::from_str(&part).expect("a part");
    let runtime = Runtime::new().expect("a runtime");
    let listening = runtime.block_on(async {
        let app = part.app().await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, app.router()).await });
        Result::<()>::Ok(())
    });
    listening.expect("an instance");
    // Nothing is ever written there.
    _ = std::io::copy(&mut stdin(), &mut std::io::sink());
    runtime.shutdown_background();
    true
}

/// The variable that makes this program an instance instead of running tests.
const PART: &str = "TOWER_STASH_TEST_INSTANCE";
