//! Publish and subscribe.
//!
//! Subscriptions have a connection of their own, opened by the first of them. One task owns it: it subscribes,
//! hands messages out, and after every loss connects again, subscribes again, and only then says `Reconnected`.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

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
        let join = Request::Join {
            channel,
            mailbox,
            answer,
        };
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
    Join {
        channel: Arc<str>,
        mailbox: Arc<Mailbox>,
        answer: oneshot::Sender<Result<()>>,
    },
    Leave {
        channel: Arc<str>,
        mailbox: Arc<Mailbox>,
    },
}

/// The task that owns the connection of the subscriptions.
pub(super) struct Exchange {
    line: Arc<Line>,
    requests: mpsc::UnboundedReceiver<Request>,
    channels: HashMap<Arc<str>, Vec<Arc<Mailbox>>>,
    /// Subscriptions that wait for the connection.
    joining: Vec<(Arc<Mailbox>, oneshot::Sender<Result<()>>)>,
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
                    for (mailbox, answer) in mem::take(&mut self.joining) {
                        self.forget(&mailbox);
                        let _ = answer.send(Err(failure::unreachable(&error)));
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
                        Request::Join { channel, mailbox, answer } => {
                            self.channels.entry(channel).or_default().push(Arc::clone(&mailbox));
                            self.joining.push((mailbox, answer));
                        }
                        Request::Leave { mailbox, .. } => self.forget(&mailbox),
                    },
                }
            }
        };
        let channels: Vec<String> = self.channels.keys().map(ToString::to_string).collect();
        session
            .subscribe(channels, self.channels.len(), self.patience)
            .await?;
        let joined = mem::take(&mut self.joining);
        for mailbox in self.channels.values().flatten() {
            if !joined.iter().any(|(new, _)| Arc::ptr_eq(new, mailbox)) {
                mailbox.push(Signal::Reconnected);
            }
        }
        for (_, answer) in joined {
            // Whoever does not wait any more leaves by dropping its reader.
            let _ = answer.send(Ok(()));
        }
        Ok(session)
    }

    /// Hands out messages until the connection is lost.
    async fn serve(&mut self, session: &mut Session) {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = ended(&mut session.task) => return,
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
                    if self.answer(session, request).await.is_err() {
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
        let message = message.value.into_bytes().unwrap_or_default();
        for mailbox in mailboxes {
            mailbox.push(Signal::Message(message.clone()));
        }
    }

    /// Answers a request; an error says that the connection is not to be trusted any more.
    async fn answer(&mut self, session: &Session, request: Request) -> FredResult<()> {
        match request {
            Request::Join {
                channel,
                mailbox,
                answer,
            } => {
                let mailboxes = self.channels.entry(Arc::clone(&channel)).or_default();
                mailboxes.push(Arc::clone(&mailbox));
                let result = session
                    .subscribe(
                        vec![channel.to_string()],
                        self.channels.len(),
                        self.patience,
                    )
                    .await;
                let _ = answer.send(match &result {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        self.forget(&mailbox);
                        Err(failure::unanswered(SUBSCRIBE, self.patience, error))
                    }
                });
                result
            }
            Request::Leave { channel, mailbox } => {
                self.forget(&mailbox);
                if self.channels.contains_key(&channel) {
                    return Ok(());
                }
                session.unsubscribe(&channel).await
            }
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
                    Request::Join { answer, .. } => {
                        let _ = answer.send(Err(BackendError::new(
                            BackendErrorKind::Unavailable,
                            format!("{SUBSCRIBE}: not connected to Redis"),
                        )));
                    }
                    Request::Leave { mailbox, .. } => self.forget(&mailbox),
                },
            }
        }
    }

    fn forget(&mut self, mailbox: &Arc<Mailbox>) {
        self.channels.retain(|_, mailboxes| {
            mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
            !mailboxes.is_empty()
        });
    }

    fn close(&mut self) {
        for mailbox in mem::take(&mut self.channels).into_values().flatten() {
            mailbox.close();
        }
    }
}

const SUBSCRIBE: &str = "subscribe to a channel";
const HEARTBEAT: Duration = Duration::from_secs(5);
