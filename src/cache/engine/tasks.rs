//! What goes on without a client.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::observe::in_current_span;

/// Tasks that are counted, so that a process that shuts down can wait for them.
#[derive(Debug)]
pub(in crate::cache) struct Tasks {
    running: watch::Sender<usize>,
    refreshes: Arc<Semaphore>,
}

/// A task that runs, until it is dropped.
struct Running(Arc<Tasks>);

impl Tasks {
    pub(in crate::cache) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: watch::Sender::default(),
            refreshes: Arc::new(Semaphore::new(MAX_REFRESHES)),
        })
    }

    /// Runs this on a runtime, wherever it is called.
    pub(in crate::cache) fn spawn(
        self: &Arc<Self>,
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.send_modify(|running| *running += 1);
        let running = Running(Arc::clone(self));
        runtime.spawn(in_current_span(async move {
            task.await;
            drop(running);
        }));
    }

    /// Leave to fetch something that nobody waits for; `None` if enough are under way.
    pub(in crate::cache) fn refresh(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refreshes).try_acquire_owned().ok()
    }

    /// Waits until all have ended; says how many had not in this time.
    pub(in crate::cache) async fn drain(&self, budget: Duration) -> usize {
        let mut running = self.running.subscribe();
        _ = timeout(budget, running.wait_for(|running| *running == 0)).await;
        *self.running.borrow()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

/// The most refreshes at once in a process.
const MAX_REFRESHES: usize = 64;
