//! Why a request is admitted or denied, for people.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;

use super::Check;
use crate::{
    backend::BackendError,
    rate_limit::{
        RateLimitRule,
        engine::{Engine, Inquiry, Question},
    },
};

/// What would become of a request now, rule by rule; made by
/// [`RateLimitLayer::explain`](crate::rate_limit::RateLimitLayer::explain).
///
/// It prints as a few lines of text, and names nobody: a subject is shown as the key that its
/// counters have in the backend.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The rules that apply, in the order in which they are asked; empty if none does.
    pub rules: Vec<RuleExplanation>,
}

/// What one rule makes of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct RuleExplanation {
    /// The rule's name.
    pub rule: Arc<str>,
    /// Whether the rule is [on trial](RateLimitRule::with_shadow): what it
    /// denies passes all the same.
    pub is_shadow: bool,
    /// What it makes of the request.
    pub finding: Finding,
}

/// What a rule makes of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// It does not limit it: the rule skips it, it does not say whose it is and need not, or it is
    /// under no limit.
    Skipped,
    /// It is on the deny list.
    DenyListed,
    /// It does not say whose it is, and must.
    MissingKey,
    /// It counts under a subject.
    Limited {
        /// The key of the subject in the backend, without its namespace.
        key: String,
        /// What the request costs.
        cost: u64,
        /// Whether it would be admitted.
        admitted: bool,
        /// Where the limits stand, as [`RateLimiter::peek`](super::RateLimiter::peek) tells.
        check: Check,
        /// How long a denial is still repeated without asking, if one is remembered here.
        remembered: Option<Duration>,
    },
    /// The backend did not say where the limits stand; the rule's
    /// [`Outage`](crate::rate_limit::Outage) decides.
    Unknown(BackendError),
}

impl RuleExplanation {
    /// Asks what this rule makes of a request, without counting it.
    pub(in crate::rate_limit) async fn of(
        engine: &Engine,
        rule: &RateLimitRule,
        request: &Parts,
    ) -> Self {
        let finding = match engine.inquiry(rule, request) {
            Inquiry::Skip => Finding::Skipped,
            Inquiry::DenyListed => Finding::DenyListed,
            Inquiry::MissingKey => Finding::MissingKey,
            Inquiry::Ask(question) => Finding::of(engine, question).await,
        };
        Self {
            rule: Arc::clone(rule.shared_name()),
            is_shadow: rule.is_shadow(),
            finding,
        }
    }
}

impl Finding {
    async fn of(engine: &Engine, question: Question) -> Self {
        let remembered = engine.denials.stands_for(&question);
        let look = question.acquire.clone().with_cost(0);
        let check = match Arc::clone(&engine.quotas).acquire(look).await {
            Ok(decision) => Check::decided(&question, &decision),
            Err(error) => return Self::Unknown(error),
        };
        let cost = question.acquire.cost;
        let fits = check.limits.iter().all(|limit| cost <= limit.remaining);
        let is_free = cost == 0;
        Self::Limited {
            key: question.acquire.subject.as_str().to_owned(),
            cost,
            admitted: is_free || fits && check.banned.is_none() && remembered.is_none(),
            check,
            remembered,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_empty() {
            return f.write_str("no rule applies: it passes\n");
        }
        self.rules.iter().try_for_each(|rule| rule.fmt(f))
    }
}

impl fmt::Display for RuleExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trial = if self.is_shadow { " (on trial)" } else { "" };
        write!(f, "rule {}{trial}: {}", self.rule, self.finding)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Limited {
            key,
            cost,
            admitted,
            check,
            remembered,
        } = self
        else {
            return f.write_str(match self {
                Self::Skipped => "does not limit it\n",
                Self::DenyListed => "denies it: it is on the deny list\n",
                Self::MissingKey => "denies it: it does not say whose it is\n",
                _ => "not known: the backend does not answer\n",
            });
        };
        let verdict = if *admitted { "admits" } else { "denies" };
        writeln!(f, "{verdict} it, for {cost} under {key}")?;
        if let Some(left) = check.banned {
            writeln!(f, "  banned for {left:?} more")?;
        }
        if let Some(wait) = remembered {
            writeln!(f, "  denied without asking, for {wait:?} more")?;
        }
        for standing in &check.limits {
            write!(
                f,
                "  {}: {} of {} left",
                standing.name, standing.remaining, standing.limit
            )?;
            match standing.reset {
                Some(reset) => writeln!(f, ", one more in {reset:?}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
