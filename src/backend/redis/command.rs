//! Sending a command, and telling an answer from an error.

use std::time::Duration;

use fred::{
    bytes_utils::Str,
    types::{ClusterHash, CustomCommand, Resp3Frame, Value},
};

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
        let slot = client.slot(routing_key);
        let frame = send(client, attempted, name, slot, args, self.timeout).await?;
        accept(attempted, frame)
    }

    /// Sends a command about one key over this client, for those whose order matters.
    pub(super) async fn ask_on(
        &self,
        client: &ManagedClient,
        attempted: &'static str,
        name: &'static str,
        key: Str,
    ) -> Result<Reply> {
        let slot = client.slot(&key);
        let args = vec![Value::String(key)];
        let frame = send(client, attempted, name, slot, args, self.timeout).await?;
        accept(attempted, frame)
    }
}

/// Sends a command to where this slot is stored; its answer may be an error.
pub(super) async fn send(
    client: &ManagedClient,
    attempted: &'static str,
    name: &'static str,
    slot: ClusterHash,
    args: Vec<Value>,
    timeout: Duration,
) -> Result<Resp3Frame> {
    let command = CustomCommand::new_static(name, slot, false);
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
