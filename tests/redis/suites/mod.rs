//! What is tested, a module each.

pub(crate) mod adopted;
pub(crate) mod cache;
pub(crate) mod conformance;
pub(crate) mod connecting;
pub(crate) mod counters;
pub(crate) mod differential;
pub(crate) mod extremes;
pub(crate) mod harness;
pub(crate) mod healing;
pub(crate) mod hot_keys;
pub(crate) mod idempotency;
pub(crate) mod idempotency_schedules;
pub(crate) mod outage;
pub(crate) mod payments;
pub(crate) mod processes;
pub(crate) mod quickstart;
pub(crate) mod quota_traces;
pub(crate) mod round_trips;
pub(crate) mod session_model;
pub(crate) mod sessions;
pub(crate) mod slots;

use tower_stash::backend::{RedisBackend, RedisConfig};

use crate::{
    servers::{Address, Result, eventually, standalone::Server},
    trial::namespace,
};

/// Connects to a topology, in a namespace of its own.
pub(crate) async fn connect(address: Address) -> Result<RedisBackend> {
    let mut config = RedisConfig::new(&address.url)?.with_namespace(namespace());
    if let Some(ca) = address.ca {
        config = config.with_ca_certificate(ca);
    }
    Ok(RedisBackend::connect(config).await?)
}

/// Waits until a server has heard of no new script for a tenth of a second: connections load those that their
/// process knows in the background.
pub(crate) async fn scripts_are_loaded(server: &Server) -> Result<()> {
    let (mut last, mut times) = (0, 0);
    eventually("all scripts are loaded", async || {
        let stats = server.commandstats().await?;
        let loads = stats.get("script|load").copied().unwrap_or(0);
        times = if loads > 0 && loads == last {
            times + 1
        } else {
            0
        };
        last = loads;
        Ok(times >= 5)
    })
    .await
}
