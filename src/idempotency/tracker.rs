//! How many handlers run, and whether more may begin.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// Counts the handlers that run.
#[derive(Debug)]
pub(super) struct Tracker {
    count: watch::Sender<Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    running: usize,
    is_draining: bool,
}

/// A handler that runs, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Tracker>);

impl Tracker {
    pub(super) fn new() -> Arc<Self> {
        let count = watch::Sender::new(Count::default());
        Arc::new(Self { count })
    }

    /// A handler is to begin, unless no more may.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Running> {
        let may_begin = self.count.send_if_modified(|count| {
            if !count.is_draining {
                count.running += 1;
            }
            !count.is_draining
        });
        may_begin.then(|| Running(Arc::clone(self)))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.count.borrow().is_draining
    }

    /// Lets no more begin, and waits until all have ended; says how many had not in this time.
    pub(super) async fn drain(&self, budget: Duration) -> usize {
        self.count.send_modify(|count| count.is_draining = true);
        let mut count = self.count.subscribe();
        _ = timeout(budget, count.wait_for(|count| count.running == 0)).await;
        self.count.borrow().running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| count.running -= 1);
    }
}
