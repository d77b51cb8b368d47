//! Sending a command, and telling an answer from an error.

use std::time::Duration;

use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};

use super::{
    RedisBackend,
    client::{ManagedClient, error_text},
    error,
    reply::Reply,
};
use crate::backend::Result;

impl RedisBackend {
    /// Sends a command to where `routing_key` is stored, and reads its answer.
    pub(super) async fn command(
        &self,
        attempted: &'static str,
        name: &'static str,
        routing_key: &str,
        args: Vec<Value>,
    ) -> Result<Reply> {
        let client = self.client(attempted)?;
        self.command_on(client, attempted, name, routing_key, args)
            .await
    }

    /// Sends a command over this client, for those whose order matters.
    pub(super) async fn command_on(
        &self,
        client: &ManagedClient,
        attempted: &'static str,
        name: &'static str,
        routing_key: &str,
        args: Vec<Value>,
    ) -> Result<Reply> {
        let frame = send(client, attempted, name, routing_key, args, self.timeout).await?;
        accept(attempted, frame)
    }
}

/// Sends a command to where `routing_key` is stored; its answer may be an error.
pub(super) async fn send(
    client: &ManagedClient,
    attempted: &'static str,
    name: &'static str,
    routing_key: &str,
    args: Vec<Value>,
    timeout: Duration,
) -> Result<Resp3Frame> {
    // `CustomCommand` ignores the other ways to say where a key is.
    let command = CustomCommand::new_static(name, ClusterHash::from(routing_key), false);
    client
        .send(command, args, timeout)
        .await
        .map_err(|error| error::no_reply_error(attempted, timeout, &error))
}

/// An answer that is not an error.
pub(super) fn accept(attempted: &'static str, frame: Resp3Frame) -> Result<Reply> {
    match error_text(&frame) {
        Some(text) => Err(error::server_error(attempted, text)),
        None => Ok(Reply::new(attempted, frame)),
    }
}
