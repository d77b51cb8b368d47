//! Hearing of purges by other instances.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

use super::{super::Core, message::Message, recent::Done};
use crate::{
    backend::{Result, Signal, Subscription},
    cache::url::page_key,
    observe::WarnSite,
};

/// Whether this process hears, which ends with it.
#[derive(Default)]
pub(in crate::cache) struct Ear {
    is_open: Arc<AtomicBool>,
    task: Mutex<Option<AbortHandle>>,
}

/// A task that hears, until it ends, if only because its runtime does.
struct Open(Arc<AtomicBool>);

impl Core {
    /// Begins to hear what others purge, unless this process hears it already.
    pub(in crate::cache) fn listen(self: &Arc<Self>, max_life: Duration) {
        // First the cheap question: this is asked by each request.
        if self.ear.is_open.load(Ordering::Relaxed) || self.ear.is_open.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let open = Open(Arc::clone(&self.ear.is_open));
        let core = Arc::downgrade(self);
        let task = Handle::current().spawn(async move {
            let _open = open;
            listen(core, max_life).await;
        });
        let mut last = self.ear.task.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(task.abort_handle());
    }

    async fn hear(&self, signal: Signal, max_life: Duration) {
        match signal {
            Signal::Message(message) => {
                if let Some(message) = Message::decode(message) {
                    self.heed(message);
                }
            }
            // Something is missing; the journal has it.
            _ => self.catch_up(max_life).await,
        }
    }

    /// Does what a message says.
    fn heed(&self, message: Message) {
        match message {
            Message::Journal { version, journal } => self.purges.heard(version, journal),
            Message::Url {
                severity,
                version,
                digest,
            } => {
                let page = page_key(digest);
                let at = version.written_at();
                if self.purges.heard_url(&page, severity, at) {
                    self.forget_page(&page);
                }
            }
        }
    }

    async fn catch_up(&self, max_life: Duration) {
        self.hints.forget_all();
        // Where it fails, the next request asks.
        let _ = self.purges.poll_at_once(max_life).await;
    }

    /// Purges again what this process purged in the last minute.
    async fn purge_again(&self, max_life: Duration) -> Result<()> {
        let mut tags = Vec::new();
        for done in self.purges.recent.all() {
            match done {
                Done::Tag(purge) => tags.push(purge),
                Done::Url { url, severity, at } => {
                    self.purges.purge_url_again(&url, severity, at).await?;
                }
            }
        }
        self.purges.purge_again(&tags, max_life).await
    }
}

async fn listen(core: Weak<Core>, max_life: Duration) {
    let mut wait = SHORTEST_WAIT;
    let mut is_first = true;
    loop {
        let Some(subscribing) = core.upgrade().map(|core| core.purges.subscription()) else {
            return;
        };
        match subscribing.await {
            Ok(subscription) => {
                wait = SHORTEST_WAIT;
                if !is_first {
                    make_good(&core, max_life).await;
                }
                is_first = false;
                hear_all(&core, subscription, max_life).await;
            }
            Err(error) => DEAF.warn(&error),
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn hear_all(core: &Weak<Core>, mut subscription: Subscription, max_life: Duration) {
    while let Some(signal) = subscription.next().await {
        if signal == Signal::Reconnected {
            make_good(core, max_life).await;
            continue;
        }
        let Some(core) = core.upgrade() else { return };
        core.hear(signal, max_life).await;
    }
}

/// After a connection was lost, perhaps to a server that had not got the latest writes: learns what
/// was missed, and does again what may be lost.
async fn make_good(core: &Weak<Core>, max_life: Duration) {
    let mut wait = SHORTEST_WAIT;
    for _ in 0..MAX_TRIES {
        let Some(core) = core.upgrade() else { return };
        core.catch_up(max_life).await;
        let Err(error) = core.purge_again(max_life).await else {
            return;
        };
        LOST.warn(&error);
        drop(core);
        sleep(wait).await;
        wait *= 2;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

/// Where purges by others are heard of late, because there are no messages.
static DEAF: WarnSite = WarnSite::new("cache: subscribe");

/// Where purges may be lost with a server.
static LOST: WarnSite = WarnSite::new("cache: purge again");

const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const MAX_TRIES: u32 = 6;
