//! Giving back what a request took, without making its response wait.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Extensions;
use tokio::{runtime::Handle, sync::Semaphore};

use super::denials::Denials;
use crate::{
    backend::{ErasedQuotas, Receipt},
    observe::WarnSite,
};

/// What a request took, which its handler can give back; found in the request's extensions where
/// the rule says [`with_permit`](crate::rate_limit::RateLimitRule::with_permit).
///
/// It is one for all such rules, also of several layers around the handler.
///
/// Clones are the same permit: it is given back once, however often that is asked for.
///
/// Every request of such a rule has one. It gives back nothing where nothing was taken: of a request
/// that the rule skips, that is under no limit, or that goes through uncounted in an outage.
///
/// ```
/// use axum::{Extension, http::StatusCode};
/// use tower_stash::rate_limit::Permit;
///
/// async fn search(Extension(permit): Extension<Permit>) -> StatusCode {
///     let is_cached = true;
///     if is_cached {
///         permit.refund(); // cost us nothing
///     }
///     StatusCode::OK
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(search));
/// ```
#[derive(Clone, Default)]
pub struct Permit {
    taken: Vec<Arc<Taken>>,
}

impl Permit {
    pub(in crate::rate_limit) fn new(taken: Vec<Arc<Taken>>) -> Self {
        Self { taken }
    }

    /// Puts it into a request, together with what rules of layers further out took.
    pub(in crate::rate_limit) fn put_into(mut self, extensions: &mut Extensions) {
        if let Some(outer) = extensions.remove::<Self>() {
            self.taken.extend(outer.taken);
        }
        extensions.insert(self);
    }

    /// Gives back what the request took, in a call of its own that nobody waits for.
    ///
    /// If that call is lost, or 1,024 of them are under way, the request stays counted.
    pub fn refund(self) {
        for taken in &self.taken {
            taken.give_back();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// What was taken from one rule's limits, to be given back once or not at all.
pub(in crate::rate_limit) struct Taken {
    quotas: Arc<dyn ErasedQuotas>,
    refunds: Arc<Refunds>,
    receipt: Receipt,
    is_given_back: AtomicBool,
}

impl Taken {
    pub(in crate::rate_limit) fn new(
        quotas: Arc<dyn ErasedQuotas>,
        refunds: Arc<Refunds>,
        receipt: Receipt,
    ) -> Self {
        Self {
            quotas,
            refunds,
            receipt,
            is_given_back: AtomicBool::new(false),
        }
    }

    pub(in crate::rate_limit) fn give_back(&self) {
        if !self.is_given_back.swap(true, Ordering::Relaxed) {
            self.refunds.send(&self.quotas, self.receipt.clone());
        }
    }
}

/// Refunds under way, of which there are not too many.
pub(in crate::rate_limit) struct Refunds {
    room: Arc<Semaphore>,
    /// What no longer stands once something is given back.
    denials: Arc<Denials>,
}

impl Refunds {
    pub(in crate::rate_limit) fn new(denials: Arc<Denials>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
            denials,
        }
    }

    fn send(&self, quotas: &Arc<dyn ErasedQuotas>, receipt: Receipt) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            LOST.warn(&"too many refunds are under way; what they would give back stays counted");
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            LOST.warn(&"there is no tokio runtime to refund in; what was taken stays counted");
            return;
        };
        let denials = Arc::clone(&self.denials);
        let subject = receipt.subject.clone();
        let refund = Arc::clone(quotas).refund(receipt);
        runtime.spawn(async move {
            if let Err(error) = refund.await {
                LOST.warn(&error);
            }
            denials.forget(&subject);
            drop(room);
        });
    }
}

/// Where what was to be given back stays counted.
static LOST: WarnSite = WarnSite::new("rate_limit: refund");

const MAX_UNDER_WAY: usize = 1_024;
