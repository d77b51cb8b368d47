//! A call for several requests, in a task of its own.

use std::{mem, sync::Arc};

use tokio::sync::oneshot;

use super::{HotKeys, lot::Lot};
use crate::backend::{Acquire, BackendError, Decision, ErasedQuotas, Take};

/// Asks for those who wait, again and again, until nobody does.
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) waiters: Vec<Waiter>,
    /// What each of them asks.
    pub(super) acquire: Acquire,
    pub(super) quotas: Arc<dyn ErasedQuotas>,
    pub(super) hot_keys: Arc<HotKeys>,
}

/// A request that waits for its answer; dropped, it asks alone.
pub(super) struct Waiter {
    answer: oneshot::Sender<Answer>,
}

/// What a request is told.
type Answer = Result<Decision, BackendError>;

/// A request that waits, and where its answer arrives.
pub(super) fn waiter() -> (Waiter, oneshot::Receiver<Answer>) {
    let (sender, receiver) = oneshot::channel();
    (Waiter { answer: sender }, receiver)
}

impl Flight {
    pub(super) async fn fly(mut self) {
        while !self.waiters.is_empty() {
            let waiters = mem::take(&mut self.waiters);
            let answer = Arc::clone(&self.quotas)
                .acquire(self.request(&waiters))
                .await;
            match answer {
                Ok(decision) => self.deal_out(waiters, decision),
                Err(error) => fail(waiters, &error),
            }
            self.waiters = self.hot_keys.next(&self.acquire.subject, self.number);
        }
    }

    /// What is asked for all of them.
    fn request(&self, waiters: &[Waiter]) -> Acquire {
        let cost = u64::try_from(waiters.len()).unwrap_or(u64::MAX);
        self.acquire.clone().with_cost(cost).with_take(Take::UpTo)
    }

    /// Answers each as if it had asked in its turn; what those who left would have got is for who
    /// came after them.
    fn deal_out(&self, waiters: Vec<Waiter>, decision: Decision) {
        let mut lot = Lot::new(decision);
        for waiter in waiters.into_iter().filter(Waiter::waits) {
            let decision = lot
                .spend(self.acquire.cost)
                .unwrap_or_else(|| lot.denial(&self.acquire));
            waiter.tell(Ok(decision));
        }
    }
}

fn fail(waiters: Vec<Waiter>, error: &BackendError) {
    for waiter in waiters {
        waiter.tell(Err(error.clone()));
    }
}

impl Waiter {
    /// Whether its client is still there.
    pub(super) fn waits(&self) -> bool {
        !self.answer.is_closed()
    }

    fn tell(self, answer: Answer) {
        // Nobody is there to be told; what was taken stays taken.
        drop(self.answer.send(answer));
    }
}
