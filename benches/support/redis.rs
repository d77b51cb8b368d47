//! A Redis client as the backend makes and uses it, for what is compared to the backend.
#![expect(
    clippy::disallowed_types,
    reason = "what a handler would do without a layer it does with the Redis client"
)]

use std::time::Duration;

use axum::http::StatusCode;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{
        Builder, ClusterHash, CustomCommand, Resp3Frame, RespVersion, Value,
        config::{Config, Options, ReconnectPolicy},
    },
};

use crate::servers::Result;

/// Longer than in production: what is measured is a machine that is busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// A client with the settings of `RedisBackend::connect`, but for the time-out.
pub(crate) fn client(url: &str) -> Result<Client> {
    let mut config = Config::from_url(url)?;
    config.version = RespVersion::RESP3;
    let mut builder = Builder::from_config(config);
    builder
        .set_policy(ReconnectPolicy::new_exponential(0, 100, 5_000, 2))
        .with_performance_config(|performance| {
            performance.default_command_timeout = TIMEOUT;
        })
        .with_connection_config(|connection| {
            connection.max_command_attempts = 3;
            connection.max_command_buffer_len = 0;
            connection.tcp.nodelay = Some(true);
        });
    Ok(builder.build()?)
}

/// Sends a command as the backend does: see `src/backend/redis/client.rs`.
pub(crate) async fn send(
    client: &Client,
    name: &'static str,
    key: &str,
    args: Vec<Value>,
) -> Result<Resp3Frame, StatusCode> {
    let options = Options {
        timeout: Some(TIMEOUT),
        max_attempts: Some(1),
        fail_fast: true,
        ..Options::default()
    };
    let command = CustomCommand::new_static(name, ClusterHash::from(key), false);
    match client
        .with_options(&options)
        .custom_raw(command, args)
        .await
    {
        Ok(Resp3Frame::SimpleError { .. } | Resp3Frame::BlobError { .. }) | Err(_) => {
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Ok(frame) => Ok(frame),
    }
}
