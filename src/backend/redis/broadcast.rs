//! Publish and subscribe.
//!
//! Subscriptions have a connection of their own, opened by the first of them. One task owns it: it subscribes,
//! hands messages out, and after every loss connects again, subscribes again, and only then says `Reconnected`.

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
    RedisBackend, failure,
    line::Line,
    mailbox::{Mailbox, Reader},
    session::Session,
    watchdog::{backoff, closed, ended},
};
use crate::{
    backend::{BackendError, BackendErrorKind, Broadcast, Result, Signal, Subscription},
    key::Key,
};

impl Broadcast for RedisBackend {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        let channel = self.name(channel);
        let args = vec![Value::String(channel.clone()), Value::Bytes(message)];
        self.command("publish a message", "PUBLISH", &channel, args)
            .await?
            .integer()?;
        Ok(())
    }

    async fn subscribe(&self, channel: &Key) -> Result<Subscription> {
        self.check_open(SUBSCRIBE)?;
        let channel: Arc<str> = (*self.name(channel)).into();
        let mailbox = Arc::new(Mailbox::default());
        let (answer, answered) = oneshot::channel();
        let (exchange, limit) = self.exchange();
        // From here on the reader leaves when it is dropped, answered or not.
        let subscription = Reader {
            mailbox: Arc::clone(&mailbox),
            leave: {
                let (exchange, channel) = (exchange.clone(), Arc::clone(&channel));
                let (mailbox, shared) = (Arc::clone(&mailbox), Arc::clone(&self.shared));
                move || {
                    let _ = &shared;
                    let mailbox = Arc::clone(&mailbox);
                    let channel = Arc::clone(&channel);
                    // The task is gone with the backend, and the mailbox with the task.
                    let _ = exchange.send(Request::Leave { channel, mailbox });
                }
            },
        };
        let join = Request::Join(Join {
            channel,
            mailbox,
            answer,
        });
        if exchange.send(join).is_err() {
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
    /// The task of the subscriptions, and how long it may take to answer; the first time it must connect.
    fn exchange(&self) -> (mpsc::UnboundedSender<Request>, Duration) {
        let shared = &self.shared;
        let mut limit = self.timeout;
        let exchange = shared.exchange.get_or_init(|| {
            let line = shared.line();
            limit = limit.max(line.blueprint.connect_timeout());
            Exchange::start(Arc::clone(line), self.timeout, shared.closing.subscribe())
        });
        (exchange.clone(), limit)
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
        mailbox: Arc<Mailbox>,
    },
}

/// A subscription that is to be made.
pub(super) struct Join {
    channel: Arc<str>,
    mailbox: Arc<Mailbox>,
    answer: oneshot::Sender<Result<()>>,
}

/// The task that owns the connection of the subscriptions.
pub(super) struct Exchange {
    line: Arc<Line>,
    requests: mpsc::UnboundedReceiver<Request>,
    channels: HashMap<Arc<str>, Vec<Arc<Mailbox>>>,
    /// Subscriptions that wait for the server.
    joining: Vec<Join>,
    patience: Duration,
}

impl Exchange {
    /// Starts the task.
    pub(super) fn start(
        line: Arc<Line>,
        patience: Duration,
        mut closing: watch::Receiver<bool>,
    ) -> mpsc::UnboundedSender<Request> {
        let (sender, requests) = mpsc::unbounded_channel();
        let mut exchange = Self {
            line,
            requests,
            channels: HashMap::new(),
            joining: Vec::new(),
            patience,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = closed(&mut closing) => {}
                () = exchange.run() => {}
            }
            exchange.close();
        });
        sender
    }

    async fn run(&mut self) {
        let mut attempts = 0;
        loop {
            match self.open().await {
                Ok(mut session) => {
                    attempts = 0;
                    self.serve(&mut session).await;
                }
                Err(error) => {
                    for join in mem::take(&mut self.joining) {
                        let _ = join.answer.send(Err(failure::unreachable(&error)));
                    }
                    attempts += 1;
                    self.refuse_during(backoff(attempts)).await;
                }
            }
        }
    }

    /// Connects and subscribes to everything, while requests come in.
    async fn open(&mut self) -> FredResult<Session> {
        let session = {
            let line = Arc::clone(&self.line);
            let opening = Session::open(&line);
            tokio::pin!(opening);
            loop {
                tokio::select! {
                    session = &mut opening => break session?,
                    Some(request) = self.requests.recv() => match request {
                        Request::Join(join) => self.joining.push(join),
                        Request::Leave { channel, mailbox } => {
                            self.forget(&channel, &mailbox);
                        }
                    },
                }
            }
        };
        self.forget_abandoned();
        let known = self.channels.keys().cloned().collect();
        self.subscribe(&session, known).await?;
        for mailbox in self.channels.values().flatten() {
            mailbox.push(Signal::Reconnected);
        }
        self.admit();
        Ok(session)
    }

    /// Hands out messages until the connection is lost.
    async fn serve(&mut self, session: &mut Session) {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended(&mut session.driver) => return,
                message = session.messages.recv() => match message {
                    Ok(message) => self.deliver(message),
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        for mailbox in self.channels.values().flatten() {
                            mailbox.push(Signal::Lagged(lost));
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(request) = self.requests.recv() => {
                    if self.handle(session, request).await.is_err() {
                        return;
                    }
                }
                _ = heartbeat.tick() => {
                    if session.has_left(&self.line) || session.confirm(self.channels.len(), self.patience).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn deliver(&self, message: Message) {
        let Some(mailboxes) = self.channels.get(&*message.channel) else {
            return;
        };
        let signal = match message.value.into_bytes() {
            Some(message) => Signal::Message(message),
            // Not a string, which no PUBLISH can send.
            None => Signal::Lagged(1),
        };
        for mailbox in mailboxes {
            mailbox.push(signal.clone());
        }
    }

    /// Handles a request and those behind it, at the cost of one; an error says that the connection is not to be
    /// trusted any more.
    async fn handle(&mut self, session: &Session, first: Request) -> FredResult<()> {
        let mut left = HashSet::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Join(join) => self.joining.push(join),
                Request::Leave { channel, mailbox } => {
                    if self.forget(&channel, &mailbox) {
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
            session.unsubscribe(left).await?;
        }
        if self.joining.is_empty() {
            return Ok(());
        }
        let result = self.subscribe(session, HashSet::new()).await;
        match &result {
            Ok(()) => self.admit(),
            Err(error) => {
                for join in mem::take(&mut self.joining) {
                    let refusal = failure::not_subscribed(SUBSCRIBE, self.patience, error);
                    let _ = join.answer.send(Err(refusal));
                }
            }
        }
        result
    }

    /// Subscribes to these channels and to those of the waiting subscriptions, and waits until the server has done it.
    async fn subscribe(
        &self,
        session: &Session,
        mut channels: HashSet<Arc<str>>,
    ) -> FredResult<()> {
        let joining = self.joining.iter().map(|join| &join.channel);
        let new: HashSet<_> = joining
            .filter(|channel| !self.channels.contains_key(*channel))
            .cloned()
            .collect();
        let total = self.channels.len() + new.len();
        channels.extend(new);
        session.subscribe(channels, total, self.patience).await
    }

    /// Lets the waiting subscriptions in.
    fn admit(&mut self) {
        for join in mem::take(&mut self.joining) {
            let mailboxes = self.channels.entry(join.channel).or_default();
            mailboxes.push(join.mailbox);
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
                    Request::Leave { channel, mailbox } => {
                        self.forget(&channel, &mailbox);
                    }
                },
            }
        }
    }

    /// Sends nothing more to a mailbox, and says whether it was the last one of its channel.
    fn forget(&mut self, channel: &Arc<str>, mailbox: &Arc<Mailbox>) -> bool {
        let Some(mailboxes) = self.channels.get_mut(channel) else {
            return false;
        };
        mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
        let is_last = mailboxes.is_empty();
        if is_last {
            self.channels.remove(channel);
        }
        is_last
    }

    /// Drops the subscriptions for which nobody waits any more. Whoever stops waiting does so before it leaves, so
    /// none is let in after its `Leave`.
    fn forget_abandoned(&mut self) {
        self.joining.retain(|join| !join.answer.is_closed());
    }

    fn close(&mut self) {
        for mailbox in mem::take(&mut self.channels).into_values().flatten() {
            mailbox.close();
        }
    }
}

/// How many requests are handled at once; a server takes this many channels well within a time-out.
const MAX_BATCH: usize = 1_024;

const SUBSCRIBE: &str = "subscribe to a channel";
const HEARTBEAT: Duration = Duration::from_secs(5);
