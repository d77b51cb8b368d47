//! Keeps a client alive, or replaces it.
//!
//! fred reconnects by itself when a connection closes. It does not notice a connection that is open
//! and silent, nor that its own task ended; both leave a client that says `Connected`
//! and never answers again.

use std::{future::pending, ops::Deref, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface, FredResult},
    types::{
        ConnectHandle, CustomCommand, Value,
        config::{Options, Server},
    },
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{
    acquire,
    client::{ClientSettings, ManagedClient, error_text},
    script,
};
use crate::clock::{Monotonic, monotonic_now};

/// What keeps one client alive until the backend is closed or dropped.
pub(super) struct Watchdog {
    managed: Arc<ManagedClient>,
    /// The task that drives the client, if the client is ours.
    driver: Option<Driver>,
    /// The servers that the client has just connected to.
    connected: broadcast::Receiver<Server>,
    attempts: u32,
    /// When the connections may be examined again.
    next_check: Monotonic,
    command_timeout: Duration,
}

impl Watchdog {
    /// A client that is connected, and its watchdog.
    pub(super) async fn connect(
        settings: ClientSettings,
        command_timeout: Duration,
    ) -> FredResult<(Arc<ManagedClient>, Self)> {
        let client = settings.build();
        let connected = client.reconnect_rx();
        let driver = first_connection(&client, settings.connect_timeout()).await?;
        let managed = ManagedClient::new(settings, client);
        Ok(Self::new(managed, Some(driver), connected, command_timeout))
    }

    /// A client that connects in the background, and its watchdog.
    pub(super) fn connect_later(
        settings: ClientSettings,
        command_timeout: Duration,
    ) -> (Arc<ManagedClient>, Self) {
        let client = settings.build();
        let connected = client.reconnect_rx();
        let driver = Driver(client.connect());
        let managed = ManagedClient::new(settings, client);
        Self::new(managed, Some(driver), connected, command_timeout)
    }

    /// A client of the user's, and its watchdog.
    pub(super) fn adopt(client: Client, command_timeout: Duration) -> (Arc<ManagedClient>, Self) {
        let connected = client.reconnect_rx();
        for server in client.active_connections() {
            tokio::spawn(load_scripts(client.clone(), server, command_timeout));
        }
        let managed = ManagedClient::new(ClientSettings::of(&client), client);
        Self::new(managed, None, connected, command_timeout)
    }

    fn new(
        managed: ManagedClient,
        driver: Option<Driver>,
        connected: broadcast::Receiver<Server>,
        command_timeout: Duration,
    ) -> (Arc<ManagedClient>, Self) {
        let managed = Arc::new(managed);
        let watchdog = Self {
            managed: Arc::clone(&managed),
            driver,
            connected,
            attempts: 0,
            next_check: monotonic_now(),
            command_timeout,
        };
        (managed, watchdog)
    }

