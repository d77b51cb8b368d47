//! What a Redis URL may say. No complaint repeats any part of it: a password may stand anywhere.

use crate::error::ConfigError;

/// A URL that says nothing which would be ignored, and so be a surprise.
#[derive(Debug)]
pub(super) struct RedisUrl {
    /// Whether it asks for TLS.
    pub(super) is_secure: bool,
    /// The same without TLS and under Redis' name: fred would choose the TLS library's defaults
    /// itself, and panics where a program has two cryptography providers.
    pub(super) plain: String,
}

impl RedisUrl {
    /// Reads a URL's scheme and checks what stands where.
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(ConfigError::new(
                "a Redis URL looks like redis://localhost:6379; this has no ://",
            ));
        };
        let (is_secure, topology) = match &*scheme.to_ascii_lowercase() {
            "redis" | "valkey" => (false, Topology::Standalone),
            "rediss" | "valkeys" => (true, Topology::Standalone),
            "redis-cluster" | "valkey-cluster" => (false, Topology::Cluster),
            "rediss-cluster" | "valkeys-cluster" => (true, Topology::Cluster),
            "redis-sentinel" | "valkey-sentinel" => (false, Topology::Sentinel),
            "rediss-sentinel" | "valkeys-sentinel" => (true, Topology::Sentinel),
            "redis+unix" | "valkey+unix" => (false, Topology::Unix),
            _ => {
                return Err(ConfigError::new(
                    "a Redis URL begins with redis://, redis-cluster://, redis-sentinel:// (rediss.. for TLS) or redis+unix://",
                ));
            }
        };
        Parts::of(rest).check(topology)?;
        Ok(Self {
            is_secure,
            plain: format!("{}://{rest}", topology.scheme()),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    Standalone,
    Cluster,
    Sentinel,
    Unix,
}

impl Topology {
    fn scheme(self) -> &'static str {
        match self {
            Self::Standalone => "redis",
            Self::Cluster => "redis-cluster",
            Self::Sentinel => "redis-sentinel",
            Self::Unix => "redis+unix",
        }
    }

    /// The parameters behind the question mark.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Standalone | Self::Unix => &[],
            Self::Cluster => &["node"],
            Self::Sentinel => &[
                "sentinelServiceName",
                "sentinelUsername",
                "sentinelPassword",
                "node",
            ],
        }
    }
}

/// What stands behind the scheme: `credentials@host/path?query`.
struct Parts<'a> {
    credentials: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        Self {
            credentials,
            host,
            path,
            query,
        }
    }

    fn check(&self, topology: Topology) -> Result<(), ConfigError> {
        if self
            .credentials
            .is_some_and(|credentials| credentials.ends_with(':'))
        {
            return Err(ConfigError::new(
                "the password in the Redis URL is empty; write redis://user:password@host, or redis://host without one",
            ));
        }
        if topology == Topology::Unix && !self.host.is_empty() {
            return Err(ConfigError::new(
                "a Redis socket has a path and no host; write three slashes: redis+unix:///run/redis/redis.sock",
            ));
        }
        if topology == Topology::Cluster && !matches!(self.path, "" | "0") {
            return Err(ConfigError::new(
                "a Redis Cluster has only database 0; write redis-cluster://host:7000, with nothing behind the port",
            ));
        }
        for (name, value) in self.parameters() {
            if !topology.parameters().contains(&name) {
                return Err(unknown_parameter(topology));
            }
            if name == "node" && !is_host_and_port(value) {
                return Err(ConfigError::new(
                    "another node in the Redis URL is not a host and a port; write node=host:7001, \
                     and user and password only in front of the first host",
                ));
            }
        }
        if topology == Topology::Sentinel
            && !self
                .parameters()
                .any(|(name, value)| name == "sentinelServiceName" && !value.is_empty())
        {
            return Err(ConfigError::new(
                "Redis Sentinels watch primaries by name, and the URL has none; \
                 write redis-sentinel://host:26379?sentinelServiceName=main",
            ));
        }
        Ok(())
    }

    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
    }
}

fn unknown_parameter(topology: Topology) -> ConfigError {
    ConfigError::new(match topology {
        Topology::Standalone => {
            "a redis:// URL takes no ?parameters; write a database as redis://host:6379/1, and TLS as rediss://"
        }
        Topology::Cluster => {
            "a redis-cluster:// URL takes no ?parameters but other nodes; write ?node=host:7001&node=host:7002"
        }
        Topology::Sentinel => {
            "a redis-sentinel:// URL takes no ?parameters but sentinelServiceName, sentinelUsername, \
             sentinelPassword and node; write ?sentinelServiceName=main&node=host:26379"
        }
        Topology::Unix => {
            "a redis+unix:// URL takes no ?parameters; write user and password with with_username(..) and with_password(..)"
        }
    })
}

fn is_host_and_port(node: &str) -> bool {
    node.split_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('@') && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_refused(url: &str, advice: &str) {
        let complaint = RedisUrl::parse(url).unwrap_err().to_string();
        assert!(complaint.contains(advice), "{url}: {complaint}");
    }

    #[test]
    fn a_parameter_that_would_be_ignored_is_refused() {
        assert_refused("redis://localhost?db=3", "redis://host:6379/1");
        assert_refused("redis://localhost?ssl=true", "rediss://");
        assert_refused("redis-cluster://localhost?nodes=h:1", "?node=host:7001");
        assert_refused(
            "redis-sentinel://localhost?sentinelServiceName=main&db=1",
            "sentinelPassword and node",
        );
        assert_refused("redis+unix:///run/redis.sock?db=3", "with_password(..)");
    }

    #[test]
    fn a_part_that_a_topology_does_not_have_is_refused() {
        assert_refused("redis-cluster://localhost:7000/3", "only database 0");
        assert_refused("redis+unix://run/redis.sock", "redis+unix:///run");
        assert_refused("redis-sentinel://localhost", "sentinelServiceName=main");
        assert_refused(
            "redis-sentinel://localhost?sentinelServiceName=",
            "sentinelServiceName=main",
        );
    }

    #[test]
    fn an_empty_password_is_refused() {
        assert_refused("redis://:@localhost", "redis://user:password@host");
        assert_refused("redis://user:@localhost", "redis://user:password@host");
    }

    #[test]
    fn another_node_is_a_host_and_a_port() {
        for node in ["h", "h:", "h:0", ":7000", "u:p@h:7000", "h:port"] {
            assert_refused(
                &format!("redis-cluster://localhost?node={node}"),
                "write node=host:7001",
            );
        }
    }

    #[test]
    fn what_each_topology_has_is_accepted() {
        for url in [
            "redis://user:p%40ss@localhost:6379/1",
            "redis://:p%3Fss@localhost",
            "redis-cluster://localhost:7000?node=h:7001&node=h:7002",
            "redis-sentinel://h/2?sentinelServiceName=main&node=h:2&sentinelUsername=u&sentinelPassword=p",
            "redis+unix:///run/redis.sock",
            " redis://[::1]:6379 ",
        ] {
            RedisUrl::parse(url).unwrap();
        }
    }
}
