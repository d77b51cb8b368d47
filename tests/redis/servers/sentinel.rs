//! A primary and a replica under three sentinels.

use super::{
    Result, eventually,
    standalone::{Launch, Server},
};

/// Two servers, one of which is the primary at a time, and the sentinels who decide which.
#[derive(Debug)]
pub(crate) struct Sentinel {
    servers: [Server; 2],
    sentinels: [Server; 3],
}

impl Sentinel {
    pub(crate) async fn start() -> Result<Self> {
        let primary = Launch::new("primary")?.with_settings([promptly()]);
        let primary = primary.start().await?;
        let follow = format!("replicaof 127.0.0.1 {}", primary.port());
        let replica = Launch::new("replica")?.with_settings([promptly(), follow]);
        let replica = replica.start().await?;
        let watch = || watch(primary.port());
        let (first, second, third) = tokio::try_join!(watch(), watch(), watch())?;
        let sentinel = Self {
            servers: [primary, replica],
            sentinels: [first, second, third],
        };
        sentinel.ready().await?;
        Ok(sentinel)
    }

    /// The URL that names the sentinels and the service they watch.
    pub(crate) fn url(&self) -> String {
        let [first, second, third] = &self.sentinels;
        format!(
            "redis-sentinel://127.0.0.1:{}?sentinelServiceName={SERVICE}\
             &node=127.0.0.1:{}&node=127.0.0.1:{}",
            first.port(),
            second.port(),
            third.port()
        )
    }

    /// The server that is the primary in the eyes of the first sentinel.
    pub(crate) async fn primary(&self) -> Result<&Server> {
        let port = primary_port(&self.sentinels[0]).await?;
        let mut servers = self.servers.iter();
        Ok(servers
            .find(|server| server.port() == port)
            .ok_or("the primary is no server of this test")?)
    }

    /// Makes the replica the primary, as an operator would, and waits until all agree.
    pub(crate) async fn failover(&self) -> Result<()> {
        let before = self.primary().await?.port();
        eventually("the sentinels begin the failover", async || {
            let failover = ["SENTINEL", "FAILOVER", SERVICE];
            Ok(self.sentinels[0].call(&failover).await? == "OK")
        })
        .await?;
        self.agreed_on_another_than(before).await?;
        eventually("the old primary is a replica", async || {
            let mut replicas = 0;
            for server in &self.servers {
                replicas += usize::from(role(server).await? == "slave");
            }
            Ok(replicas == 1)
        })
        .await
    }

    /// Kills the primary and waits until all agree on the other server.
    pub(crate) async fn kill_primary(&self) -> Result<()> {
        let primary = self.primary().await?;
        primary.kill()?;
        self.agreed_on_another_than(primary.port()).await
    }

    /// Kills the primary, of whose last writes the replica has heard nothing; what it has missed is
    /// what is written meanwhile.
    pub(crate) async fn kill_primary_after(
        &self,
        missed: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let primary = self.primary().await?;
        let mut servers = self.servers.iter();
        let replica = servers.find(|server| server.port() != primary.port());
        let replica = replica.ok_or("there is no replica")?;
        // Nobody is there. It keeps what it has, and the sentinels correct this only after a while.
        let nowhere = ["REPLICAOF", "127.0.0.1", "1"];
        replica.call(&nowhere).await?;
        missed.await?;
        self.kill_primary().await
    }

    async fn agreed_on_another_than(&self, before: u16) -> Result<()> {
        for sentinel in &self.sentinels {
            eventually("the sentinels agree on another primary", async || {
                Ok(primary_port(sentinel).await? != before)
            })
            .await?;
        }
        eventually("the new primary takes writes", async || {
            Ok(role(self.primary().await?).await? == "master")
        })
        .await
    }

    async fn ready(&self) -> Result<()> {
        for sentinel in &self.sentinels {
            eventually("the sentinels know all", async || {
                let primary = sentinel.call(&["SENTINEL", "MASTER", SERVICE]).await?;
                let says = |field, value: &str| primary.after(field).is_some_and(|v| *v == *value);
                Ok(says("num-slaves", "1") && says("num-other-sentinels", "2"))
            })
            .await?;
        }
        eventually("the replica follows", async || {
            let info = self.servers[1].call(&["INFO", "replication"]).await?;
            Ok(info.field("master_link_status") == Some("up"))
        })
        .await
    }
}

/// A replica that comes gets its copy at once; by default it waits 5 s for others to come.
fn promptly() -> String {
    "repl-diskless-sync-delay 0".to_owned()
}

/// Starts a sentinel, who takes half a second of silence for an outage.
async fn watch(primary: u16) -> Result<Server> {
    let settings = [
        format!("sentinel monitor {SERVICE} 127.0.0.1 {primary} 2"),
        format!("sentinel down-after-milliseconds {SERVICE} 500"),
        format!("sentinel failover-timeout {SERVICE} 3000"),
    ];
    let launch = Launch::new("sentinel")?.with_settings(settings);
    launch.with_mode("--sentinel").start().await
}

async fn primary_port(sentinel: &Server) -> Result<u16> {
    let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
    let address = sentinel.call(&ask).await?;
    let port = address.items().get(1).ok_or("the service is unknown")?;
    Ok(port.to_string().parse()?)
}

async fn role(server: &Server) -> Result<String> {
    let role = server.call(&["ROLE"]).await?;
    Ok(role.items().first().ok_or("no role")?.to_string())
}

const SERVICE: &str = "stash";
