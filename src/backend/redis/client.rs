//! One client of fred's, and what is known about its health.

use std::{
    mem,
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    interfaces::{ClientLike, FredResult},
    types::{
        ClusterHash, CustomCommand, Resp3Frame, Value,
        config::{Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, Server},
    },
};
use tokio::sync::Notify;

use super::{
    config,
    error::{self, NoReply},
};
use crate::clock::monotonic_now;

/// Everything that a client is made from, to make another one like it.
#[derive(Clone)]
pub(super) struct ClientSettings {
    pub(super) config: Config,
    pub(super) performance: PerformanceConfig,
    pub(super) connection: ConnectionConfig,
    pub(super) policy: Option<ReconnectPolicy>,
}

impl ClientSettings {
    /// How a client of the user's is made.
    pub(super) fn of(client: &Client) -> Self {
        let mut config = client.client_config();
        // The watchdog wants to hear of a first connection that fails, and tries again itself.
        config.fail_fast = true;
        Self {
            config,
            performance: client.perf_config(),
            connection: client.connection_config().clone(),
            policy: client.client_reconnect_policy(),
        }
    }

    /// A client that is not connected yet.
    pub(super) fn build(&self) -> Client {
        Client::new(
            self.config.clone(),
            Some(self.performance.clone()),
            Some(self.connection.clone()),
            self.policy.clone(),
        )
    }

    pub(super) fn is_clustered(&self) -> bool {
        self.config.server.is_clustered()
    }

    /// The longest that fred lets a command take.
    pub(super) fn command_timeout(&self) -> Duration {
        self.performance.default_command_timeout
    }

    /// The longest that connecting takes, with all the servers that may be
    /// tried one after the other.
    pub(super) fn connect_timeout(&self) -> Duration {
        let steps = config::connect_steps(&self.config.server);
        self.connection.connection_timeout.saturating_mul(steps)
    }
}

/// A client that can be replaced under its users.
pub(super) struct ManagedClient {
    pub(super) settings: ClientSettings,
    client: RwLock<Client>,
    /// Whether a server said that it is not the primary.
    displaced: AtomicBool,
    /// Holds a permit from the first call without an answer until the connections are examined.
    suspected: Notify,
}

impl ManagedClient {
    pub(super) fn new(settings: ClientSettings, client: Client) -> Self {
        Self {
            settings,
            client: RwLock::new(client),
            displaced: AtomicBool::new(false),
            suspected: Notify::new(),
        }
    }

    /// The client of the moment.
    pub(super) fn client(&self) -> Client {
        self.held().clone()
    }

    /// Sends later commands through this client.
    pub(super) fn replace(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Where `routing_key` is stored, for commands.
    ///
    /// `CustomCommand` ignores the other ways to say it. Without a Cluster nobody asks for the
    /// slot, which is not cheap to find.
    pub(super) fn slot(&self, routing_key: &str) -> ClusterHash {
        if self.settings.is_clustered() {
            ClusterHash::from(routing_key)
        } else {
            ClusterHash::default()
        }
    }

    /// Sends one command and waits for its answer, which may be an error.
    ///
    /// A node of a Cluster that redirects has not run the command, so it is sent once more: by now
    /// fred has learnt where the slot is.
    pub(super) async fn send(
        &self,
        command: CustomCommand,
        args: Vec<Value>,
        timeout: Duration,
    ) -> FredResult<Resp3Frame> {
        if !self.settings.is_clustered() {
            return self.send_once(command, args, None, timeout).await;
        }
        let begun = monotonic_now();
        let result = self
            .send_once(command.clone(), args.clone(), None, timeout)
            .await;
        match result {
            Err(error) if error::no_reply(&error) == NoReply::Redirected => {
                let left = timeout.saturating_sub(monotonic_now() - begun);
                self.send_once(command, args, None, left).await
            }
            result => result,
        }
    }

    /// Whether the client answers a PING; with a server, whether that one does.
    pub(super) async fn ping(
        &self,
        server: Option<Server>,
        timeout: Duration,
    ) -> FredResult<Resp3Frame> {
        let ping = CustomCommand::new_static("PING", 0, false);
        self.send_once(ping, Vec::new(), server, timeout).await
    }

    /// Options reach only what goes through `custom` and `custom_raw`: other methods of
    /// `with_options(..)` belong to the bare client and drop them.
    async fn send_once(
        &self,
        command: CustomCommand,
        args: Vec<Value>,
        server: Option<Server>,
        timeout: Duration,
    ) -> FredResult<Resp3Frame> {
        let waiting = Waiting(self);
        let client = self.held().with_options(&options(server, timeout));
        // fred's future has kilobytes: each future around it would carry them along, and to make it
        // on the stack is to copy them once more.
        let place = Box::new_uninit();
        let sent = Box::into_pin(Box::write(place, client.custom_raw(command, args)));
        let result = sent.await;
        match &result {
            Ok(frame) => {
                waiting.end();
                if error_text(frame).is_some_and(error::is_displaced) {
                    self.displaced.store(true, Ordering::Relaxed);
                    self.suspected.notify_one();
                }
            }
            Err(error) => match error::no_reply(error) {
                // A client that says `Connected` and cannot send has lost its task.
                NoReply::NeverSent if self.client().is_connected() => {}
                NoReply::NeverSent | NoReply::Redirected => waiting.end(),
                NoReply::TimedOut | NoReply::Lost => {}
            },
        }
        result
    }

    fn held(&self) -> RwLockReadGuard<'_, Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the connections are worth examining.
    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Whether a server said that it is not the primary since this was last asked.
    pub(super) fn take_displaced(&self) -> bool {
        self.displaced.swap(false, Ordering::Relaxed)
    }
}

/// A command that waits for its answer; dropped without one, also by a caller that gave
/// up, it raises suspicion.
struct Waiting<'a>(&'a ManagedClient);

impl Waiting<'_> {
    fn end(self) {
        mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.suspected.notify_one();
    }
}

/// What keeps fred from sending a command twice: `fail_fast` gives up on it when its connection
/// closes or there is none, a single attempt when the client is reconnected by force or
/// drops a node of a Cluster.
fn options(server: Option<Server>, timeout: Duration) -> Options {
    Options {
        // To fred zero is no time-out at all.
        timeout: Some(timeout.max(Duration::from_millis(1))),
        max_attempts: Some(1),
        fail_fast: true,
        cluster_node: server,
        ..Options::default()
    }
}

/// The text of an answer that is an error.
pub(super) fn error_text(frame: &Resp3Frame) -> Option<&str> {
    match frame {
        Resp3Frame::SimpleError { data, .. } => Some(data),
        Resp3Frame::BlobError { data, .. } => Some(str::from_utf8(data).unwrap_or("ERR")),
        _ => None,
    }
}
