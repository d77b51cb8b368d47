//! A rule's limits without HTTP.

mod check;
mod explanation;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{
    check::{Check, Standing},
    explanation::{Explanation, Finding, RuleExplanation},
};
use super::{
    RateLimitRule,
    engine::{Admission, Engine, Question, Questions, Verdict},
    rule::NamedLimits,
};
use crate::{
    backend::{
        Acquire, Amendment, BackendError, BackendErrorKind, Call, Decision, Limit, Quotas, Strikes,
        Take,
    },
    error::ConfigError,
    key::Key,
    policy::SubjectId,
};

/// The limits of one rule for programs: checks of its own in a job or a handler, and an admin
/// page's hand on what the layer counts. Cheap to clone.
///
/// A subject is what the rule's extractor reads out of a request, for example the key that
/// `header("x-api-key")` finds; see [`SubjectId`] for all of them. A value of another type is
/// another subject and no error: where the rule's is an address, `reset("192.0.2.7")` resets
/// nobody, and `reset(ClientAddr(ip))` whom it says. A rule that no request is asked by needs an
/// extractor all the same; it is never run. Every method is one round trip.
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
/// It knows no request, so what the rule says of requests (what they cost, which it skips, how
/// large a limit is for them) is not asked; for the last there is [`with_limit`](Self::with_limit).
/// So where a limit goes by plan, [`peek`](Self::peek) compares with the largest unless it is told:
/// it may say that 595 of 600 are left to somebody whose plan has 10.
///
/// Of a layer's rule, [`RateLimitLayer::limiter`](super::RateLimitLayer::limiter) makes the one
/// that shares what the layer knows; another one on the same backend shares what is counted.
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

    /// The same, with this size of a limit: for a [dynamic one](RateLimitRule::with_dynamic_limit), the
    /// size that the subject's plan has. Without it, the quota that the rule was made with holds,
    /// which is also the most it can be.
    ///
    /// # Errors
    ///
    /// The rule has no limit of this name.
    pub fn with_limit(mut self, limit: &str, size: u64) -> Result<Self, ConfigError> {
        let rule = self.rule.name();
        let Some(written) = self.rule.limits().all().find(rule, limit) else {
            return Err(ConfigError::new(format!(
                "rule {rule:?} has no limit {limit:?}; write the name of one of its quotas"
            )));
        };
        self.limits = self.limits.resized(&written, size);
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
        let _change = self.engine.changes(&question.acquire.subject);
        let decision = self.acquire(&question).await?;
        Ok(Check::decided(&question, &decision))
    }

    /// Forgets what the subject took, its strikes and its ban.
    ///
    /// A rule with a [ban](RateLimitRule::with_ban) takes two round trips. Other instances may
    /// repeat a denial for up to five seconds more, see
    /// [`with_deny_cache`](super::RateLimitLayer::with_deny_cache), and spend what they have
    /// [leased](RateLimitRule::with_leases).
    ///
    /// # Errors
    ///
    /// The backend's.
    pub async fn reset(&self, subject: impl Into<SubjectId>) -> Result<(), BackendError> {
        let question = self.question(&subject.into(), 0);
        let Acquire {
            subject,
            limits,
            strikes,
            ..
        } = question.acquire;
        let _change = self.engine.changes(&subject);
        let quotas = Arc::clone(&self.engine.quotas);
        quotas.reset(subject.clone(), limits).await?;
        match strikes {
            Some(strikes) => self.amend(subject, Amendment::Unban { strikes }).await,
            None => Ok(()),
        }
    }

    /// Bans the subject from now on for this long, at most 366 days; in place of a
    /// ban that it may be under.
    ///
    /// # Errors
    ///
    /// The backend's; [`InvalidInput`](BackendErrorKind::InvalidInput) if the rule has no
    /// [ban](RateLimitRule::with_ban) to look for, or for a duration that cannot be.
    pub async fn ban(
        &self,
        subject: impl Into<SubjectId>,
        lasting: Duration,
    ) -> Result<(), BackendError> {
        let strikes = self.strikes()?;
        self.change(&subject.into(), Amendment::Ban { strikes, lasting })
            .await
    }

    /// Ends the subject's ban and forgets its strikes.
    ///
    /// # Errors
    ///
    /// As [`ban`](Self::ban).
    pub async fn unban(&self, subject: impl Into<SubjectId>) -> Result<(), BackendError> {
        let strikes = self.strikes()?;
        self.change(&subject.into(), Amendment::Unban { strikes })
            .await
    }

    /// Gives one of the subject's limits another size for this long, at most
    /// 366 days; 0 admits nothing.
    ///
    /// It goes before a size that a [dynamic limit](RateLimitRule::with_dynamic_limit) says, and
    /// may be larger than the quota that the rule was made with.
    ///
    /// # Errors
    ///
    /// The backend's; [`InvalidInput`](BackendErrorKind::InvalidInput) if the rule has no such
    /// limit or no [overrides](RateLimitRule::with_overrides), or for a duration that cannot be.
    pub async fn set_limit(
        &self,
        subject: impl Into<SubjectId>,
        limit: &str,
        to: u64,
        lasting: Duration,
    ) -> Result<(), BackendError> {
        let limit = self.override_of(limit)?;
        let resize = Amendment::Resize { limit, to, lasting };
        self.change(&subject.into(), resize).await
    }

    /// Gives one of the subject's limits its own size back.
    ///
    /// # Errors
    ///
    /// As [`set_limit`](Self::set_limit).
    pub async fn restore_limit(
        &self,
        subject: impl Into<SubjectId>,
        limit: &str,
    ) -> Result<(), BackendError> {
        let limit = self.override_of(limit)?;
        self.change(&subject.into(), Amendment::Restore { limit })
            .await
    }

    fn strikes(&self) -> Result<Strikes, BackendError> {
        let missing = || self.refused("has no ban; make it with_ban(..)");
        self.rule.strikes().ok_or_else(missing)
    }

    /// The limit of this name, if it may be resized.
    fn override_of(&self, limit: &str) -> Result<Limit, BackendError> {
        if !self.rule.has_overrides() {
            return Err(self.refused("looks for no overrides; make it with_overrides()"));
        }
        let limit = self.rule.limits().all().find(self.rule.name(), limit);
        limit.ok_or_else(|| self.refused("has no limit of this name"))
    }

    fn refused(&self, why: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::InvalidInput,
            format!("change a subject: rule {:?} {why}", self.rule.name()),
        )
    }

    /// Changes something for a subject.
    async fn change(&self, subject: &SubjectId, amendment: Amendment) -> Result<(), BackendError> {
        let subject = self.question(subject, 0).acquire.subject;
        let _change = self.engine.changes(&subject);
        self.amend(subject, amendment).await
    }

    fn amend(&self, subject: Key, amendment: Amendment) -> Call<()> {
        Arc::clone(&self.engine.quotas).amend(subject, amendment)
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
