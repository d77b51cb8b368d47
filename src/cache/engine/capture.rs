//! A body that is kept while it goes by.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::runtime::Handle;

use super::{budget::Reserved, deposit::Deposit, tasks::Tasks};
use crate::cache::{semantics::NotStored, unary::is_answer};

/// What was read of a body, and what is to be done when it ends.
pub(in crate::cache) struct Capture {
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    length: usize,
    limits: Limits,
    reserved: Reserved,
    deposit: Deposit,
}

/// What is taken of a body.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Limits {
    /// The longest one that is stored.
    pub(in crate::cache) length: usize,
    /// How long it says to be.
    pub(in crate::cache) declared: Option<u64>,
    /// Whether it is the answer to a gRPC call: one message, and trailers that say that it went well.
    pub(in crate::cache) is_of_call: bool,
}

/// Where something can go on without a client.
pub(in crate::cache) struct Elsewhere {
    tasks: Arc<Tasks>,
    runtime: Handle,
}

impl Capture {
    pub(in crate::cache) fn new(deposit: Deposit, limits: Limits) -> Self {
        Self {
            chunks: Vec::new(),
            trailers: None,
            length: 0,
            limits,
            reserved: deposit.budget().reserve_nothing(),
            deposit,
        }
    }

    /// Keeps what a frame holds.
    ///
    /// # Errors
    ///
    /// Why the response will not be stored.
    pub(in crate::cache) fn keep(&mut self, frame: &Frame<Bytes>) -> Result<(), NotStored> {
        if let Some(trailers) = frame.trailers_ref() {
            if !self.limits.is_of_call {
                return Err(NotStored::Trailers);
            }
            self.trailers = Some(trailers.clone());
            return Ok(());
        }
        let Some(data) = frame.data_ref() else {
            return Ok(());
        };
        self.length = self.length.saturating_add(data.len());
        if self.length > self.limits.length {
            return Err(NotStored::TooLarge);
        }
        if !self.reserved.grow(data.len()) {
            return Err(NotStored::Busy);
        }
        if !data.is_empty() {
            self.chunks.push(data.clone());
        }
        Ok(())
    }

    /// The body has ended: the response is stored, in the background.
    pub(in crate::cache) fn finish(self) {
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        if self
            .limits
            .declared
            .is_some_and(|declared| declared != length)
        {
            return self.give_up(NotStored::BodyFailed);
        }
        let head = &self.deposit.entry.headers;
        if self.limits.is_of_call
            && let Err(reason) = is_answer(&self.chunks, self.trailers.as_ref(), head)
        {
            return self.give_up(reason);
        }
        let Self {
            chunks,
            trailers,
            reserved,
            deposit,
            ..
        } = self;
        let elsewhere = deposit.elsewhere();
        elsewhere.spawn(async move {
            deposit.store(&chunks, trailers).await;
            drop(reserved);
        });
    }

    /// The response will not be stored.
    pub(in crate::cache) fn give_up(self, reason: NotStored) {
        self.deposit.abandon(reason);
    }

    pub(in crate::cache) fn elsewhere(&self) -> Elsewhere {
        self.deposit.elsewhere()
    }
}

impl Elsewhere {
    pub(in crate::cache) fn new(tasks: &Arc<Tasks>, runtime: &Handle) -> Self {
        Self {
            tasks: Arc::clone(tasks),
            runtime: runtime.clone(),
        }
    }

    pub(in crate::cache) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(&self.runtime, task);
    }
}
