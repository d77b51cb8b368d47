//! Keeps a client alive, or replaces it.
//!
//! fred reconnects by itself when a connection closes. It does not notice a connection that is open and silent, nor
//! that its own task ended; both leave a client that says `Connected` and never answers again.

use std::{future::pending, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, FredResult},
    types::{
        ConnectHandle, CustomCommand, Value,
        config::{Options, Server},
    },
};
use tokio::{
    sync::{broadcast, watch},
    time::{sleep, timeout},
};

use super::{
    line::{Blueprint, Line, error_text},
    script,
};

/// What keeps one line alive until the backend is closed or dropped.
pub(super) struct Watchdog {
    line: Arc<Line>,
    /// The task that drives the client, if the client is ours.
    task: Option<ConnectHandle>,
    /// The servers that the client has just connected to.
    connected: broadcast::Receiver<Server>,
    attempts: u32,
    /// How long a PING may take.
    patience: Duration,
}

impl Watchdog {
    /// A line that is connected, and its watchdog.
    pub(super) async fn connect(
        blueprint: Blueprint,
        patience: Duration,
    ) -> FredResult<(Arc<Line>, Self)> {
        let client = blueprint.build();
        let connected = client.reconnect_rx();
        let task = first_connection(&client, blueprint.connect_timeout()).await?;
        let line = Arc::new(Line::new(blueprint, client));
        Ok((
            Arc::clone(&line),
            Self {
                line,
                task: Some(task),
                connected,
                attempts: 0,
                patience,
            },
        ))
    }

    /// A line that connects in the background, and its watchdog.
    pub(super) fn connect_later(blueprint: Blueprint, patience: Duration) -> (Arc<Line>, Self) {
        let client = blueprint.build();
        let connected = client.reconnect_rx();
        let task = client.connect();
        let line = Arc::new(Line::new(blueprint, client));
        (
            Arc::clone(&line),
            Self {
                line,
                task: Some(task),
                connected,
                attempts: 0,
                patience,
            },
        )
    }

    /// The line of a client of the user's, and its watchdog.
    pub(super) fn adopt(client: Client, patience: Duration) -> (Arc<Line>, Self) {
        let connected = client.reconnect_rx();
        for server in client.active_connections() {
            tokio::spawn(load_scripts(client.clone(), server, patience));
        }
        let line = Arc::new(Line::new(Blueprint::of(&client), client));
        (
            Arc::clone(&line),
            Self {
                line,
                task: None,
                connected,
                attempts: 0,
                patience,
            },
        )
    }

    /// Watches until the backend is closed or dropped, then closes the client if it is ours.
    pub(super) async fn watch(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = closed(&mut closing) => break,
                () = self.attend() => {}
            }
        }
        self.hang_up().await;
    }

    async fn attend(&mut self) {
        tokio::select! {
            server = next_connected(&mut self.connected) => {
                self.attempts = 0;
                tokio::spawn(load_scripts(self.line.client(), server, self.patience));
            }
            () = ended(&mut self.task) => {
                sleep(self.backoff()).await;
                self.rebuild();
            }
            () = self.line.suspected() => self.examine().await,
        }
    }

    /// Finds out whether the client is dead, and brings it back to life.
    async fn examine(&mut self) {
        let displaced = self.line.take_displaced();
        if !displaced
            && (self.line.ping(None, self.patience).await.is_ok()
                || !self.line.client().is_connected())
        {
            return;
        }
        // In a Cluster a forced reconnection leaves connections that look healthy alone.
        let limit = self.line.blueprint.connect_timeout();
        let revived = !self.line.blueprint.is_clustered()
            && matches!(
                timeout(limit, self.line.client().force_reconnection()).await,
                Ok(Ok(()))
            );
        if !revived {
            self.rebuild();
        } else if displaced {
            // Whoever is connected to a replica for good must not reconnect with every write.
            sleep(SETTLING).await;
        }
    }

    /// Puts a new client in the place of the present one.
    fn rebuild(&mut self) {
        let client = self.line.blueprint.build();
        self.connected = client.reconnect_rx();
        let task = client.connect();
        self.line.replace(client);
        if let Some(old) = self.task.replace(task) {
            old.abort();
        }
    }

    fn backoff(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        backoff(self.attempts)
    }

    async fn hang_up(self) {
        if let Some(task) = self.task {
            // Waits for what is under way. What happens if it cannot does not matter any more.
            let _ = timeout(self.patience, self.line.client().quit()).await;
            task.abort();
        }
    }
}

/// How long to wait before the attempt with this number, which counts from one.
pub(super) fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    MAX_BACKOFF.min(MIN_BACKOFF * 2_u32.pow(doublings))
}

/// Connects, and says at once and within the limit if that is not possible.
pub(super) async fn first_connection(
    client: &Client,
    limit: Duration,
) -> FredResult<ConnectHandle> {
    let mut task = None;
    let outcome = {
        let running = async {
            // A broadcast that nobody listens to is lost: the other branch listens first.
            let _ = task.insert(client.connect()).await;
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
    let error = match outcome {
        Ok(Ok(())) => match task {
            Some(task) => return Ok(task),
            None => fred::error::Error::new(fred::error::ErrorKind::Unknown, "not connecting"),
        },
        Ok(Err(error)) => error,
        Err(_) => {
            fred::error::Error::new(fred::error::ErrorKind::Timeout, "connecting took too long")
        }
    };
    if let Some(task) = task {
        task.abort();
    }
    Err(error)
}

/// Waits until the backend is closed, or nobody holds it any more.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Waits until the task that drives a client ends; forever if it is not ours.
pub(super) async fn ended(task: &mut Option<ConnectHandle>) {
    match task {
        Some(task) => drop(task.await),
        None => pending().await,
    }
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
async fn load_scripts(client: Client, server: Server, patience: Duration) {
    let options = Options {
        timeout: Some(patience),
        fail_fast: true,
        cluster_node: client.is_clustered().then_some(server),
        ..Options::default()
    };
    for script in script::ALL {
        let command = CustomCommand::new_static("SCRIPT", 0, false);
        let args: Vec<Value> = vec!["LOAD".into(), script.body.into()];
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
const SETTLING: Duration = Duration::from_secs(1);
