//! What a program is told about a subject's limits.

use std::{sync::Arc, time::Duration};

use crate::{
    backend::{Decision, Limit, LimitState, Retry},
    rate_limit::{
        Permit,
        engine::{Answer, Engine, Found, Question},
        rule::applied,
    },
};

/// What a [`RateLimiter`](crate::rate_limit::RateLimiter) found out about a subject.
#[derive(Debug)]
#[non_exhaustive]
pub struct Check {
    /// Whether it may go on.
    pub admitted: bool,
    /// How long to wait until the same is admitted; [`Retry::Now`] if it was.
    pub retry: Retry,
    /// How long the subject is still banned, if it is.
    pub banned: Option<Duration>,
    /// How much was taken from each limit, before its weight.
    pub taken: u64,
    /// Whether the backend decided; if not, the rule's [`Outage`](crate::rate_limit::Outage) did.
    pub counted: bool,
    /// Where each limit of the rule stands; empty if it is not known.
    pub limits: Vec<Standing>,
    permit: Option<Permit>,
}

/// Where one limit of a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The limit's name: rule, dot, limit.
    pub name: Arc<str>,
    /// How many calls of cost one it admits.
    pub limit: u64,
    /// How many of them it would admit now.
    pub remaining: u64,
    /// How long until it admits one more; `None` if nothing is taken.
    pub reset: Option<Duration>,
}

impl Check {
    /// Gives back what was taken, in a call of its own that nobody waits
    /// for; see [`Permit::refund`].
    pub fn refund(self) {
        if let Some(permit) = self.permit {
            permit.refund();
        }
    }

    /// What became of a question.
    pub(in crate::rate_limit) fn of(answer: &Answer, engine: &Engine) -> Self {
        let permit = answer
            .taken(engine)
            .map(|taken| Permit::new(vec![Arc::new(taken)]));
        let check = match &answer.found {
            Found::Decided(decision) | Found::Remembered(decision) => {
                Self::decided(&answer.question, decision)
            }
            Found::Local(decision) => Self {
                counted: false,
                ..Self::decided(&answer.question, decision)
            },
            Found::Unknown => Self {
                counted: false,
                ..Self::unlimited()
            },
        };
        let admitted = answer.admits();
        let retry = match check.retry {
            _ if admitted => Retry::Now,
            Retry::Now => Retry::After(Duration::from_secs(1)),
            retry => retry,
        };
        Self {
            admitted,
            retry,
            permit,
            ..check
        }
    }

    /// What the backend said.
    pub(in crate::rate_limit) fn decided(question: &Question, decision: &Decision) -> Self {
        let limits = question.limits.iter().zip(&decision.limits);
        let standing = |((name, limit), state): ((&Arc<str>, &Limit), &LimitState)| {
            let quota = applied(limit, state);
            Standing {
                name: Arc::clone(name),
                limit: quota.capacity() / u64::from(quota.weight()),
                remaining: state.remaining,
                reset: state.reset,
            }
        };
        Self {
            admitted: decision.admitted,
            retry: decision.retry(),
            banned: decision.banned,
            taken: decision.taken,
            counted: true,
            limits: limits.map(standing).collect(),
            permit: None,
        }
    }

    /// Nothing stands in the way.
    pub(in crate::rate_limit) fn unlimited() -> Self {
        Self {
            admitted: true,
            retry: Retry::Now,
            banned: None,
            taken: 0,
            counted: true,
            limits: Vec::new(),
            permit: None,
        }
    }
}
