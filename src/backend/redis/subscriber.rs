//! The connection of the subscriptions.

use std::{collections::HashSet, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface, FredResult, PubsubInterface},
    types::{
        CustomCommand, Message, Resp3Frame, RespVersion,
        config::{Server, ServerConfig},
    },
};
use tokio::{sync::broadcast, time::timeout};

use super::{
    client::{ClientSettings, ManagedClient, error_text},
    config,
    watchdog::{Driver, first_connection},
};

/// A connection of the subscriptions; dropping it closes it.
pub(super) struct SubscriberConnection {
    client: Client,
    /// The node, if it is one of a Cluster.
    node: Option<Server>,
    /// The task that drives the client.
    pub(super) driver: Option<Driver>,
    pub(super) messages: broadcast::Receiver<Message>,
}

impl SubscriberConnection {
    /// Connects.
    pub(super) async fn open(managed: &ManagedClient) -> FredResult<Self> {
        let (settings, node) = subscriber(managed)?;
        let client = settings.build();
        let messages = client.message_rx();
        let driver = first_connection(&client, settings.connect_timeout()).await?;
        Ok(Self {
            client,
            node,
            driver: Some(driver),
            messages,
        })
    }

    /// Subscribes, and waits until the server has done it and counts as many channels as it should.
    pub(super) async fn subscribe(
        &self,
        channels: HashSet<Arc<str>>,
        total: usize,
        command_timeout: Duration,
    ) -> FredResult<()> {
        if !channels.is_empty() {
            self.client.subscribe(names(&channels)).await?;
        }
        self.confirm(total, command_timeout).await
    }

    /// Unsubscribes, without waiting.
    pub(super) async fn unsubscribe(&self, channels: HashSet<Arc<str>>) -> FredResult<()> {
        self.client.unsubscribe(names(&channels)).await
    }

    /// Waits until the server has come this far, and says whether this connection has as
    /// many channels as it should.
    ///
    /// fred's `subscribe` waits for no answer, and drops a refusal or takes it for the
    /// answer to the next command.
    pub(super) async fn confirm(&self, total: usize, command_timeout: Duration) -> FredResult<()> {
        let info = CustomCommand::new_static("CLIENT", 0, false);
        let answer = timeout(command_timeout, self.client.custom_raw(info, vec!["INFO"]));
        let answer = answer
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, "no answer to CLIENT INFO"))??;
        if let Some(text) = error_text(&answer) {
            return Err(Error::new(ErrorKind::Protocol, text.to_owned()));
        }
        if subscriptions(&answer) != Some(total) {
            return Err(Error::new(
                ErrorKind::Protocol,
                "NOPERM the server did not subscribe",
            ));
        }
        Ok(())
    }

    /// Whether the node has left its Cluster, where it would hear nothing any more.
    pub(super) fn has_left(&self, managed: &ManagedClient) -> bool {
        let nodes = primaries(managed);
        !nodes.is_empty() && self.node.as_ref().is_some_and(|node| !nodes.contains(node))
    }
}

/// Channels as fred takes them.
fn names(channels: &HashSet<Arc<str>>) -> Vec<String> {
    channels.iter().map(ToString::to_string).collect()
}

/// How many channels a connection has, of what CLIENT INFO says of it.
fn subscriptions(info: &Resp3Frame) -> Option<usize> {
    let (Resp3Frame::BlobString { data, .. } | Resp3Frame::VerbatimString { data, .. }) = info
    else {
        return None;
    };
    str::from_utf8(data)
        .ok()?
        .split_whitespace()
        .find_map(|field| field.strip_prefix("sub="))
        .and_then(|count| count.parse().ok())
}

/// How to make the client of the subscriptions, and the node of a Cluster that it is for.
///
/// A Cluster sends every message to all of its nodes, so one connection to any of them is enough.
fn subscriber(managed: &ManagedClient) -> FredResult<(ClientSettings, Option<Server>)> {
    let mut settings = managed.settings.clone();
    // In RESP2 a connection with subscriptions answers no other command.
    settings.config.version = RespVersion::RESP3;
    settings.config.fail_fast = true;
    settings.performance.broadcast_channel_capacity = config::BROADCAST_CAPACITY;
    // The task connects again by itself, because it must subscribe before it says so.
    settings.policy = None;
    if !settings.is_clustered() {
        return Ok((settings, None));
    }
    let mut nodes = primaries(managed);
    if nodes.is_empty() {
        return Err(Error::new(
            ErrorKind::Cluster,
            "no node of the Cluster is known yet",
        ));
    }
    let mut random = [0; 2];
    let _ = getrandom::fill(&mut random);
    let node = nodes.swap_remove(usize::from(u16::from_ne_bytes(random)) % nodes.len());
    settings.config.server = ServerConfig::Centralized {
        server: node.clone(),
    };
    Ok((settings, Some(node)))
}

fn primaries(managed: &ManagedClient) -> Vec<Server> {
    managed.client().active_connections()
}
