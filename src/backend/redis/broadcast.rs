//! Publish and subscribe.
//!
//! Subscriptions have a connection of their own, opened by the first of them. One task owns it: it
//! subscribes, hands messages out, and after every loss connects again, subscribes again, and only
//! then says `Reconnected`.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fred::{
    interfaces::FredResult,
    types::{Message, Value},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    RedisBackend,
    client::ManagedClient,
    error,
    signal_queue::{Reader, SignalQueue},
    subscriber::SubscriberConnection,
    watchdog::{MIN_PING_TIMEOUT, backoff, closed, ended},
};
use crate::{
    backend::{BackendError, BackendErrorKind, Broadcast, Op, Result, Signal, Subscription},
    clock::monotonic_now,
    key::Key,
};

impl Broadcast for RedisBackend {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        let channel = self.name(channel);
        let args = vec![Value::String(channel.clone()), Value::Bytes(message)];
        self.command(Op::Publish.attempt(), "PUBLISH", &channel, args)
            .await?
            .integer()?;
        Ok(())
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        self.check_open(SUBSCRIBE)?;
        let channel: Arc<str> = (*self.name(channel)).into();
        let queue = Arc::new(SignalQueue::default());
        let (answer, answered) = oneshot::channel();
        let (subscriptions, limit) = self.subscriptions();
        // From here on the reader leaves when it is dropped, answered or not.
        let subscription = Reader {
            queue: Arc::clone(&queue),
            leave: {
                let (subscriptions, channel) = (subscriptions.clone(), Arc::clone(&channel));
                let (queue, shared) = (Arc::clone(&queue), Arc::clone(&self.shared));
                move || {
                    let _ = &shared;
                    let queue = Arc::clone(&queue);
                    let channel = Arc::clone(&channel);
                    // The task is gone with the backend, and the queue with the task.
                    let _ = subscriptions.send(Request::Leave { channel, queue });
                }
            },
        };
        let join = Request::Join(Join {
            channel,
            queue,
            answer,
        });
        if subscriptions.send(join).is_err() {
            return Err(closed_error(SUBSCRIBE));
        }
        match timeout(limit, answered).await {
            Ok(Ok(result)) => result.map(|()| Subscription::new(subscription)),
            Ok(Err(_)) => Err(closed_error(SUBSCRIBE)),
            Err(_) => Err(BackendError::timed_out(SUBSCRIBE, limit)),
        }
    }
}

impl RedisBackend {
    /// The task of the subscriptions, and how long it may take to answer; the
    /// first time it must connect.
    fn subscriptions(&self) -> (mpsc::UnboundedSender<Request>, Duration) {
        let shared = &self.shared;
        let mut limit = self.timeout;
        let subscriptions = shared.subscriptions.get_or_init(|| {
            let managed = shared.client();
            limit = limit.max(managed.settings.connect_timeout());
            SubscriptionTask::start(
                Arc::clone(managed),
                // One connection serves every handle, and is no more impatient than the watchdog.
                managed.settings.command_timeout().max(MIN_PING_TIMEOUT),
                shared.closing.subscribe(),
            )
        });
        (subscriptions.clone(), limit)
    }
}

/// The error of every call after `close`.
pub(super) fn closed_error(attempted: &'static str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Unavailable,
        format!("{attempted}: the backend is closed"),
    )
}

/// What subscriptions ask of the task.
pub(super) enum Request {
    Join(Join),
    Leave {
        channel: Arc<str>,
        queue: Arc<SignalQueue>,
    },
}

/// A subscription that is to be made.
pub(super) struct Join {
    channel: Arc<str>,
    queue: Arc<SignalQueue>,
    answer: oneshot::Sender<Result<()>>,
}

/// The task that owns the connection of the subscriptions.
pub(super) struct SubscriptionTask {
    managed: Arc<ManagedClient>,
    requests: mpsc::UnboundedReceiver<Request>,
    channels: HashMap<Arc<str>, Vec<Arc<SignalQueue>>>,
    /// Subscriptions that wait for the server.
    joining: Vec<Join>,
    command_timeout: Duration,
}

