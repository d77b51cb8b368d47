//! A call for several requests, in a task of its own.

use std::{mem, sync::Arc};

use tokio::sync::oneshot;

use super::{HotKeys, lease::Lease};
use crate::{
    backend::{Acquire, BackendError, Call, Decision, ErasedQuotas, Take},
    clock::monotonic_now,
};

/// Asks for those who wait, again and again, until nobody does.
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) waiters: Vec<Waiter>,
    /// What was taken and not yet spent.
    pub(super) lease: Option<Lease>,
    /// How much is taken at least.
    pub(super) share: u64,
    /// What they ask.
    pub(super) acquire: Acquire,
    pub(super) quotas: Arc<dyn ErasedQuotas>,
    pub(super) hot_keys: Arc<HotKeys>,
}

/// A request that waits for its answer; dropped, it asks alone.
pub(super) struct Waiter {
    pub(super) cost: u64,
    answer: oneshot::Sender<Answer>,
}

/// Where a request's answer arrives.
pub(super) struct Awaited(oneshot::Receiver<Answer>);

/// What a request is told.
type Answer = Result<Decision, BackendError>;

/// A request that waits, and where its answer arrives.
pub(super) fn waiter(cost: u64) -> (Waiter, Awaited) {
    let (sender, receiver) = oneshot::channel();
    let waiter = Waiter {
        cost,
        answer: sender,
    };
    (waiter, Awaited(receiver))
}

impl Flight {
    pub(super) async fn fly(mut self) {
        while !self.waiters.is_empty() {
            self.pay();
            if !self.waiters.is_empty() {
                self.ask().await;
            }
            Arc::clone(&self.hot_keys).go_on(&mut self);
        }
    }

    /// Answers those who came first, as far as the lease goes.
    fn pay(&mut self) {
        let Some(lease) = &mut self.lease else {
            return;
        };
        let now = monotonic_now();
        let mut unpaid = Vec::new();
        for waiter in self.waiters.drain(..) {
            let is_next = unpaid.is_empty();
            match is_next.then(|| lease.spend(waiter.cost, now)).flatten() {
                Some(decision) => waiter.tell(Ok(decision)),
                None => unpaid.push(waiter),
            }
        }
        self.waiters = unpaid;
    }

    /// Asks for all of them, and answers each as if it had asked in its turn.
    async fn ask(&mut self) {
        let waiters = mem::take(&mut self.waiters);
        let request = self.request(&waiters);
        let sent = monotonic_now();
        match Arc::clone(&self.quotas).acquire(request).await {
            Ok(decision) => {
                let earlier = self.lease.take();
                let limits = Arc::clone(&self.acquire.limits);
                let lease = Lease::new(limits, decision, sent, monotonic_now());
                let lease = self.lease.insert(lease.with_rest_of(earlier));
                // What those who left would have got is for who came after them.
                for waiter in waiters.into_iter().filter(Waiter::waits) {
                    let decision = lease.answer(waiter.cost);
                    waiter.tell(Ok(decision));
                }
            }
            Err(error) => {
                for waiter in waiters {
                    waiter.tell(Err(error.clone()));
                }
            }
        }
    }

    /// What is asked for all of them.
    ///
    /// One that costs more than a share gets all of it or leaves it to others.
    fn request(&self, waiters: &[Waiter]) -> Acquire {
        let acquire = self.acquire.clone();
        let needed = waiters
            .iter()
            .map(|waiter| waiter.cost)
            .fold(0, u64::saturating_add);
        if waiters.len() == 1 && needed > self.share {
            return acquire.with_cost(needed).with_take(Take::All);
        }
        acquire
            .with_cost(needed.max(self.share))
            .with_take(Take::UpTo)
    }
}

/// A flight that ends as it should has landed; one whose runtime shuts down has not.
impl Drop for Flight {
    fn drop(&mut self) {
        self.hot_keys.abandon(self.number, &self.acquire.subject);
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

impl Awaited {
    /// The answer, or that of a call for this request alone if nobody brings one.
    pub(super) fn or_alone(
        self,
        quotas: &Arc<dyn ErasedQuotas>,
        acquire: &Acquire,
    ) -> Call<Decision> {
        let (quotas, acquire) = (Arc::clone(quotas), acquire.clone());
        Box::pin(async move {
            match self.0.await {
                Ok(answer) => answer,
                Err(_) => quotas.acquire(acquire).await,
            }
        })
    }
}
