//! A request and what is stored for it: what the one is to the other.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Response};

use super::{
    Bypass,
    answer::{Note, from_store},
    ask::Ask,
    body::ResponseBody,
    early,
    engine::{Coalescing, Found, Held, Place, Standing},
    outcome::{CacheOutcome, OutcomeKind},
    record::Flag,
    semantics::{
        merge::{self, Subject},
        reuse::{self, Asks, Reuse, Stored},
        status::{CacheStatus, Forward},
        storable::Flags,
    },
    shared::Shared,
};
use crate::clock::Timestamp;

/// A request, and the cache that it comes to.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) shared: Arc<Shared>,
    pub(super) ask: Arc<Ask>,
    /// Whether a client waits for it.
    pub(super) has_client: bool,
}

/// What a stored response is to a request.
pub(super) enum Use {
    /// It answers it. Where it is stale, how long it has been is below zero.
    Serve {
        held: Held,
        age: Duration,
        ttl: i64,
        refreshes: bool,
    },
    /// It answers it if the handler says that it still holds, or fails and it may stand in.
    Validate(Base),
    /// There is none.
    Nothing,
    /// It is not for this request, and neither is the cache.
    Pass(Bypass),
}

/// A response that is wanted, and what was found of it.
pub(super) struct Wanted {
    pub(super) found: Found,
    /// What is to be validated.
    pub(super) base: Option<Base>,
    /// Why the handler is called.
    pub(super) why: Forward,
}

/// A stored response that may still hold.
pub(super) struct Base {
    pub(super) held: Held,
    /// Whether it may answer in the place of an error.
    pub(super) may_stand_in: bool,
}

impl Case {
    /// What is stored, to this request.
    pub(super) fn judge(&self, found: &Found) -> Use {
        let Some(held) = &found.held else {
            return Use::Nothing;
        };
        let core = &self.shared.core;
        let standing = found.standing(held, core.store.clock_skew());
        let Some(stored) = stored(held, standing, core.purges.now()) else {
            return Use::Nothing;
        };
        let age = stored.age;
        let asks = Asks {
            directives: &self.ask.directives,
            has_authorization: self.ask.has_authorization(),
        };
        let serve = |ttl: i64, refreshes| Use::Serve {
            held: held.clone(),
            age,
            ttl,
            refreshes,
        };
        match reuse::judge(&stored, &asks, self.ask.shape()) {
            Reuse::Fresh { left } => {
                let chance = self.shared.settings.chance;
                let refreshes = self.ask.shape().refreshes_early
                    && early::is_due(left, held.entry.fill_time, chance());
                serve(seconds(left), refreshes)
            }
            Reuse::Stale { by } => serve(-seconds(by).max(1), false),
            Reuse::StaleWhileRevalidate { by } => serve(-seconds(by).max(1), true),
            Reuse::Validate { may_stand_in } => Use::Validate(Base {
                held: held.clone(),
                may_stand_in,
            }),
            Reuse::NotForThis(passed) => Use::Pass(passed.into()),
        }
    }

    pub(super) fn age(&self, held: &Held) -> Duration {
        held.age(self.shared.core.purges.now())
    }

    /// The answer from the store.
    pub(super) fn serve<B>(
        &self,
        held: Held,
        age: Duration,
        status: CacheStatus,
        kind: OutcomeKind,
    ) -> Response<ResponseBody<B>> {
        let mut response = from_store(&self.ask, held, age);
        self.note(status, CacheOutcome::new(kind))
            .write_on(&mut response);
        response
    }

    pub(super) fn note(&self, status: CacheStatus, outcome: CacheOutcome) -> Note {
        Note {
            rule: self.ask.rule.clone(),
            name: self.shared.settings.name.clone(),
            status,
            outcome,
            is_counted: self.has_client,
        }
    }

    /// Whether a 304 is of this response, and that is not purged meanwhile.
    pub(super) async fn still_holds(&self, base: &Held, not_modified: &HeaderMap) -> bool {
        if merge::subject(&base.entry.headers, not_modified) == Subject::Other {
            return false;
        }
        self.is_present(base).await
    }

    /// Whether a response that was found some time ago is not purged by now.
    pub(super) async fn is_present(&self, held: &Held) -> bool {
        let core = &self.shared.core;
        let (url, settings) = (self.ask.url_key(), &self.shared.settings);
        let standing = core.purges.present_standing(&held.entry, url, settings);
        standing
            .await
            .is_ok_and(|standing| standing != Standing::Purged)
    }

    /// Who fetches. Whose response may be his own waits for nobody.
    pub(super) fn coalescing(&self) -> Coalescing {
        if self.ask.has_credentials() {
            return Coalescing::Off;
        }
        self.shared.settings.coalescing
    }

    /// To ask whether what was found still holds.
    pub(super) fn validation(&self, found: Found, base: Base) -> Wanted {
        let is_fresh = base.held.entry.lifetime > self.age(&base.held);
        Wanted {
            found,
            why: if is_fresh {
                Forward::Request
            } else {
                Forward::Stale
            },
            base: Some(base),
        }
    }
}

impl Wanted {
    /// Nothing that was found is of use.
    pub(super) fn nothing(found: Found) -> Self {
        let why = match (&found.place, &found.held) {
            (Place::Variant { .. }, None) => Forward::VaryMiss,
            (_, Some(_)) => Forward::Miss,
            (Place::Url(_), None) => Forward::UriMiss,
        };
        Self {
            found,
            base: None,
            why,
        }
    }
}

/// What is stored, as far as its use depends on time; nothing, if it was purged.
pub(super) fn stored(held: &Held, standing: Standing, now: Timestamp) -> Option<Stored> {
    let stored = Stored {
        age: held.age(now),
        lifetime: held.entry.lifetime,
        while_revalidate: held.entry.while_revalidate,
        if_error: held.entry.if_error,
        flags: flags(held),
    };
    match standing {
        Standing::Purged => None,
        Standing::Valid => Some(stored),
        Standing::Soft(since) => Some(stored.purged_softly(now - since)),
    }
}

fn flags(held: &Held) -> Flags {
    let flags = held.entry.flags;
    Flags {
        must_validate: flags.has(Flag::AlwaysValidated),
        is_never_stale: flags.has(Flag::NeverStale),
        is_for_all: flags.has(Flag::ForAll),
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
