//! How to reach a Redis.

use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use fred::types::{
    RespVersion,
    config::{
        ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy,
        ServerConfig, TcpConfig, TlsConfig, TlsHostMapping,
    },
};

use super::{client::ClientSettings, tls::Tls, url::RedisUrl};
use crate::error::ConfigError;

/// How to reach a Redis, and how long to wait for it.
///
/// | URL | |
/// |---|---|
/// | `redis://[[user:]password@]host[:port][/database]` | one server |
/// | `redis-cluster://host:port?node=host:port&node=…` | a Cluster, found through any of its nodes |
/// | `redis-sentinel://host:port[/database]?sentinelServiceName=name&node=host:port&…` | the primary that Sentinels name; their own password is `&sentinelPassword=…` |
/// | `redis+unix:///path/to/socket` | one server through a Unix socket |
///
/// `rediss`, `rediss-cluster` and `rediss-sentinel` do the same over TLS, `valkey` instead of
/// `redis` is the same. A `%` in a user name or password begins a percent-encoded byte.
///
/// Without a database, or with `/0`, connections stay in the first one. Any other is chosen with
/// `SELECT`, which the Redis user must be allowed: add `+select` to the rules
/// that the README gives it.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::backend::RedisConfig;
///
/// # fn main() -> Result<(), tower_stash::ConfigError> {
/// let config = RedisConfig::new("rediss://app:secret@redis.internal:6380")?
///     .with_namespace("shop")
///     .with_command_timeout(Duration::from_millis(100));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    target: Config,
    tls: Option<Tls>,
    is_secure: bool,
    pub(super) namespace: String,
    pub(super) command_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) cluster_clock_skew: Duration,
    pub(super) is_lazy: bool,
}

impl RedisConfig {
    /// The Redis at this URL.
    ///
    /// # Errors
    ///
    /// If the URL has an unknown scheme, cannot be read, or says something that would be ignored.
    /// The error says what to write instead, and repeats no part of the URL,
    /// which may contain a password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let RedisUrl { is_secure, plain } = RedisUrl::parse(url)?;
        // fred's reason is left out: it may quote the URL.
        let mut target = Config::from_url(&plain).map_err(|_| {
            ConfigError::new(
                "the Redis URL cannot be read; write e.g. redis://user:password@host:6379/1, \
                 with a reserved character in a password as %40",
            )
        })?;
        check_target(&target)?;
        target.version = RespVersion::RESP3;
        // It is where a connection begins, and choosing it would take a permission.
        target.database = target.database.filter(|database| *database != 0);
        if let ServerConfig::Clustered { policy, .. } = &mut target.server {
            *policy = ClusterDiscoveryPolicy::UseCache;
        }
        Ok(Self {
            target,
            tls: None,
            is_secure,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            command_timeout: DEFAULT_COMMAND_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            cluster_clock_skew: DEFAULT_CLUSTER_CLOCK_SKEW,
            is_lazy: false,
        })
    }

    /// Begins every key and channel with this and a colon: 1 to 32 of `A-Z a-z 0-9 _ . : -`;
    /// `stash` by default.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Waits this long for each answer; 250 ms by default.
    #[must_use]
    pub fn with_command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Waits this long for a connection, TLS and login included; 5 s by default.
    ///
    /// Where the URL names several servers, one that hangs has a share of it, so that
    /// the others get their turn.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Logs in as this user of Redis' access control lists, instead of the one in the URL.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.target.username = Some(username.into());
        self
    }

    /// Logs in with this password, instead of the one in the URL.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.target.password = Some(password.into());
        self
    }

    /// Trusts servers with a certificate from these authorities (one or more, in PEM), instead of
    /// the ones that the operating system trusts.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().authorities = Some(pem.into());
        self
    }

    /// Shows servers this certificate (with its chain) and proves it with this
    /// private key, both in PEM.
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        private_key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.get_or_insert_default().identity = Some((certificate.into(), private_key.into()));
        self
    }

    /// Assumes that the clocks of a Cluster's nodes differ by no more than this; 250 ms by default.
    ///
    /// It is what [`KeyValue::clock_skew`](crate::backend::KeyValue::clock_skew) says of a Cluster.
    #[must_use]
    pub fn with_cluster_clock_skew(mut self, skew: Duration) -> Self {
        self.cluster_clock_skew = skew;
        self
    }

    /// Connects in the background, so that a service can start before its Redis.
    ///
    /// Until the connection is there, calls fail with
    /// [`Unavailable`](crate::backend::BackendErrorKind::Unavailable). Without this,
    /// [`RedisBackend::connect`](super::RedisBackend::connect) waits for the connection
    /// and fails if there is none.
    #[must_use]
    pub fn with_lazy_connect(mut self) -> Self {
        self.is_lazy = true;
        self
    }

    /// The settings as fred wants them, if they can work.
    pub(super) fn settings(&self) -> Result<ClientSettings, ConfigError> {
        check_namespace(&self.namespace)?;
        if self.command_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(ConfigError::new(
                "a time-out of 0 lets no call through; write e.g. Duration::from_millis(250)",
            ));
        }
        let mut config = self.target.clone();
        if config.username.is_some() && config.password.is_none() {
            return Err(ConfigError::new(
                "a Redis user needs a password; write redis://user:password@host, or with_password(..)",
            ));
        }
        config.tls = match (&self.tls, self.is_secure) {
            (tls, true) => Some(TlsConfig {
                connector: tls.clone().unwrap_or_default().connector()?,
                // The nodes of a Cluster announce addresses, and their certificates carry names.
                hostnames: TlsHostMapping::DefaultHost,
            }),
            (None, false) => None,
            (Some(_), false) => {
                return Err(ConfigError::new(
                    "certificates are for TLS, which the Redis URL does not ask for; write rediss:// instead of redis://",
                ));
            }
        };
        let step = self.connect_timeout / connect_steps(&config.server);
        Ok(ClientSettings {
            config,
            performance: PerformanceConfig {
                default_command_timeout: self.command_timeout.saturating_mul(2),
                broadcast_channel_capacity: BROADCAST_CAPACITY,
                ..PerformanceConfig::default()
            },
            connection: ConnectionConfig {
                connection_timeout: step,
                internal_command_timeout: step,
                max_command_attempts: 3,
                // fred follows ASK by reading the next answer on a connection as if nobody else
                // waited for it, so that later answers go to the wrong callers, and then asks the
                // old node again. `ManagedClient::send` follows instead.
                max_redirections: 0,
                // One command over any other limit hangs the client for good.
                max_command_buffer_len: 0,
                tcp: TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                },
                ..ConnectionConfig::default()
            },
            policy: Some(ReconnectPolicy::new_exponential(0, 100, 5_000, 2)),
        })
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self
            .target
            .server
            .hosts()
            .iter()
            .map(|server| format!("{}:{}", server.host, server.port))
            .collect();
        f.debug_struct("RedisConfig")
            .field("servers", &servers)
            .field("tls", &self.is_secure)
            .field("namespace", &self.namespace)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

