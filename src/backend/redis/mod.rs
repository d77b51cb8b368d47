//! The backend that all instances share.
#![expect(
    clippy::disallowed_types,
    reason = "the one folder that names the Redis client"
)]

mod acquire;
mod broadcast;
mod client;
mod command;
mod config;
mod error;
mod index;
mod key_value;
mod quotas;
mod reply;
mod script;
mod signal_queue;
mod slots;
mod subscriber;
mod tls;
mod url;
mod user_client;
mod watchdog;

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    bytes_utils::Str,
    clients::{Client, Pool},
    interfaces::ClientLike,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

pub use self::config::RedisConfig;
use self::{
    broadcast::{Request, closed_error},
    client::ManagedClient,
    command::accept,
    watchdog::Watchdog,
};
use super::{BackendError, BackendErrorKind, KeyValue as _, Precondition, Result, Version};
use crate::{
    clock::{Clock, monotonic_now},
    error::ConfigError,
    key::{Key, KeyParts},
};

/// Redis 7.0 or newer, or Valkey: one server, a Cluster, or a primary behind
/// Sentinels; cheap to clone.
///
/// ```no_run
/// use tower_stash::backend::RedisBackend;
///
/// # async fn connect() -> Result<(), tower_stash::backend::BackendError> {
/// let backend = RedisBackend::connect("redis://localhost:6379").await?;
/// backend.ping().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Failure
///
/// Every call, but for the first subscription, which may take the connect time-out, is answered
/// within the command time-out (250 ms by default), by an error if need be; nothing is sent
/// twice, nothing is queued for later. A connection that is lost, silent, or leads to a server that
/// is no longer the primary is replaced in the background, however long that takes; meanwhile calls
/// fail with [`Unavailable`](BackendErrorKind::Unavailable),
/// [`TimedOut`](BackendErrorKind::TimedOut) or [`Disconnected`](BackendErrorKind::Disconnected).
/// Dropping the last clone (and [`Subscription`](super::Subscription)) closes the connection.
///
/// In a Cluster, a node that is gone takes all slots with it for a while: as long as it is listed
/// as a primary and refuses connections, the client tries to reach it again, and calls for the
/// other nodes fail too. A node that is there and hangs takes only its own slots. Run replicas, so
/// that the Cluster replaces a lost primary, and see `cluster-node-timeout` for how soon. A call
/// for a slot that no node serves closes the connection to the node that says so, and calls on it
/// are [`Disconnected`](BackendErrorKind::Disconnected).
///
/// A Sentinel that refuses connections is passed over for the next; one that accepts them
/// and never answers is not.
///
/// # What Redis promises, and what not
///
/// * **Replication is asynchronous.** A failover may lose the newest writes: some hits are
///   forgotten, a lock or a record may be back at the state before.
/// * **Use `maxmemory-policy noeviction`.** Every key has a time to live; another policy may drop
///   counters and locks before it is over. A full Redis then answers
///   [`Rejected`](BackendErrorKind::Rejected).
/// * **Persistence** decides what a restart forgets. `appendonly yes` with
///   `appendfsync everysec` forgets a second.
/// * While a Cluster moves a slot, calls for what is already on the other node are
///   [`Rejected`](BackendErrorKind::Rejected).
/// * Times are the primary's. Replicas are never read.
///
/// # Permissions
///
/// The README has the line that makes a user who may do what this backend does, and nothing else:
/// under "The Redis user". The tests run as that user.
#[derive(Clone)]
pub struct RedisBackend {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    timeout: Duration,
    clock_skew: Duration,
    /// What quotas and slots go by instead of the server's clock, in tests.
    quota_clock: Option<Arc<dyn Clock>>,
}

