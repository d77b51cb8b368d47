//! What happened, in order, and waiting for it to happen.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::trial::Result;

/// Entries that are only ever added.
#[derive(Debug)]
pub(crate) struct Log<T>(watch::Sender<Vec<T>>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl<T> Log<T> {
    pub(crate) fn push(&self, entry: T) {
        self.0.send_modify(|entries| entries.push(entry));
    }

    /// Where the next entry will stand.
    pub(crate) fn end(&self) -> usize {
        self.0.borrow().len()
    }

    /// What `read` makes of all entries so far.
    pub(crate) fn collect<R>(&self, read: impl FnMut(&T) -> Option<R>) -> Vec<R> {
        self.0.borrow().iter().filter_map(read).collect()
    }

    /// Waits for the first entry, from place `begin` on, of which `read` makes something.
    pub(crate) async fn find<R>(
        &self,
        what: &str,
        begin: usize,
        mut read: impl FnMut(&T) -> Option<R>,
    ) -> Result<R> {
        let mut found = None;
        let mut reading = self.0.subscribe();
        let arrival = reading.wait_for(|entries| {
            found = entries.iter().skip(begin).find_map(&mut read);
            found.is_some()
        });
        match timeout(PATIENCE, arrival).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(format!("{what} did not come").into()),
        }
        found.ok_or_else(|| format!("{what} went away").into())
    }
}

/// Far longer than anything takes, and less than a test may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
