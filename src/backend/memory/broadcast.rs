//! Messages inside the process.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;

use super::{MemoryBackend, lock};
use crate::{
    backend::{Broadcast, Result, Signal, Subscription},
    key::Key,
};

impl Broadcast for MemoryBackend {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        self.inner.channels.publish(channel, &message);
        Ok(())
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        Ok(Subscription::new(self.inner.channels.subscribe(channel)))
    }
}

/// The channels that have subscribers. Dropping them ends all subscriptions.
#[derive(Default)]
pub(super) struct Channels {
    open: Arc<Open>,
}

type Open = Mutex<HashMap<Key, Vec<Arc<Mailbox>>>>;

impl Channels {
    fn publish(&self, channel: &Key, message: &Bytes) {
        let wakers: Vec<Waker> = {
            let open = lock(&self.open);
            let mailboxes = open.get(channel).into_iter().flatten();
            mailboxes
                .filter_map(|mailbox| mailbox.deliver(message.clone()))
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn subscribe(&self, channel: &Key) -> Receiver {
        let mailbox = Arc::new(Mailbox::default());
        lock(&self.open)
            .entry(channel.clone())
            .or_default()
            .push(Arc::clone(&mailbox));
        Receiver {
            open: Arc::downgrade(&self.open),
            channel: channel.clone(),
            mailbox,
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.open).len()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        let closed = mem::take(&mut *lock(&self.open));
        for mailbox in closed.into_values().flatten() {
            if let Some(waker) = mailbox.close() {
                waker.wake();
            }
        }
    }
}

/// The subscriber's end.
struct Receiver {
    open: Weak<Open>,
    channel: Key,
    mailbox: Arc<Mailbox>,
}

impl Stream for Receiver {
    type Item = Signal;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        self.mailbox.poll_next(cx)
    }
}

/// Leaves the channel, and closes it behind the last subscriber.
impl Drop for Receiver {
    fn drop(&mut self) {
        let Some(open) = self.open.upgrade() else {
            return;
        };
        let mut open = lock(&open);
        let Some(mailboxes) = open.get_mut(&self.channel) else {
            return;
        };
        mailboxes.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        if mailboxes.is_empty() {
            open.remove(&self.channel);
        }
    }
}

/// What one subscriber has not read yet.
#[derive(Default)]
struct Mailbox {
    unread: Mutex<Unread>,
}

#[derive(Default)]
struct Unread {
    /// How many messages were lost before the first of these.
    lost: u64,
    messages: VecDeque<Bytes>,
    closed: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Adds a message, in place of the oldest one if it is full, and says whom to wake.
    fn deliver(&self, message: Bytes) -> Option<Waker> {
        let mut unread = lock(&self.unread);
        if unread.messages.len() >= CAPACITY {
            unread.messages.pop_front();
            unread.lost += 1;
        }
        unread.messages.push_back(message);
        unread.waker.take()
    }

    fn close(&self) -> Option<Waker> {
        let mut unread = lock(&self.unread);
        unread.closed = true;
        unread.waker.take()
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        let mut unread = lock(&self.unread);
        if unread.lost > 0 {
            let lost = mem::take(&mut unread.lost);
            return Poll::Ready(Some(Signal::Lagged(lost)));
        }
        if let Some(message) = unread.messages.pop_front() {
            return Poll::Ready(Some(Signal::Message(message)));
        }
        if unread.closed {
            return Poll::Ready(None);
        }
        let before = unread.waker.replace(cx.waker().clone());
        drop(unread);
        // Only now, because dropping a waker may drop a task, and with it other subscriptions.
        drop(before);
        Poll::Pending
    }
}

/// Messages that a subscriber may leave unread.
pub(super) const CAPACITY: usize = 1_024;