impl SubscriptionTask {
    /// Starts the task.
    pub(super) fn start(
        managed: Arc<ManagedClient>,
        command_timeout: Duration,
        mut closing: watch::Receiver<bool>,
    ) -> mpsc::UnboundedSender<Request> {
        let (sender, requests) = mpsc::unbounded_channel();
        let mut subscriptions = Self {
            managed,
            requests,
            channels: HashMap::new(),
            joining: Vec::new(),
            command_timeout,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = closed(&mut closing) => {}
                () = subscriptions.run() => {}
            }
            subscriptions.close();
        });
        sender
    }

    async fn run(&mut self) {
        let mut attempts = 0;
        loop {
            match self.open().await {
                Ok(mut connection) => {
                    let begun = monotonic_now();
                    self.serve(&mut connection).await;
                    drop(connection);
                    // What keeps being closed right after opening must not
                    // be opened in a tight loop.
                    if monotonic_now() - begun >= HEARTBEAT {
                        attempts = 0;
                        continue;
                    }
                    if attempts > 0 {
                        self.refuse_during(backoff(attempts)).await;
                    }
                    attempts += 1;
                }
                Err(error) => {
                    for join in mem::take(&mut self.joining) {
                        let _ = join.answer.send(Err(error::connect_error(&error)));
                    }
                    attempts += 1;
                    self.refuse_during(backoff(attempts)).await;
                }
            }
        }
    }

    /// Connects and subscribes to everything, while requests come in.
    async fn open(&mut self) -> FredResult<SubscriberConnection> {
        let connection = {
            let managed = Arc::clone(&self.managed);
            let opening = SubscriberConnection::open(&managed);
            tokio::pin!(opening);
            loop {
                tokio::select! {
                    connection = &mut opening => break connection?,
                    Some(request) = self.requests.recv() => match request {
                        Request::Join(join) => self.joining.push(join),
                        Request::Leave { channel, queue } => {
                            self.forget(&channel, &queue);
                        }
                    },
                }
            }
        };
        self.forget_abandoned();
        let known = self.channels.keys().cloned().collect();
        self.subscribe(&connection, known).await?;
        for queue in self.channels.values().flatten() {
            queue.push(Signal::Reconnected);
        }
        self.admit();
        Ok(connection)
    }

    /// Hands out messages until the connection is lost.
    async fn serve(&mut self, connection: &mut SubscriberConnection) {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended(&mut connection.driver) => return,
                message = connection.messages.recv() => match message {
                    Ok(message) => self.deliver(message),
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        for queue in self.channels.values().flatten() {
                            queue.push(Signal::Lagged(lost));
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(request) = self.requests.recv() => {
                    if self.handle(connection, request).await.is_err() {
                        return;
                    }
                }
                _ = heartbeat.tick() => {
                    if connection.has_left(&self.managed) || connection.confirm(self.channels.len(), self.command_timeout).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn deliver(&self, message: Message) {
        let Some(queues) = self.channels.get(&*message.channel) else {
            return;
        };
        let signal = match message.value.into_bytes() {
            Some(message) => Signal::Message(message),
            // Not a string, which no PUBLISH can send.
            None => Signal::Lagged(1),
        };
        for queue in queues {
            queue.push(signal.clone());
        }
    }

    /// Handles a request and those behind it, at the cost of one; an error says that the connection
    /// is not to be trusted any more.
    async fn handle(
        &mut self,
        connection: &SubscriberConnection,
        first: Request,
    ) -> FredResult<()> {
        let mut left = HashSet::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Join(join) => self.joining.push(join),
                Request::Leave { channel, queue } => {
                    if self.forget(&channel, &queue) {
                        left.insert(channel);
                    }
                }
            }
            let is_full = self.joining.len() + left.len() >= MAX_BATCH;
            next = (!is_full).then(|| self.requests.try_recv().ok()).flatten();
        }

        self.forget_abandoned();
        for join in &self.joining {
            left.remove(&join.channel);
        }
        if !left.is_empty() {
            connection.unsubscribe(left).await?;
        }
        if self.joining.is_empty() {
            return Ok(());
        }
        let result = self.subscribe(connection, HashSet::new()).await;
        match &result {
            Ok(()) => self.admit(),
            Err(error) => {
                for join in mem::take(&mut self.joining) {
                    let refusal = error::subscribe_error(SUBSCRIBE, self.command_timeout, error);
                    let _ = join.answer.send(Err(refusal));
                }
            }
        }
        result
    }

    /// Subscribes to these channels and to those of the waiting subscriptions, and waits
    /// until the server has done it.
    async fn subscribe(
        &self,
        connection: &SubscriberConnection,
        mut channels: HashSet<Arc<str>>,
    ) -> FredResult<()> {
        let joining = self.joining.iter().map(|join| &join.channel);
        let new: HashSet<_> = joining
            .filter(|channel| !self.channels.contains_key(*channel))
            .cloned()
            .collect();
        let total = self.channels.len() + new.len();
        channels.extend(new);
        connection
            .subscribe(channels, total, self.command_timeout)
            .await
    }

    /// Lets the waiting subscriptions in.
    fn admit(&mut self) {
        for join in mem::take(&mut self.joining) {
            let queues = self.channels.entry(join.channel).or_default();
            queues.push(join.queue);
            // Whoever does not wait any more leaves by dropping its reader.
            let _ = join.answer.send(Ok(()));
        }
    }

    /// Says that there is no connection, for this long.
    async fn refuse_during(&mut self, pause: Duration) {
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                Some(request) = self.requests.recv() => match request {
                    Request::Join(join) => {
                        let _ = join.answer.send(Err(BackendError::new(
                            BackendErrorKind::Unavailable,
                            format!("{SUBSCRIBE}: not connected to Redis"),
                        )));
                    }
                    Request::Leave { channel, queue } => {
                        self.forget(&channel, &queue);
                    }
                },
            }
        }
    }

    /// Sends nothing more to a queue, and says whether it was the last one of its channel.
    fn forget(&mut self, channel: &Arc<str>, queue: &Arc<SignalQueue>) -> bool {
        let Some(queues) = self.channels.get_mut(channel) else {
            return false;
        };
        queues.retain(|other| !Arc::ptr_eq(other, queue));
        let is_last = queues.is_empty();
        if is_last {
            self.channels.remove(channel);
        }
        is_last
    }

    /// Drops the subscriptions for which nobody waits any more. Whoever stops waiting does so
    /// before it leaves, so none is let in after its `Leave`.
    fn forget_abandoned(&mut self) {
        self.joining.retain(|join| !join.answer.is_closed());
    }

    fn close(&mut self) {
        for queue in mem::take(&mut self.channels).into_values().flatten() {
            queue.close();
        }
    }
}

/// How many requests are handled at once; a server takes this many channels well within a time-out.
const MAX_BATCH: usize = 1_024;

const SUBSCRIBE: &str = Op::Subscribe.attempt();
const HEARTBEAT: Duration = Duration::from_secs(5);