/// What all clones share; the background tasks end when it is dropped.
struct Shared {
    clients: Box<[Arc<ManagedClient>]>,
    next: AtomicUsize,
    subscriptions: OnceLock<mpsc::UnboundedSender<Request>>,
    is_closed: AtomicBool,
    closing: watch::Sender<bool>,
    watchdogs: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisBackend {
    /// Connects to the Redis at a URL, or as a [`RedisConfig`] says.
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](BackendErrorKind::Misconfigured) with what to write instead if the
    /// settings cannot work, or if the user may not run scripts on keys of the namespace;
    /// [`Unavailable`](BackendErrorKind::Unavailable) at once if the connection is refused, or if
    /// there is none within the connect time-out (5 s by default). With
    /// [`with_lazy_connect`](RedisConfig::with_lazy_connect) neither is asked.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn connect(
        config: impl TryInto<RedisConfig, Error: Into<ConfigError>>,
    ) -> Result<Self> {
        let config = config
            .try_into()
            .map_err(|error| misconfigured(&error.into()))?;
        let settings = config.settings().map_err(|error| misconfigured(&error))?;
        let (client, watchdog) = if config.is_lazy {
            Watchdog::connect_later(settings, config.command_timeout)
        } else {
            Watchdog::connect(settings, config.command_timeout)
                .await
                .map_err(|error| error::connect_error(&error))?
        };
        let mut backend = Self::with_clients([(client, watchdog)], config.command_timeout);
        backend.namespace = config.namespace.into();
        if backend.shared.client().settings.is_clustered() {
            backend.clock_skew = config.cluster_clock_skew;
        }
        if !config.is_lazy {
            backend.try_out().await?;
        }
        Ok(backend)
    }

    /// Runs a script that writes nothing, to find out now rather than with the first request that
    /// this user may not. Other trouble passes, and every call tells of it.
    async fn try_out(&self) -> Result<()> {
        let key = Key::custom("connect", &KeyParts::new());
        match self
            .delete(&key, Precondition::Matches(Version::from_u64(0)))
            .await
        {
            Err(error) if error.kind() == BackendErrorKind::Misconfigured => Err(error),
            _ => Ok(()),
        }
    }

    /// Uses a client that you already have, and leaves closing it to you.
    ///
    /// If it is silent for good, it is replaced by another one made from the same settings.
    ///
    /// # Errors
    ///
    /// If the client is not connected, or if one of its settings would lose calls, repeat them, or
    /// let them hang; the error says what to write instead. Also outside a Tokio runtime.
    pub fn from_client(client: Client) -> std::result::Result<Self, ConfigError> {
        Self::from_clients(vec![client])
    }

    /// Uses the clients of a pool that you already have, in turn, and leaves closing them to you.
    ///
    /// # Errors
    ///
    /// As [`from_client`](Self::from_client) says, for any of them.
    pub fn from_pool(pool: &Pool) -> std::result::Result<Self, ConfigError> {
        Self::from_clients(pool.clients().to_vec())
    }

    fn from_clients(clients: Vec<Client>) -> std::result::Result<Self, ConfigError> {
        if Handle::try_current().is_err() {
            return Err(ConfigError::new(
                "a Redis client needs a Tokio runtime; call this from async code",
            ));
        }
        clients.iter().try_for_each(user_client::check)?;
        let timeout = config::DEFAULT_COMMAND_TIMEOUT;
        let clients = clients
            .into_iter()
            .map(|client| Watchdog::adopt(client, timeout));
        let mut backend = Self::with_clients(clients, timeout);
        if backend.shared.client().settings.is_clustered() {
            backend.clock_skew = config::DEFAULT_CLUSTER_CLOCK_SKEW;
        }
        Ok(backend)
    }

    fn with_clients(
        clients: impl IntoIterator<Item = (Arc<ManagedClient>, Watchdog)>,
        timeout: Duration,
    ) -> Self {
        let (closing, _) = watch::channel(false);
        let (clients, watchdogs): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .map(|(client, watchdog)| (client, tokio::spawn(watchdog.watch(closing.subscribe()))))
            .unzip();
        Self {
            shared: Arc::new(Shared {
                clients: clients.into(),
                next: AtomicUsize::new(0),
                subscriptions: OnceLock::new(),
                is_closed: AtomicBool::new(false),
                closing,
                watchdogs: Mutex::new(watchdogs),
            }),
            namespace: config::DEFAULT_NAMESPACE.into(),
            timeout,
            clock_skew: Duration::ZERO,
            quota_clock: None,
        }
    }

    /// The same connection with keys and channels that begin with this and a colon.
    ///
    /// # Errors
    ///
    /// If it is not 1 to 32 of `A-Z a-z 0-9 _ . : -`.
    pub fn with_namespace(mut self, namespace: &str) -> std::result::Result<Self, ConfigError> {
        config::check_namespace(namespace)?;
        self.namespace = namespace.into();
        Ok(self)
    }

    /// The same connection, on which calls of this handle wait this long for an
    /// answer; at least a millisecond.
    #[must_use]
    pub fn with_command_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// The same connection, on which quotas and slots of this handle go by this clock
    /// instead of the server's.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_quota_clock(mut self, clock: impl Clock) -> Self {
        self.quota_clock = Some(Arc::new(clock));
        self
    }

    /// What keys and channels begin with.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Asks for a sign of life, and says how long it took; for health endpoints.
    ///
    /// It says that Redis answers, not that it has room, nor that this user may do more than ask.
    ///
    /// In a Cluster every primary must give one.
    ///
    /// # Errors
    ///
    /// As any call: within the command time-out.
    pub async fn ping(&self) -> Result<Duration> {
        const PING: &str = "ping Redis";
        self.check_open(PING)?;
        let begun = monotonic_now();
        let client = self.shared.client();
        let mut nodes = vec![None];
        if client.settings.is_clustered() {
            let primaries = client.client().active_connections();
            if !primaries.is_empty() {
                nodes = primaries.into_iter().map(Some).collect();
            }
        }
        for node in nodes {
            let left = self.timeout.saturating_sub(monotonic_now() - begun);
            let frame = client
                .ping(node, left)
                .await
                .map_err(|error| error::no_reply_error(PING, self.timeout, &error))?;
            accept(PING, frame)?;
        }
        Ok(monotonic_now() - begun)
    }

    /// Closes the connection, after what is under way, for all clones. Subscriptions end. A client
    /// that came in by [`from_client`](Self::from_client) or
    /// [`from_pool`](Self::from_pool) stays open.
    ///
    /// Every call from now on fails with [`Unavailable`](BackendErrorKind::Unavailable) at once.
    pub async fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.closing.send_replace(true);
        let watchdogs = std::mem::take(
            &mut *self
                .shared
                .watchdogs
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for watchdog in watchdogs {
            // A watchdog gives the server one time-out to say goodbye.
            let _ = timeout(self.timeout.saturating_mul(2), watchdog).await;
        }
    }

    /// The full name of a key or a channel.
    fn name(&self, key: &Key) -> Str {
        Str::from([&*self.namespace, ":", key.as_str()].concat())
    }

    fn check_open(&self, attempted: &'static str) -> Result<()> {
        if self.shared.is_closed.load(Ordering::Acquire) {
            return Err(closed_error(attempted));
        }
        Ok(())
    }

    /// The client whose turn it is, if the backend is open.
    fn client(&self, attempted: &'static str) -> Result<&ManagedClient> {
        self.check_open(attempted)?;
        Ok(self.shared.client())
    }
}

impl Shared {
    /// The client whose turn it is.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a client, and the index is below their number"
    )]
    fn client(&self) -> &Arc<ManagedClient> {
        if self.clients.len() == 1 {
            return &self.clients[0];
        }
        &self.clients[self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("namespace", &self.namespace)
            .field("command_timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn misconfigured(error: &ConfigError) -> BackendError {
    BackendError::new(
        BackendErrorKind::Misconfigured,
        format!("connect to Redis: {error}"),
    )
}