impl FromStr for RedisConfig {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Self::new(url)
    }
}

impl TryFrom<&str> for RedisConfig {
    type Error = ConfigError;

    fn try_from(url: &str) -> Result<Self, ConfigError> {
        Self::new(url)
    }
}

impl TryFrom<&String> for RedisConfig {
    type Error = ConfigError;

    fn try_from(url: &String) -> Result<Self, ConfigError> {
        Self::new(url)
    }
}

impl TryFrom<String> for RedisConfig {
    type Error = ConfigError;

    fn try_from(url: String) -> Result<Self, ConfigError> {
        Self::new(&url)
    }
}

/// Lets a [`RedisConfig`] stand where something that becomes one may.
impl From<Infallible> for ConfigError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Into how many parts the connect time-out is divided: a server that hangs must leave time for the
/// others, and for the connection that they lead to.
pub(super) fn connect_steps(server: &ServerConfig) -> u32 {
    match server.hosts().len() {
        0 | 1 => 1,
        several => u32::try_from(several).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// Whether a namespace can begin a key and an ACL pattern.
pub(super) fn check_namespace(namespace: &str) -> Result<(), ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if (1..=MAX_NAMESPACE).contains(&namespace.len()) && namespace.bytes().all(allowed) {
        return Ok(());
    }
    Err(ConfigError::new(
        "a namespace is 1 to 32 of A-Z a-z 0-9 _ . : -; write e.g. \"shop\"",
    ))
}

fn check_target(target: &Config) -> Result<(), ConfigError> {
    if let ServerConfig::Unix { path } = &target.server
        && path.parent().is_none()
    {
        return Err(ConfigError::new(
            "the path of the Redis socket is missing; write redis+unix:///run/redis/redis.sock",
        ));
    }
    if !target.server.is_unix_socket() && target.server.hosts().iter().any(|host| host.port == 0) {
        return Err(ConfigError::new(
            "no Redis listens on port 0; write e.g. redis://localhost:6379",
        ));
    }
    Ok(())
}

pub(super) const DEFAULT_NAMESPACE: &str = "stash";
pub(super) const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
pub(super) const DEFAULT_CLUSTER_CLOCK_SKEW: Duration = Duration::from_millis(250);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_NAMESPACE: usize = 32;

/// How many messages fred keeps for us before it drops some; its default is 32.
pub(super) const BROADCAST_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(url: &str) -> String {
        RedisConfig::new(url)
            .and_then(|config| config.settings().map(|_| ()))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_scheme_leads_to_its_kind_of_server() {
        let server = |url| RedisConfig::new(url).unwrap().target.server;
        assert!(server("redis://localhost").is_centralized());
        assert!(server("valkeys://localhost").is_centralized());
        assert!(server("rediss-cluster://localhost:7000?node=localhost:7001").is_clustered());
        assert!(server("redis-sentinel://localhost?sentinelServiceName=main").is_sentinel());
        assert!(server("redis+unix:///run/redis.sock").is_unix_socket());
    }

    #[test]
    fn only_the_secure_schemes_use_tls() {
        let tls = |url: &str| RedisConfig::new(url).unwrap().is_secure;
        assert!(tls("rediss://localhost"));
        assert!(tls("REDISS-cluster://localhost:7000"));
        assert!(!tls("redis://localhost"));
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_with_what_to_write_instead() {
        for (url, advice) in [
            ("localhost:6379", "redis://localhost:6379"),
            ("http://localhost", "begins with redis://"),
            ("redis://", "write e.g. redis://"),
            ("redis://localhost/first", "write e.g. redis://"),
            ("redis://localhost:port", "write e.g. redis://"),
            ("redis://localhost:0", "write e.g. redis://"),
            ("redis-sentinel://localhost", "sentinelServiceName"),
            ("redis+unix:///", "redis+unix:///run/redis/redis.sock"),
            ("redis://user@localhost", "redis://user:password@host"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(advice), "{url}: {refusal}");
        }
    }

    #[test]
    fn no_refusal_repeats_a_part_of_the_url() {
        for url in [
            "hunter2",
            "hunter2://localhost",
            "redis://u:hunter2@localhost:hunter2",
            "redis://u:hunter2@localhost/hunter2",
            "redis://u:hunter2@localhost?hunter2=hunter2",
            "redis://:hunter2#@localhost",
            "redis://:hunter2%zz@local host",
            "redis-cluster://app:hunter2@h:7000?node=app:hunter2@h:7001",
            "redis-cluster://h:7000?node=hunter2",
            "redis-cluster://h:7000?node=hunter2:70000",
            "redis-sentinel://h?sentinelPassword=hunter2",
            "redis+unix://hunter2/redis.sock",
        ] {
            let error = RedisConfig::new(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
        }
    }

    #[test]
    fn database_zero_is_not_chosen() {
        let database = |url| RedisConfig::new(url).unwrap().target.database;
        assert_eq!(database("redis://localhost/0"), None);
        assert_eq!(database("redis://localhost/1"), Some(1));
    }

    #[test]
    fn a_server_that_hangs_leaves_the_others_their_time() {
        let step = |url| {
            let settings = RedisConfig::new(url).unwrap().settings().unwrap();
            assert_eq!(settings.connect_timeout(), Duration::from_secs(5));
            settings.connection.connection_timeout
        };
        assert_eq!(step("redis://localhost"), Duration::from_secs(5));
        assert_eq!(
            step("redis-cluster://h:1?node=h:2&node=h:3&node=h:4"),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_namespace_that_could_break_a_key_is_refused() {
        for namespace in ["", "a b", "{a}", "stash*", &"n".repeat(33)] {
            let config = RedisConfig::new("redis://localhost")
                .unwrap()
                .with_namespace(namespace);
            assert!(config.settings().is_err(), "{namespace}");
        }
        let longest = "n".repeat(32);
        assert!(check_namespace(&longest).is_ok());
    }

    #[test]
    fn certificates_without_tls_are_refused() {
        let config = RedisConfig::new("redis://localhost")
            .unwrap()
            .with_ca_certificate("pem");
        let refusal = config.settings().err().unwrap().to_string();
        assert!(refusal.contains("rediss://"), "{refusal}");
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let config = RedisConfig::new("rediss://localhost")
            .unwrap()
            .with_ca_certificate("pem");
        let refusal = config.settings().err().unwrap().to_string();
        assert!(refusal.contains("BEGIN CERTIFICATE"), "{refusal}");
    }

    #[test]
    fn a_time_out_of_zero_is_refused() {
        let config = RedisConfig::new("redis://localhost").unwrap();
        assert!(
            config
                .clone()
                .with_command_timeout(Duration::ZERO)
                .settings()
                .is_err()
        );
        assert!(
            config
                .with_connect_timeout(Duration::ZERO)
                .settings()
                .is_err()
        );
    }

    #[test]
    fn no_password_is_ever_printed() {
        let config = RedisConfig::new(
            "redis-sentinel://u:hunter2@localhost?sentinelServiceName=main&sentinelPassword=hunter3",
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    }

    #[test]
    fn the_guards_of_the_client_are_set() {
        let settings = RedisConfig::new("redis://localhost")
            .unwrap()
            .settings()
            .unwrap();
        assert_eq!(settings.connection.max_command_buffer_len, 0);
        assert_eq!(settings.connection.max_command_attempts, 3);
        assert_eq!(settings.connection.max_redirections, 0);
        assert_eq!(settings.connection.tcp.nodelay, Some(true));
        assert_eq!(
            settings.performance.default_command_timeout,
            Duration::from_millis(500)
        );
        assert_eq!(settings.performance.broadcast_channel_capacity, 4096);
        assert!(
            settings
                .policy
                .is_some_and(|policy| policy.max_attempts() == 0)
        );
    }
}