    /// Watches until the backend is closed or dropped, then closes the client if it is ours.
    pub(super) async fn watch(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = closed(&mut closing) => break,
                () = self.handle_next_event() => {}
            }
        }
        self.quit().await;
    }

    async fn handle_next_event(&mut self) {
        tokio::select! {
            server = next_connected(&mut self.connected) => {
                self.attempts = 0;
                tokio::spawn(load_scripts(self.managed.client(), server, self.command_timeout));
            }
            () = ended(&mut self.driver) => {
                self.attempts = self.attempts.saturating_add(1);
                sleep(backoff(self.attempts)).await;
                self.connect_anew();
            }
            () = suspected(&self.managed, self.next_check) => {
                self.check_health().await;
                self.next_check = monotonic_now() + CHECK_INTERVAL;
            }
        }
    }

    /// Finds out whether a connection is dead, and replaces the client if so.
    async fn check_health(&mut self) {
        let displaced = self.managed.take_displaced();
        // fred itself connects again where it knows that a connection is lost.
        if !displaced && (!self.managed.client().is_connected() || self.all_answer().await) {
            return;
        }
        let limit = self.managed.settings.connect_timeout();
        if self.managed.settings.is_clustered() {
            self.connect_beside(limit).await;
            return;
        }
        let reconnected = timeout(limit, self.managed.client().force_reconnection()).await;
        if !matches!(reconnected, Ok(Ok(()))) {
            self.connect_anew();
        }
    }

    /// Whether every connection answers a PING.
    async fn all_answer(&self) -> bool {
        let mut servers = vec![None];
        if self.managed.settings.is_clustered() {
            let connections = self.managed.client().active_connections();
            servers = connections.into_iter().map(Some).collect();
        }
        let limit = self.command_timeout.max(MIN_PING_TIMEOUT);
        let mut pings = JoinSet::new();
        for server in servers {
            let managed = Arc::clone(&self.managed);
            pings.spawn(async move { managed.ping(server, limit).await.is_ok() });
        }
        while let Some(ping) = pings.join_next().await {
            if !ping.is_ok_and(|answered| answered) {
                return false;
            }
        }
        true
    }

    /// Puts a new client in the place of the present one at once.
    fn connect_anew(&mut self) {
        let client = self.managed.settings.build();
        self.connected = client.reconnect_rx();
        let driver = Driver(client.connect());
        self.managed.replace(client);
        self.driver = Some(driver);
    }

    /// Puts a new client in the place of the present one if it can connect to
    /// all nodes of the Cluster.
    ///
    /// Until then, and where a node hangs, the present one serves the other nodes. A forced
    /// reconnection would leave alone whatever looks healthy to fred.
    async fn connect_beside(&mut self, limit: Duration) {
        let client = self.managed.settings.build();
        let connected = client.reconnect_rx();
        let Ok(driver) = first_connection(&client, limit).await else {
            return;
        };
        self.connected = connected;
        self.managed.replace(client);
        if let Some(old) = self.driver.replace(driver) {
            // For the answers that are under way on its other connections.
            let grace = self.command_timeout;
            tokio::spawn(async move {
                sleep(grace).await;
                drop(old);
            });
        }
    }

    async fn quit(self) {
        if self.driver.is_some() {
            // Waits for what is under way. What happens if it cannot does not matter any more.
            let _ = timeout(self.command_timeout, self.managed.client().quit()).await;
        }
    }
}

/// The task that drives a client; dropping it closes the client's connections.
pub(super) struct Driver(ConnectHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long to wait before the attempt with this number, which counts from one.
pub(super) fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    MAX_BACKOFF.min(MIN_BACKOFF * 2_u32.pow(doublings))
}

/// Connects, and says at once and within the limit if that is not possible.
pub(super) async fn first_connection(client: &Client, limit: Duration) -> FredResult<Driver> {
    let mut driver = None;
    let outcome = {
        let running = async {
            // A broadcast that nobody listens to is lost: the other branch listens first.
            let Driver(task) = driver.insert(Driver(client.connect()));
            let _ = task.await;
            pending::<()>().await;
        };
        timeout(limit, async {
            tokio::select! {
                biased;
                result = client.wait_for_connect() => result,
                () = running => Ok(()),
            }
        })
        .await
    };
    match outcome {
        Ok(Ok(())) => driver.ok_or_else(|| Error::new(ErrorKind::Unknown, "not connecting")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "connecting took too long")),
    }
}

/// Waits until the backend is closed, or nobody holds it any more.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Waits until the task that drives a client ends; forever if it is not ours.
pub(super) async fn ended(driver: &mut Option<Driver>) {
    match driver {
        Some(Driver(task)) => drop(task.await),
        None => pending().await,
    }
}

/// Waits until the connections are worth examining, and may be.
async fn suspected(managed: &ManagedClient, next_check: Monotonic) {
    sleep_until(next_check).await;
    managed.suspected().await;
}

async fn next_connected(connected: &mut broadcast::Receiver<Server>) -> Server {
    loop {
        match connected.recv().await {
            Ok(server) => return server,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => pending().await,
        }
    }
}

/// Makes a server know the scripts before they are first called.
///
/// A server that does not allow it learns each script with its first call.
async fn load_scripts(client: Client, server: Server, command_timeout: Duration) {
    let options = Options {
        timeout: Some(command_timeout),
        fail_fast: true,
        cluster_node: client.is_clustered().then_some(server),
        ..Options::default()
    };
    let known = acquire::known_scripts();
    for script in script::ALL
        .into_iter()
        .chain(known.iter().map(Deref::deref))
    {
        let command = CustomCommand::new_static("SCRIPT", 0, false);
        let args: Vec<Value> = vec!["LOAD".into(), script.body()];
        let answer = client
            .with_options(&options)
            .custom_raw(command, args)
            .await;
        if !answer.is_ok_and(|answer| error_text(&answer).is_none()) {
            return;
        }
    }
}

const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// However many calls get no answer, or hear that this is a replica, there is one look at the
/// connections in this time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A healthy server that is busy answers late; only one that is silent for longer is replaced.
pub(super) const MIN_PING_TIMEOUT: Duration = Duration::from_millis(500);
