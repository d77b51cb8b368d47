//! What decides: it finds out what a request is limited by, and asks.
//!
//! `question` is what there is to ask, `asking` the future that asks it, `answer` what came of it.
//! On the way a question may be answered by what is remembered (`denials`), or asked together with
//! others and beforehand (`hot_keys`). `refunds` gives back what was taken.

mod answer;
mod asking;
mod denials;
mod hot_keys;
mod question;
mod refunds;
mod shards;

use std::sync::Arc;

use http::request::Parts;

pub use self::refunds::Permit;
pub(super) use self::{
    answer::{Answer, Found},
    asking::{Answers, Asking, Verdict},
    question::{Question, Questions},
    refunds::Taken,
};
use self::{
    denials::Denials,
    hot_keys::{Asked, HotKeys},
    refunds::Refunds,
};
use super::{Outcome, RateLimitRule, rejection, rule::NamedLimits};
use crate::{
    backend::{Breaker, ErasedQuotas, MemoryBackend, Quotas},
    key::{Digester, Key, KeyParts, Kind},
    policy::{Resolved, SubjectId},
    respond::Rejection,
};

/// What decides, with or without HTTP; a clone shares all that is counted and remembered.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) quotas: Arc<dyn ErasedQuotas>,
    /// Where [`Outage::Local`](crate::rate_limit::Outage::Local) counts.
    pub(super) local: Arc<dyn ErasedQuotas>,
    pub(super) digester: Digester,
    pub(super) denials: Arc<Denials>,
    hot_keys: Arc<HotKeys>,
    pub(super) refunds: Arc<Refunds>,
    /// Whether a question is a round trip.
    is_remote: bool,
}

/// What is to be done with a request before it may run.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and a box would be one more allocation"
)]
pub(super) enum Admission {
    /// Nothing: it is not limited.
    Pass,
    /// Answer it: it cannot be limited, or is not wanted.
    Reject(Rejection),
    /// Answer it: it is known to be denied.
    Deny(Answer),
    /// Ask.
    Ask(Asking),
}

impl Engine {
    pub(super) fn new(backend: impl Quotas) -> Self {
        let is_remote = backend.is_remote();
        let remembered = if is_remote { REMEMBERED } else { 0 };
        let denials = Arc::new(Denials::new(remembered));
        Self {
            quotas: Arc::new(Breaker::new(backend)),
            local: Arc::new(MemoryBackend::new()),
            digester: Digester::default(),
            refunds: Arc::new(Refunds::new(Arc::clone(&denials))),
            denials,
            hot_keys: Arc::new(HotKeys::new(remembered)),
            is_remote,
        }
    }

    pub(super) fn set_key_secret(&mut self, secret: &[u8]) {
        self.digester = Digester::with_secret(secret);
    }

    pub(super) fn set_deny_cache(&mut self, subjects: usize) {
        if self.is_remote {
            self.denials = Arc::new(Denials::new(subjects));
            self.refunds = Arc::new(Refunds::new(Arc::clone(&self.denials)));
        }
    }

    /// Finds out what limits a request.
    pub(super) fn admission(self: &Arc<Self>, rule: &RateLimitRule, request: &Parts) -> Admission {
        let mut questions = Questions::default();
        for member in rule.members() {
            let (outcome, rejection) = match self.inquiry(member, request) {
                Inquiry::Skip => continue,
                Inquiry::Ask(question) => {
                    questions.push(question);
                    continue;
                }
                Inquiry::DenyListed => (Outcome::DenyListed, rejection::deny_listed(member)),
                Inquiry::MissingKey => (Outcome::MissingKey, rejection::missing_key(member)),
            };
            outcome.record(member);
            if !member.is_shadow() {
                return Admission::Reject(rejection);
            }
        }
        self.ask(questions)
    }

    /// Asks them, unless there are none or the answer is remembered.
    pub(super) fn ask(self: &Arc<Self>, questions: Questions) -> Admission {
        let remembered = questions.iter().find_map(|question| {
            let decision = self.denials.find(question)?;
            Some(Answer::new(question.clone(), Found::Remembered(decision)))
        });
        if let Some(answer) = remembered {
            answer.record();
            return Admission::Deny(answer);
        }
        match questions.first {
            None => Admission::Pass,
            Some(first) => Admission::Ask(Asking::new(Arc::clone(self), first, questions.later)),
        }
    }

    /// What is to be done with a request as far as one rule goes.
    pub(super) fn inquiry(&self, rule: &RateLimitRule, request: &Parts) -> Inquiry {
        if rule.skips(request) {
            return Inquiry::Skip;
        }
        if rule.lists_as_denied(request) {
            return Inquiry::DenyListed;
        }
        let mut subject = KeyParts::new();
        match rule.subject().resolve(request, &mut subject) {
            Resolved::Skip => return Inquiry::Skip,
            Resolved::Reject => return Inquiry::MissingKey,
            Resolved::Key => {}
        }
        let limits = rule.limits().of(request);
        if limits.limits.is_empty() {
            return Inquiry::Skip;
        }
        let key = self.key(&subject);
        Inquiry::Ask(Question::new(rule, limits, key, rule.cost(request)))
    }

    /// What a rule has to ask about a subject, when there is no request.
    pub(super) fn question(
        &self,
        rule: &RateLimitRule,
        limits: NamedLimits,
        subject: &SubjectId,
        cost: u64,
    ) -> Question {
        let mut parts = KeyParts::new();
        subject.append_to_key(&mut parts);
        Question::new(rule, limits, self.key(&parts), cost)
    }

    /// Asks the backend, alone or together with those who ask the same, unless a lease pays.
    fn acquire(&self, question: &Question) -> Asked {
        self.hot_keys
            .ask(&self.quotas, question)
            .unwrap_or_else(|| {
                Asked::Called(Arc::clone(&self.quotas).acquire(question.acquire.clone()))
            })
    }

    /// Forgets what is known about a subject that a call is about to change, once that call has
    /// ended, however it does.
    pub(super) fn changes(&self, subject: &Key) -> Change<'_> {
        Change {
            engine: self,
            subject: subject.clone(),
        }
    }

    fn key(&self, subject: &KeyParts) -> Key {
        Key::new(Kind::QUOTA, self.digester.digest(subject))
    }
}

/// A call that changes what a subject may, under way.
pub(super) struct Change<'a> {
    engine: &'a Engine,
    subject: Key,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.engine.denials.forget(&self.subject);
        self.engine.hot_keys.forget(&self.subject);
    }
}

/// What is to be done with a request as far as one rule goes.
pub(super) enum Inquiry {
    /// Nothing.
    Skip,
    /// Deny it: the rule says that such requests are not wanted.
    DenyListed,
    /// Deny it: it does not say whose limits it counts in, and the rule insists.
    MissingKey,
    /// Ask.
    Ask(Question),
}

/// Of how many subjects something is remembered, if not said otherwise.
const REMEMBERED: usize = 10_000;
