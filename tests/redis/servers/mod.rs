//! Real servers on free ports of the loopback interface, one start a run.

use std::{error::Error, fmt, time::Duration};

use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};

pub(crate) mod cluster;
mod process;
pub(crate) mod proxy;
pub(crate) mod resp;
pub(crate) mod sentinel;
pub(crate) mod standalone;
pub(crate) mod tls;
pub(crate) mod valkey;
pub(crate) mod wire;

use self::{cluster::Cluster, sentinel::Sentinel, standalone::Server, tls::TlsServer};

/// The result of whatever a test does to a server.
pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// An arrangement of servers on which tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Standalone,
    Valkey,
    Tls,
    Cluster,
    Sentinel,
}

impl Topology {
    pub(crate) const ALL: [Self; 5] = [
        Self::Standalone,
        Self::Valkey,
        Self::Tls,
        Self::Cluster,
        Self::Sentinel,
    ];
}

/// As it stands in front of a test's name.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Valkey => "valkey",
            Self::Tls => "tls",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        })
    }
}

/// How a client reaches a topology.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// As `RedisBackend::connect` takes it.
    pub(crate) url: String,
    /// The certificate to trust, in PEM; only with TLS.
    pub(crate) ca: Option<String>,
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self { url, ca: None }
    }
}

/// The servers that tests share, each started when the first test asks for it.
///
/// A test that pauses, kills, flushes or configures a server starts one of its own instead.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    standalone: Shared<Server>,
    valkey: Shared<Server>,
    tls: Shared<TlsServer>,
    cluster: Shared<Cluster>,
    sentinel: Shared<Sentinel>,
}

impl Servers {
    /// Where a topology is to be reached.
    pub(crate) async fn address(&self, topology: Topology) -> Result<Address> {
        Ok(match topology {
            Topology::Standalone => self.standalone().await?.url().into(),
            Topology::Valkey => self.valkey().await?.url().into(),
            Topology::Cluster => self.cluster().await?.url().into(),
            Topology::Sentinel => self.sentinel().await?.url().into(),
            Topology::Tls => {
                let server = self.tls().await?;
                Address {
                    url: server.url(),
                    ca: Some(server.ca().to_owned()),
                }
            }
        })
    }

    pub(crate) async fn standalone(&self) -> Result<&Server> {
        let start = Server::start();
        self.standalone.get(Topology::Standalone, start).await
    }

    pub(crate) async fn valkey(&self) -> Result<&Server> {
        self.valkey.get(Topology::Valkey, valkey::start()).await
    }

    pub(crate) async fn tls(&self) -> Result<&TlsServer> {
        self.tls.get(Topology::Tls, TlsServer::start()).await
    }

    pub(crate) async fn cluster(&self) -> Result<&Cluster> {
        let start = Box::pin(Cluster::start());
        self.cluster.get(Topology::Cluster, start).await
    }

    pub(crate) async fn sentinel(&self) -> Result<&Sentinel> {
        let start = Box::pin(Sentinel::start());
        self.sentinel.get(Topology::Sentinel, start).await
    }
}

/// Something started once, or the reason why it could not be.
#[derive(Debug)]
struct Shared<T>(OnceCell<Result<T, String>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

impl<T> Shared<T> {
    async fn get(&self, topology: Topology, start: impl Future<Output = Result<T>>) -> Result<&T> {
        let started = self.0.get_or_init(async || {
            let (result, elapsed) = timed(start).await;
            if result.is_ok() {
                eprintln!("{topology}: ready after {:.1} s", elapsed.as_secs_f64());
            }
            result.map_err(|error| format!("could not start {topology}: {error}"))
        });
        started
            .await
            .as_ref()
            .map_err(|error| error.as_str().into())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only a person reads it; nothing is decided by it"
)]
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = std::time::Instant::now();
    (future.await, start.elapsed())
}

/// Asks until the answer is yes, and gives up after 15 s; an error is a no.
pub(crate) async fn eventually(
    claim: &str,
    mut holds: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let mut last = "the answer is no".to_owned();
    let asking = async {
        loop {
            match holds().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => last = error.to_string(),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = timeout(Duration::from_secs(15), asking).await;
    asked.map_err(|_| format!("waited 15 s in vain until {claim}: {last}").into())
}
