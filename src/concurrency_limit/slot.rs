//! One request's slot: asked for, held, released.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::runtime::Handle;

use super::ledger::{Ledger, Pool};
use crate::backend::{Call, Hold, Result, SlotId};

/// Asks for a slot; the call is made at the first poll.
///
/// Dropped after that and before the answer, it lets the call end in the background
/// and releases what it got.
pub(super) struct Asking {
    /// What is asked for, until the answer is there.
    seat: Option<Seat>,
    call: Option<Call<Hold>>,
}

/// The answer, and what was asked for.
pub(super) struct Answer {
    pub(super) hold: Result<Hold>,
    pub(super) seat: Seat,
}

/// A slot that may or may not be held.
pub(super) struct Seat {
    ledger: Arc<Ledger>,
    pool: Pool,
    id: SlotId,
    /// Where its release may wait, wherever it is dropped.
    runtime: Option<Handle>,
}

/// A slot that a request has: renewed as long as it lives, released when it is dropped.
pub(super) struct Slot(Seat);

impl Asking {
    pub(super) fn new(ledger: &Arc<Ledger>, pool: Pool) -> Self {
        let seat = Seat {
            ledger: Arc::clone(ledger),
            pool,
            id: ledger.new_id(),
            runtime: Handle::try_current().ok(),
        };
        Self {
            seat: Some(seat),
            call: None,
        }
    }
}

impl Future for Asking {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.get_mut();
        let Some(seat) = &this.seat else {
            return Poll::Pending;
        };
        let call = this.call.get_or_insert_with(|| seat.hold());
        let hold = ready!(call.as_mut().poll(cx));
        match this.seat.take() {
            Some(seat) => Poll::Ready(Answer { hold, seat }),
            None => Poll::Pending,
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let (Some(seat), Some(call)) = (self.seat.take(), self.call.take()) {
            seat.release_when_held(call);
        }
    }
}

impl Seat {
    /// Has the slot renewed from now on.
    pub(super) fn take(self) -> Slot {
        self.ledger.enter(&self.pool, self.id);
        Slot(self)
    }

    fn hold(&self) -> Call<Hold> {
        self.ledger.hold(&self.pool, self.id)
    }

    fn release_when_held(self, call: Call<Hold>) {
        let release = self.ledger.release(&self.pool, self.id);
        let release = async move {
            let may_be_held = match call.await {
                Ok(hold) => hold.is_held(),
                Err(error) => error.may_have_applied(),
            };
            if may_be_held {
                release.await;
            }
        };
        self.run(release);
    }

    fn run(&self, call: impl Future<Output = ()> + Send + 'static) {
        let lease = self.pool.limit.lease();
        self.ledger.run(self.runtime.as_ref(), lease, call);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Seat {
            ledger, pool, id, ..
        } = &self.0;
        ledger.leave(pool, *id);
        self.0.run(ledger.release(pool, *id));
    }
}
