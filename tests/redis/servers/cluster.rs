//! A Cluster of three primaries.

use super::{
    Result, eventually, process,
    proxy::Proxy,
    standalone::{Launch, Server},
};

/// Three servers, each with a third of the slots.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: [Server; 3],
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self> {
        let (first, second, third) = tokio::try_join!(Node::start(), Node::start(), Node::start())?;
        Self::join([first, second, third]).await
    }

    /// A Cluster whose clients reach each node through a proxy, in the order of the nodes.
    pub(crate) async fn start_behind_proxies() -> Result<(Self, [Proxy; 3])> {
        let (first, second, third) = tokio::try_join!(
            Node::start_behind_proxy(),
            Node::start_behind_proxy(),
            Node::start_behind_proxy()
        )?;
        let cluster = Self::join([first.0, second.0, third.0]).await?;
        Ok((cluster, [first.1, second.1, third.1]))
    }

    /// Makes a Cluster of servers that do not know each other.
    async fn join(nodes: [Node; 3]) -> Result<Self> {
        for (node, slots) in nodes.iter().zip(SLOTS) {
            let [from, to] = slots.map(|slot| slot.to_string());
            let add = ["CLUSTER", "ADDSLOTSRANGE", &from, &to];
            node.server.call(&add).await?;
        }
        let [first, others @ ..] = &nodes;
        for node in others {
            let (port, bus) = (node.server.port().to_string(), node.bus.to_string());
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            first.server.call(&meet).await?;
        }
        let cluster = Self {
            nodes: nodes.map(|node| node.server),
        };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The Cluster's URL, which names all nodes.
    pub(crate) fn url(&self) -> String {
        let [first, second, third] = &self.nodes;
        format!(
            "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}",
            first.port(),
            second.port(),
            third.port()
        )
    }

    /// The nodes, in the order of their slots.
    pub(crate) fn nodes(&self) -> &[Server; 3] {
        &self.nodes
    }

    /// The node that has a key.
    pub(crate) async fn owner_of(&self, key: &str) -> Result<&Server> {
        let slot = self.nodes[0].call(&["CLUSTER", "KEYSLOT", key]).await?;
        let slot: u16 = slot.to_string().parse()?;
        let owner = SLOTS.iter().position(|[_, last]| slot <= *last);
        Ok(owner
            .and_then(|owner| self.nodes.get(owner))
            .ok_or("the slot has no owner")?)
    }

    /// Begins to move a slot with its one key to another node: who has it redirects by `ASK`.
    pub(crate) async fn begin_to_move(&self, key: &str) -> Result<Moving<'_>> {
        let from = self.owner_of(key).await?;
        let mut others = self.nodes.iter();
        let to = others.find(|node| node.port() != from.port());
        let to = to.ok_or("there is no other node")?;
        let [from_id, to_id] = [
            from.call(&["CLUSTER", "MYID"]).await?.to_string(),
            to.call(&["CLUSTER", "MYID"]).await?.to_string(),
        ];
        let slot = from.call(&["CLUSTER", "KEYSLOT", key]).await?.to_string();
        let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id];
        to.call(&importing).await?;
        let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id];
        from.call(&migrating).await?;
        let port = to.port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, key, "0", "1000"];
        assert_eq!(from.call(&migrate).await?, "OK");
        Ok(Moving {
            slot,
            from,
            to,
            to_id,
        })
    }

    async fn ready(&self) -> Result<()> {
        for node in &self.nodes {
            eventually("the Cluster is whole", async || {
                let info = node.call(&["CLUSTER", "INFO"]).await?;
                Ok(info.field("cluster_state") == Some("ok")
                    && info.field("cluster_known_nodes") == Some("3"))
            })
            .await?;
        }
        Ok(())
    }
}

/// A slot that is on its way from one node to another.
#[derive(Debug)]
pub(crate) struct Moving<'a> {
    slot: String,
    from: &'a Server,
    to: &'a Server,
    to_id: String,
}

impl<'a> Moving<'a> {
    /// The slot is moved: who had it redirects by `MOVED`.
    pub(crate) async fn end(self) -> Result<()> {
        let moved = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.to_id];
        self.to.call(&moved).await?;
        self.from.call(&moved).await?;
        Ok(())
    }

    /// The node to which it is moved.
    pub(crate) fn to(&self) -> &'a Server {
        self.to
    }
}

/// A server and the port on which the others speak to it.
struct Node {
    server: Server,
    bus: u16,
}

impl Node {
    async fn start() -> Result<Self> {
        let bus = process::free_port()?;
        let server = launch(bus)?.start().await?;
        Ok(Self { server, bus })
    }

    async fn start_behind_proxy() -> Result<(Self, Proxy)> {
        let bus = process::free_port()?;
        let launch = launch(bus)?;
        let proxy = Proxy::start(launch.port()).await?;
        let announced = format!("cluster-announce-port {}", proxy.port());
        let server = launch.with_settings([announced]).start().await?;
        Ok((Self { server, bus }, proxy))
    }
}

fn launch(bus: u16) -> Result<Launch> {
    let settings = [
        "cluster-enabled yes".to_owned(),
        "cluster-announce-ip 127.0.0.1".to_owned(),
        format!("cluster-port {bus}"),
    ];
    Ok(Launch::new("cluster")?.with_settings(settings))
}

/// The first and the last slot of each node.
const SLOTS: [[u16; 2]; 3] = [[0, 5460], [5461, 10922], [10923, 16383]];
