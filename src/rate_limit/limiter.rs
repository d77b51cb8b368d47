//! A rule's limits without HTTP.

use std::{fmt, sync::Arc};

use super::{
    Check, RateLimitRule,
    asking::Verdict,
    engine::{Admission, Engine, Question, Questions},
    rule::NamedLimits,
};
use crate::{
    backend::{BackendError, Call, Decision, Quotas, Take},
    error::ConfigError,
    policy::SubjectId,
};

/// The limits of one rule for programs: checks of its own in a job or a handler, and an admin page's
/// hand on what the layer counts. Cheap to clone.
///
/// A subject is what the rule's extractor reads out of a request, for example the key that
/// `header("x-api-key")` finds; see [`SubjectId`] for all of them. Every method is one
/// round trip.
///
/// ```
/// use tower_stash::{
///     backend::MemoryBackend,
///     policy::{KeyExtractor as _, header},
///     rate_limit::{Quota, RateLimitRule, RateLimiter},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rule = RateLimitRule::new("mails", header("x-user").or_reject(), [("hour", Quota::per_hour(2))])?;
/// let mails = RateLimiter::new(MemoryBackend::new(), rule)?;
///
/// assert!(mails.check("ada", 1).await.admitted);
/// assert!(mails.check("ada", 1).await.admitted);
/// let third = mails.check("ada", 1).await;
/// assert!(!third.admitted);
/// println!("try again: {:?}", third.retry);
///
/// mails.reset("ada").await?;
/// assert!(mails.check("ada", 1).await.admitted);
/// # Ok(())
/// # }
/// ```
///
/// Of a layer's rule, [`RateLimitLayer::limiter`](super::RateLimitLayer::limiter) makes the one that
/// shares what the layer knows; another one on the same backend shares what is counted.
#[derive(Clone)]
pub struct RateLimiter {
    engine: Arc<Engine>,
    limits: NamedLimits,
    rule: RateLimitRule,
}

impl RateLimiter {
    /// The limits of this rule, counted in this backend.
    ///
    /// # Errors
    ///
    /// A mistake in what the rule was given.
    pub fn new(backend: impl Quotas, rule: RateLimitRule) -> Result<Self, ConfigError> {
        rule.check()?;
        Ok(Self::of(Arc::new(Engine::new(backend)), rule))
    }

    pub(super) fn of(engine: Arc<Engine>, rule: RateLimitRule) -> Self {
        Self {
            engine,
            limits: rule.limits().all().clone(),
            rule,
        }
    }

    /// Derives the names of counters from this secret; see
    /// [`RateLimitLayer::with_key_secret`](super::RateLimitLayer::with_key_secret).
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.engine).set_key_secret(secret.as_ref());
        self
    }

    /// The same, with this size of a [dynamic limit](RateLimitRule::with_dynamic_limit), which without
    /// a request is at its most.
    ///
    /// # Errors
    ///
    /// The rule has no limit of this name.
    pub fn with_limit(mut self, limit: &str, size: u64) -> Result<Self, ConfigError> {
        self.limits = self.limits.resized(self.rule.name(), limit, size)?;
        Ok(self)
    }

    /// Takes this cost from all limits of the subject, or from none.
    ///
    /// While the backend does not answer, the rule's [`Outage`](super::Outage) decides.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, the cost may or may not be taken.
    pub async fn check(&self, subject: impl Into<SubjectId>, cost: u64) -> Check {
        let mut questions = Questions::default();
        questions.push(self.question(&subject.into(), cost));
        let answer = match self.engine.ask(questions) {
            Admission::Deny(answer) => answer,
            Admission::Ask(asking) => match asking.await {
                Verdict::Denied(answer) => answer,
                Verdict::Admitted(answers) => match answers.into_first() {
                    Some(answer) => answer,
                    None => return Check::unlimited(),
                },
            },
            Admission::Pass | Admission::Reject(_) => return Check::unlimited(),
        };
        Check::of(&answer, &self.engine)
    }

    /// Where the limits of a subject stand; takes nothing.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub async fn peek(&self, subject: impl Into<SubjectId>) -> Result<Check, BackendError> {
        let question = self.question(&subject.into(), 0);
        let decision = self.acquire(&question).await?;
        Ok(Check::decided(&question, &decision))
    }

    /// Takes as much of this cost as is there, for example after a request that turned out to be
    /// expensive or hostile.
    ///
    /// # Errors
    ///
    /// The backend's; the cost may then be taken or not.
    pub async fn penalise(
        &self,
        subject: impl Into<SubjectId>,
        cost: u64,
    ) -> Result<Check, BackendError> {
        let mut question = self.question(&subject.into(), cost);
        question.acquire = question.acquire.with_take(Take::UpTo);
        let decision = self.acquire(&question).await?;
        Ok(Check::decided(&question, &decision))
    }

    /// Forgets what the subject took, its strikes and its ban.
    ///
    /// Other instances may repeat a denial for up to five seconds more; see
    /// [`RateLimitLayer::with_deny_cache`](super::RateLimitLayer::with_deny_cache).
    ///
    /// # Errors
    ///
    /// The backend's.
    pub async fn reset(&self, subject: impl Into<SubjectId>) -> Result<(), BackendError> {
        let question = self.question(&subject.into(), 0);
        let subject = question.acquire.subject;
        let quotas = Arc::clone(&self.engine.quotas);
        quotas
            .reset(subject.clone(), question.acquire.limits)
            .await?;
        self.engine.denials.forget(&subject);
        Ok(())
    }

    fn question(&self, subject: &SubjectId, cost: u64) -> Question {
        self.engine
            .question(&self.rule, self.limits.clone(), subject, cost)
    }

    fn acquire(&self, question: &Question) -> Call<Decision> {
        Arc::clone(&self.engine.quotas).acquire(question.acquire.clone())
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}
