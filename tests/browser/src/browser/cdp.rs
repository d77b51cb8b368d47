//! The protocol of Chrome's developer tools over a pair of pipes: messages of JSON, each ended by a
//! zero byte.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    log::{Log, PATIENCE},
    trial::Result,
};

/// A connection to a browser. When the last clone is dropped the browser sees its input end.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Connection {
    pub(crate) fn new(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        let (outgoing, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        tokio::spawn(write(messages, input));
        tokio::spawn(read(output, Arc::clone(&shared)));
        Self { outgoing, shared }
    }

    /// Sends a command to the browser, and waits for its result.
    pub(crate) async fn command(&self, method: &str, params: Value) -> Result<Value> {
        self.send(json!({ "method": method, "params": params }))
            .await
    }

    /// Sends a command to what the session is attached to.
    pub(crate) async fn command_in(
        &self,
        session: &str,
        method: &str,
        params: Value,
    ) -> Result<Value> {
        self.send(json!({ "sessionId": session, "method": method, "params": params }))
            .await
    }

    /// The events of a session, from its first on.
    pub(crate) fn events(&self, session: &str) -> Arc<Log<Event>> {
        Arc::clone(
            self.shared
                .sessions()
                .entry(session.to_owned())
                .or_default(),
        )
    }

    /// Sends a command to the browser of which nobody waits for the result.
    pub(crate) fn tell(&self, method: &str, params: &Value) {
        // A browser that is gone has nothing left to do.
        let _ = self.post(json!({ "method": method, "params": params }));
    }

    async fn send(&self, message: Value) -> Result<Value> {
        let method = message["method"].clone();
        let mut reply = timeout(PATIENCE, self.post(message)?)
            .await
            .map_err(|_| format!("the browser does not answer {method}"))?
            .map_err(|_| GONE)?;
        match reply.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(reply["result"].take()),
        }
    }

    fn post(&self, mut message: Value) -> Result<oneshot::Receiver<Value>> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        message["id"] = json!(id);
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        let (reply, replied) = oneshot::channel();
        self.shared.waiting().insert(id, reply);
        self.outgoing.send(bytes).map_err(|_| GONE)?;
        Ok(replied)
    }
}

/// Something that the browser said of its own accord.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) method: String,
    pub(crate) params: Value,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    sessions: Mutex<HashMap<String, Arc<Log<Event>>>>,
}

impl Shared {
    fn take_in(&self, mut message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(reply) = self.waiting().remove(&id) {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(message);
            }
            return;
        }
        let Some(session) = message["sessionId"].as_str() else {
            return;
        };
        let events = Arc::clone(self.sessions().entry(session.to_owned()).or_default());
        events.push(Event {
            method: message["method"].as_str().unwrap_or_default().to_owned(),
            params: message["params"].take(),
        });
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Value>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Log<Event>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(mut messages: mpsc::UnboundedReceiver<Vec<u8>>, mut input: impl AsyncWrite + Unpin) {
    while let Some(message) = messages.recv().await {
        if input.write_all(&message).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

async fn read(output: impl AsyncRead + Unpin, shared: Arc<Shared>) {
    let mut output = BufReader::new(output);
    let mut message = Vec::new();
    while let Ok(1..) = output.read_until(0, &mut message).await {
        message.pop();
        match serde_json::from_slice(&message) {
            Ok(message) => shared.take_in(message),
            Err(error) => eprintln!("the browser wrote what is no JSON: {error}"),
        }
        message.clear();
    }
    // Nobody is going to answer these.
    shared.waiting().clear();
}

const GONE: &str = "the browser is gone";
