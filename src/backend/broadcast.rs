//! Messages to every instance.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;

use super::Result;
use crate::key::Key;

/// Publish and subscribe, at most once, with visible gaps.
///
/// # Contract
///
/// * What was published shortly before `subscribe` may still come, in a Cluster for example.
/// * A message published after `subscribe` returned reaches the subscription, or the subscription
///   says [`Signal::Lagged`] or [`Signal::Reconnected`] where messages may be missing.
/// * Messages of one publisher on one channel come in the order of its calls that
///   ended before the next began.
/// * Subscribers receive what their own process publishes.
///
/// Errors and cancel safety are those of [`KeyValue`](super::KeyValue).
pub trait Broadcast: Send + Sync + 'static {
    /// Sends a message to the present subscribers of a channel.
    fn publish(&self, channel: &Key, message: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Receives what is published on a channel from now on.
    ///
    /// Dropping the subscription ends it.
    fn subscribe(&self, channel: &Key) -> impl Future<Output = Result<Subscription>> + Send;
}

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// A message.
    Message(Bytes),
    /// The subscriber was too slow, and here this many messages, or more, are missing.
    Lagged(u64),
    /// The connection was lost and is there again; messages in between may be lost.
    Reconnected,
}

/// The messages of one channel: a [`Stream`] of [`Signal`]s that ends when the backend is closed.
pub struct Subscription {
    signals: Pin<Box<dyn Stream<Item = Signal> + Send>>,
}

impl Subscription {
    /// The subscription that gives these signals, for implementing [`Broadcast`].
    pub fn new(signals: impl Stream<Item = Signal> + Send + 'static) -> Self {
        Self {
            signals: Box::pin(signals),
        }
    }

    /// Waits for the next signal; `None` when the backend is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no signal.
    pub async fn next(&mut self) -> Option<Signal> {
        poll_fn(|cx| self.signals.as_mut().poll_next(cx)).await
    }
}

impl Stream for Subscription {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.signals.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
