//! The deny cache: denials that are known to stand are repeated without asking.
//!
//! Until the wait is over that the backend told, nobody who asks for as much can be admitted,
//! unless something is given back or a limit is raised. So remembering a denial admits nothing
//! more, and to the only client of a subject it denies nothing more either.

use std::{sync::Arc, time::Duration};

use hashlink::LruCache;

use super::{Question, shards::Shards};
use crate::{
    backend::{Decision, Limit, Retry, Strikes},
    clock::{Monotonic, monotonic_now},
    key::Key,
};

/// Denials that stand, the latest of each subject's limits.
pub(in crate::rate_limit) struct Denials {
    shards: Shards<Shard>,
}

/// The denials of some subjects.
struct Shard {
    denials: LruCache<Key, Vec<Denial>>,
    /// When one of them was last forgotten. A question that was sent before may have been decided
    /// before, so its denial need not stand.
    forgot: Option<Monotonic>,
}

/// What was denied until when.
#[derive(Clone)]
struct Denial {
    /// With their sizes: another plan is another denial.
    limits: Arc<[Limit]>,
    /// With what was looked for: a rule of the same limits may know no bans, or other sizes.
    strikes: Option<Strikes>,
    resizable: bool,
    /// What was asked for. A smaller cost may fit, a larger one has to wait longer.
    cost: u64,
    until: Monotonic,
    /// When the decision came.
    received: Monotonic,
    decision: Decision,
}

impl Denials {
    /// Remembers denials of up to this many subjects; with 0, none.
    pub(in crate::rate_limit) fn new(subjects: usize) -> Self {
        let shard = |subjects| Shard {
            denials: LruCache::new(subjects),
            forgot: None,
        };
        Self {
            shards: Shards::new(subjects, shard),
        }
    }

    /// The denial that stands for this question, with what is left of its waits.
    pub(in crate::rate_limit) fn find(&self, question: &Question) -> Option<Decision> {
        self.found(question, Denial::left_at)
    }

    /// How much longer this question is answered without asking.
    pub(in crate::rate_limit) fn stands_for(&self, question: &Question) -> Option<Duration> {
        self.found(question, |denial, now| {
            denial.until.saturating_duration_since(now)
        })
    }

    fn found<T>(&self, question: &Question, read: fn(&Denial, Monotonic) -> T) -> Option<T> {
        let is_always_asked = question.rule.is_shadow() || question.rule.gives_back();
        if question.acquire.cost == 0 || is_always_asked {
            return None;
        }
        let mut shard = self.shards.of(&question.acquire.subject)?;
        let denials = shard.denials.get(&question.acquire.subject)?;
        let now = monotonic_now();
        let denial = denials
            .iter()
            .find(|denial| denial.answers(question, now))?;
        Some(read(denial, now))
    }

    /// Remembers a denial that stands; `sent` is when the question was.
    pub(in crate::rate_limit) fn remember(
        &self,
        question: &Question,
        sent: Monotonic,
        decision: &Decision,
    ) {
        if decision.admitted || !question.denial_stands {
            return;
        }
        let stands_for = match decision.banned {
            Some(left) => left,
            // Each denial is a strike, so it has to be asked for.
            None if question.acquire.strikes.is_some() => return,
            None => match decision.retry() {
                Retry::Now => return,
                Retry::After(wait) => wait,
                Retry::Never => LONGEST,
            },
        };
        let Some(mut shard) = self.shards.of(&question.acquire.subject) else {
            return;
        };
        if shard.forgot.is_some_and(|forgot| sent <= forgot) {
            return;
        }
        let denial = Denial {
            limits: Arc::clone(&question.acquire.limits),
            strikes: question.acquire.strikes,
            resizable: question.acquire.resizable,
            cost: question.acquire.cost,
            until: sent + stands_for.min(LONGEST),
            received: monotonic_now(),
            decision: decision.clone(),
        };
        let subject = &question.acquire.subject;
        match shard.denials.get_mut(subject) {
            Some(denials) => denial.join(denials),
            None => _ = shard.denials.insert(subject.clone(), vec![denial]),
        }
    }

    /// Forgets the denials of a subject, of which something was given back.
    pub(in crate::rate_limit) fn forget(&self, subject: &Key) {
        if let Some(mut shard) = self.shards.of(subject) {
            shard.denials.remove(subject);
            shard.forgot = Some(monotonic_now());
        }
    }
}

impl Denial {
    fn answers(&self, question: &Question, now: Monotonic) -> bool {
        let asked = &question.acquire;
        let is_same_cost = asked.cost == self.cost || self.decision.banned.is_some();
        let looks_for_the_same = asked.strikes == self.strikes && asked.resizable == self.resizable;
        now < self.until && is_same_cost && looks_for_the_same && self.limits == asked.limits
    }

    /// The decision, with what is left of its waits.
    fn left_at(&self, now: Monotonic) -> Decision {
        let passed = now.saturating_duration_since(self.received);
        self.decision.clone().told_later(passed)
    }

    /// Takes the place of what is over, and of what was known about the same question.
    fn join(self, denials: &mut Vec<Self>) {
        let is_same = |other: &Self| {
            other.cost == self.cost
                && other.strikes == self.strikes
                && other.resizable == self.resizable
                && other.limits == self.limits
        };
        denials.retain(|other| self.received < other.until && !is_same(other));
        if denials.len() < MAX_OF_A_SUBJECT {
            denials.push(self);
        }
    }
}

/// Rules, sizes and costs of which one subject's denials are remembered at the same time.
const MAX_OF_A_SUBJECT: usize = 8;

/// A denial is asked for again at least so often, so that what another instance gave back or raised
/// is seen.
const LONGEST: Duration = Duration::from_secs(5);
