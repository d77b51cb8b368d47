//! Whether a stored response answers a request (RFC 9111 §4).

use std::time::Duration;

use super::{directives::RequestDirectives, storable::Flags};
use crate::cache::rule::{Authorization, Shape};

/// A stored response, as far as its use depends on time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Stored {
    /// How old it is now.
    pub(in crate::cache) age: Duration,
    /// How long it is fresh, from the age of zero.
    pub(in crate::cache) lifetime: Duration,
    pub(in crate::cache) while_revalidate: Duration,
    pub(in crate::cache) if_error: Duration,
    pub(in crate::cache) flags: Flags,
}

/// A request that a stored response may answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Asks<'a> {
    pub(in crate::cache) directives: &'a RequestDirectives,
    pub(in crate::cache) has_authorization: bool,
}

/// What becomes of a request for which there is a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Reuse {
    /// It is answered by it, which is fresh for so much longer.
    Fresh { left: Duration },
    /// It is answered by it, which has been stale for so long: the client takes it so (`max-stale`).
    Stale { by: Duration },
    /// It is answered by it, which has been stale for so long, while a new one is fetched.
    StaleWhileRevalidate { by: Duration },
    /// The response is validated first.
    Validate {
        /// Whether it may answer all the same if the handler fails.
        may_stand_in: bool,
    },
    /// The request passes.
    NotForThis(Passed),
}

/// Why a stored response is not for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Passed {
    /// The request says `no-store`.
    NoStore,
    /// The request has `Authorization`, and the response does not say that it is for all.
    Authorization,
}

impl Stored {
    /// The same, purged softly so long ago: stale since then, and for a minute from then of use as
    /// if it allowed that itself, unless it forbids to be used stale.
    pub(in crate::cache) fn purged_softly(self, ago: Duration) -> Self {
        let lifetime = self.lifetime.min(self.age.saturating_sub(ago));
        if self.flags.is_never_stale || self.flags.must_validate {
            return Self { lifetime, ..self };
        }
        Self {
            lifetime,
            while_revalidate: self.while_revalidate.max(AFTER_SOFT_PURGE),
            if_error: self.if_error.max(AFTER_SOFT_PURGE),
            ..self
        }
    }

    /// How long it has been stale; none while it is fresh (§4.2).
    fn stale_by(&self) -> Option<Duration> {
        self.age.checked_sub(self.lifetime)
    }
}

/// Whether a stored response answers a request.
///
/// `only-if-cached` is the caller's: it turns what is no answer into a 504.
pub(in crate::cache) fn judge(stored: &Stored, asks: &Asks<'_>, shape: &Shape) -> Reuse {
    if asks.directives.no_store {
        return Reuse::NotForThis(Passed::NoStore);
    }
    if asks.has_authorization && !is_for_authorized(stored, shape) {
        return Reuse::NotForThis(Passed::Authorization);
    }
    let nothing = RequestDirectives::default();
    let wishes = if shape.profile.honours_requests {
        asks.directives
    } else {
        &nothing
    };
    let validate = Reuse::Validate {
        may_stand_in: may_stand_in(stored, wishes),
    };
    if stored.flags.must_validate || wishes.no_cache || is_too_old(stored.age, wishes) {
        return validate;
    }
    let Some(by) = stored.stale_by() else {
        let left = stored.lifetime.saturating_sub(stored.age);
        let is_fresh_enough = wishes.min_fresh.is_none_or(|least| left >= least);
        return if is_fresh_enough {
            Reuse::Fresh { left }
        } else {
            validate
        };
    };
    if wishes.min_fresh.is_some() {
        return validate;
    }
    // Before `max-stale`, since this one fetches a new response.
    if by < stored.while_revalidate && minds_no_staleness(wishes, by) {
        return Reuse::StaleWhileRevalidate { by };
    }
    let is_taken_so = wishes.max_stale.is_some_and(|most| by <= most);
    if is_taken_so && !stored.flags.is_never_stale {
        return Reuse::Stale { by };
    }
    validate
}

/// §3.5, where the profile asks it of reuse too.
fn is_for_authorized(stored: &Stored, shape: &Shape) -> bool {
    if shape.covers_credentials {
        return true;
    }
    if shape.narrow.is_some() {
        return false;
    }
    match shape.profile.authorization {
        Authorization::Mind => stored.flags.is_for_all,
        Authorization::Rfc9111 => true,
    }
}

/// §5.2.1.1. `max-age=0` is how clients ask for validation, so it is that also in the moment in which
/// the response came.
fn is_too_old(age: Duration, wishes: &RequestDirectives) -> bool {
    wishes
        .max_age
        .is_some_and(|most| age > most || most.is_zero())
}

/// §5.2.1.1: a client that says how old a response may be wants no stale one, unless it says so.
fn minds_no_staleness(wishes: &RequestDirectives, by: Duration) -> bool {
    match (wishes.max_stale, wishes.max_age) {
        (Some(most), _) => by <= most,
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

/// RFC 5861 §4: within its window, or that of the request.
fn may_stand_in(stored: &Stored, wishes: &RequestDirectives) -> bool {
    if stored.flags.must_validate || wishes.no_cache {
        return false;
    }
    let by = stored.stale_by().unwrap_or_default();
    let allowed = wishes
        .stale_if_error
        .filter(|_| !stored.flags.is_never_stale)
        .unwrap_or_default();
    by < stored.if_error.max(allowed)
}

/// Section 2.16 of the design.
const AFTER_SOFT_PURGE: Duration = Duration::from_secs(60);
