//! What a client of the user's must be like.

use fred::{clients::Client, interfaces::ClientLike};

use crate::error::ConfigError;

/// Refuses a client that would lose calls, repeat them, or let them hang.
pub(super) fn check(client: &Client) -> Result<(), ConfigError> {
    let connection = client.connection_config();
    let complaint = if client
        .client_reconnect_policy()
        .is_none_or(|policy| policy.max_attempts() != 0)
    {
        "the Redis client gives up reconnecting; \
         write .set_policy(ReconnectPolicy::new_exponential(0, 100, 5_000, 2)) on its builder"
    } else if connection.max_command_buffer_len != 0 {
        "the Redis client hangs for good after one full buffer; write max_command_buffer_len = 0"
    } else if connection.max_command_attempts < 2 {
        "the Redis client cannot follow a Cluster's redirections; write max_command_attempts = 3"
    } else if connection.reconnect_on_auth_error {
        "the Redis client drops every call in flight when one lacks a permission; \
         write reconnect_on_auth_error = false"
    } else if client.is_clustered() && connection.max_redirections != 0 {
        "the Redis client mixes up answers while a Cluster moves a slot; write max_redirections = 0: \
         this backend follows redirections itself"
    } else if client.perf_config().default_command_timeout.is_zero() {
        "the Redis client waits forever for an answer; \
         write default_command_timeout = Duration::from_millis(500) in its PerformanceConfig"
    } else if connection.connection_timeout.is_zero() {
        "the Redis client has no time to connect; write connection_timeout = Duration::from_secs(5)"
    } else if !client.is_connected() {
        "the Redis client is not connected; write client.init().await? before"
    } else {
        return Ok(());
    };
    Err(ConfigError::new(complaint))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fred::types::{
        Builder,
        config::{ConnectionConfig, PerformanceConfig, ReconnectPolicy},
    };

    use super::*;

    /// A client of which only the connection is missing.
    fn client(change: impl FnOnce(&mut ConnectionConfig, &mut PerformanceConfig)) -> Client {
        let mut builder = Builder::default_centralized();
        builder.set_policy(ReconnectPolicy::new_constant(0, 100));
        let mut performance = PerformanceConfig {
            default_command_timeout: Duration::from_millis(500),
            ..PerformanceConfig::default()
        };
        builder.with_connection_config(|connection| change(connection, &mut performance));
        builder.set_performance_config(performance);
        builder.build().unwrap()
    }

    #[track_caller]
    fn assert_refused(client: &Client, advice: &str) {
        let complaint = check(client).unwrap_err().to_string();
        assert!(complaint.contains(advice), "{complaint}");
    }

    #[test]
    fn a_client_that_never_reconnects_is_refused() {
        assert_refused(
            &Builder::default_centralized().build().unwrap(),
            "ReconnectPolicy",
        );
    }

    #[test]
    fn a_client_that_reconnects_a_few_times_is_refused() {
        let mut builder = Builder::default_centralized();
        builder.set_policy(ReconnectPolicy::new_constant(3, 100));
        assert_refused(&builder.build().unwrap(), "ReconnectPolicy");
    }

    #[test]
    fn a_client_with_a_bounded_buffer_is_refused() {
        let client = client(|connection, _| connection.max_command_buffer_len = 100);
        assert_refused(&client, "max_command_buffer_len = 0");
    }

    #[test]
    fn a_client_with_a_single_attempt_is_refused() {
        let client = client(|connection, _| connection.max_command_attempts = 1);
        assert_refused(&client, "max_command_attempts = 3");
    }

    #[test]
    fn a_client_that_reconnects_on_a_missing_permission_is_refused() {
        let client = client(|connection, _| connection.reconnect_on_auth_error = true);
        assert_refused(&client, "reconnect_on_auth_error = false");
    }

    #[test]
    fn a_clustered_client_that_follows_redirections_is_refused() {
        let mut builder = Builder::default_clustered();
        builder.set_policy(ReconnectPolicy::new_constant(0, 100));
        assert_refused(&builder.build().unwrap(), "max_redirections = 0");
    }

    #[test]
    fn a_client_without_a_time_out_is_refused() {
        let client = client(|_, performance| performance.default_command_timeout = Duration::ZERO);
        assert_refused(&client, "default_command_timeout");
    }

    #[test]
    fn a_client_that_has_no_time_to_connect_is_refused() {
        let client = client(|connection, _| connection.connection_timeout = Duration::ZERO);
        assert_refused(&client, "connection_timeout = Duration::from_secs(5)");
    }

    #[test]
    fn a_client_that_is_not_connected_is_refused() {
        assert_refused(&client(|_, _| {}), "init()");
    }
}
