//! Where a handler waits until the test says go.

use std::sync::Arc;

use tokio::{sync::watch, time::timeout};

use crate::{log::PATIENCE, trial::Result};

/// Handlers wait before it; the test sees that they are there, then opens it. Open for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    arrived: watch::Sender<usize>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// Called by a handler: says that it is here, and waits for the gate to open.
    pub(crate) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        // The sender is alive as long as this gate is.
        let _ = self
            .0
            .is_open
            .subscribe()
            .wait_for(|is_open| *is_open)
            .await;
    }

    /// Waits until so many handlers have come.
    pub(crate) async fn arrived(&self, count: usize) -> Result<()> {
        let mut arrivals = self.0.arrived.subscribe();
        let all = arrivals.wait_for(|arrived| *arrived >= count);
        if timeout(PATIENCE, all).await.is_ok() {
            return Ok(());
        }
        let arrived = *self.0.arrived.borrow();
        Err(format!("{arrived} of {count} came to the gate").into())
    }

    pub(crate) fn open(&self) {
        self.0.is_open.send_replace(true);
    }
}
