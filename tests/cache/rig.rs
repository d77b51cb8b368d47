//! A backend between whose calls a test can act, and whose messages it can lose.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc::{self, UnboundedSender};
use tower_stash::{
    backend::{
        Broadcast, Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions,
        Result, Signal, Subscription,
    },
    key::Key,
    testing::FaultBackend,
};

use crate::fixture::{Gate, faulty};

/// A backend that seems to be reached over a network.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) backend: FaultBackend<MemoryBackend>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    hold: Option<(u32, When, Gate)>,
    is_silent: bool,
    listeners: Vec<UnboundedSender<Signal>>,
    keys: BTreeSet<Key>,
}

/// On which side of its effect a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            backend: faulty(),
            state: Arc::default(),
        }
    }

    /// The call after so many others waits there until the gate is open.
    pub(crate) fn hold(&self, calls: u32, when: When) -> Gate {
        let gate = Gate::shut();
        self.state().hold = Some((calls, when, gate.clone()));
        gate
    }

    /// Lets all calls through that are not yet held.
    pub(crate) fn hold_no_more(&self) {
        self.state().hold = None;
    }

    /// Messages are lost from now on.
    pub(crate) fn fall_silent(&self) {
        self.state().is_silent = true;
    }

    /// Gives this to all who listen.
    pub(crate) fn signal(&self, signal: &Signal) {
        for listener in &self.state().listeners {
            let _ = listener.send(signal.clone());
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn hang_up(&self) {
        self.state().listeners.clear();
    }

    pub(crate) fn listeners(&self) -> usize {
        let mut state = self.state();
        state.listeners.retain(|listener| !listener.is_closed());
        state.listeners.len()
    }

    /// Deletes what was ever written under keys of this kind.
    pub(crate) async fn evict(&self, kind: &str) -> usize {
        let keys = self.state().keys.clone();
        let mut evicted = 0;
        for key in keys.iter().filter(|key| key.as_str().starts_with(kind)) {
            if self.backend.delete(key, Precondition::Any).await.unwrap() {
                evicted += 1;
            }
        }
        evicted
    }

    /// The time that each record of this kind has left.
    pub(crate) async fn lives(&self, kind: &str) -> Vec<Duration> {
        let keys = self.state().keys.clone();
        let mut lives = Vec::new();
        for key in keys.iter().filter(|key| key.as_str().starts_with(kind)) {
            let options = GetOptions::new().with_expiry();
            if let Some(entry) = self.backend.get(key, options).await.unwrap() {
                lives.push(entry.expires_in.unwrap());
            }
        }
        lives
    }

    async fn around<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let held = self.next_hold();
        if let Some((When::Before, gate)) = &held {
            gate.pass().await;
        }
        let answer = call.await;
        if let Some((When::After, gate)) = &held {
            gate.pass().await;
        }
        answer
    }

    fn next_hold(&self) -> Option<(When, Gate)> {
        let mut state = self.state();
        let (calls, when, gate) = state.hold.take()?;
        if calls == 0 {
            return Some((when, gate));
        }
        state.hold = Some((calls - 1, when, gate));
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl KeyValue for Rig {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.around(self.backend.get(key, options)).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.state().keys.insert(key.clone());
        self.around(self.backend.put(key, value, options)).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.around(self.backend.delete(key, precondition)).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.around(self.backend.touch(key, ttl, precondition))
            .await
    }

    fn clock_skew(&self) -> Duration {
        KeyValue::clock_skew(&self.backend)
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&self.backend)
    }
}

impl Broadcast for Rig {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        self.backend.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        let mut heard = self.backend.subscribe(channel).await?;
        let (listener, mut signals) = mpsc::unbounded_channel();
        self.state().listeners.push(listener.clone());
        let weak = listener.downgrade();
        drop(listener);
        let rig = self.clone();
        tokio::spawn(async move {
            while let Some(signal) = heard.next().await {
                let Some(listener) = weak.upgrade() else {
                    return;
                };
                if !rig.state().is_silent {
                    let _ = listener.send(signal);
                }
            }
        });
        Ok(Subscription::new(poll_fn(move |cx| signals.poll_recv(cx))))
    }
}
