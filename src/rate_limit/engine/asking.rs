//! The questions of one request, asked one after the other.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use super::{Answer, Engine, Found, Question, hot_keys::Asked};
use crate::{
    backend::{BackendError, Call, Decision},
    clock::{Monotonic, monotonic_now},
    observe::WarnSite,
    rate_limit::{Outage, RateLimitRule},
};

/// Asks until all rules have admitted a request or one has not.
///
/// # Cancel safety
///
/// Dropped before the end, what was taken so far stays taken, and a question under way may or may
/// not take.
pub(in crate::rate_limit) struct Asking {
    engine: Arc<Engine>,
    step: Step,
    later: vec::IntoIter<Question>,
    admitted: Answers,
}

/// What all rules of a request said, or the one that denied it.
pub(in crate::rate_limit) enum Verdict {
    Admitted(Answers),
    Denied(Answer),
}

/// What rules said, in order; the first needs no room of its own.
#[derive(Default)]
pub(in crate::rate_limit) struct Answers {
    first: Option<Answer>,
    later: Vec<Answer>,
}

enum Step {
    /// This is to be asked.
    Ask(Question),
    /// The backend is asked.
    Backend {
        question: Question,
        sent: Monotonic,
        call: Call<Decision>,
    },
    /// The backend does not answer; this process counts.
    Local {
        question: Question,
        call: Call<Decision>,
    },
    /// The verdict is out.
    Done,
}

impl Asking {
    pub(in crate::rate_limit) fn new(
        engine: Arc<Engine>,
        first: Question,
        later: Vec<Question>,
    ) -> Self {
        Self {
            engine,
            step: Step::Ask(first),
            later: later.into_iter(),
            admitted: Answers::default(),
        }
    }

    /// The rules that are still to be asked.
    pub(in crate::rate_limit) fn rules(&self) -> impl Iterator<Item = &RateLimitRule> {
        let next = match &self.step {
            Step::Ask(question) => Some(question),
            Step::Backend { .. } | Step::Local { .. } | Step::Done => None,
        };
        next.into_iter()
            .chain(self.later.as_slice())
            .map(|question| &question.rule)
    }

    /// Asks the backend, unless a lease pays.
    fn ask(&mut self, question: Question) -> Option<Answer> {
        let sent = monotonic_now();
        match self.engine.acquire(&question) {
            Asked::Paid(decision) => Some(Answer::new(question, Found::Decided(decision))),
            Asked::Called(call) => {
                self.step = Step::Backend {
                    question,
                    sent,
                    call,
                };
                None
            }
        }
    }

    /// Remembers what the backend said.
    fn hear(&self, question: Question, sent: Monotonic, decision: Decision) -> Answer {
        self.engine.denials.remember(&question, sent, &decision);
        Answer::new(question, Found::Decided(decision))
    }

    /// Goes on with the next question, unless this was the last answer that is needed.
    fn take_in(&mut self, answer: Answer) -> Option<Verdict> {
        answer.record();
        if !answer.admits() {
            self.give_back();
            return Some(Verdict::Denied(answer));
        }
        self.admitted.push(answer);
        match self.later.next() {
            Some(question) => {
                self.step = Step::Ask(question);
                None
            }
            None => Some(Verdict::Admitted(std::mem::take(&mut self.admitted))),
        }
    }

    /// Gives back what was taken so far.
    fn give_back(&self) {
        for answer in self.admitted.iter() {
            if let Some(taken) = answer.taken(&self.engine) {
                taken.give_back();
            }
        }
    }

    /// Asks this process after the backend failed, or nobody, as the rule says.
    fn without_backend(&mut self, question: Question, error: &BackendError) -> Option<Answer> {
        UNCOUNTED.warn(error);
        match question.rule.outage() {
            Outage::Local { instances } => {
                let share = question.share_of_one(instances);
                let call = Arc::clone(&self.engine.local).acquire(share.acquire.clone());
                self.step = Step::Local {
                    question: share,
                    call,
                };
                None
            }
            Outage::Allow | Outage::Deny => Some(Answer::new(question, Found::Unknown)),
        }
    }
}

impl Future for Asking {
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let asking = self.get_mut();
        loop {
            let step = std::mem::replace(&mut asking.step, Step::Done);
            let answer = match step {
                Step::Ask(question) => asking.ask(question),
                Step::Backend {
                    question,
                    sent,
                    mut call,
                } => match call.as_mut().poll(cx) {
                    Poll::Pending => {
                        asking.step = Step::Backend {
                            question,
                            sent,
                            call,
                        };
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(decision)) => Some(asking.hear(question, sent, decision)),
                    Poll::Ready(Err(error)) => asking.without_backend(question, &error),
                },
                Step::Local { question, mut call } => match call.as_mut().poll(cx) {
                    Poll::Pending => {
                        asking.step = Step::Local { question, call };
                        return Poll::Pending;
                    }
                    Poll::Ready(decision) => Some(Answer::of_share(question, decision)),
                },
                Step::Done => return Poll::Pending,
            };
            if let Some(verdict) = answer.and_then(|answer| asking.take_in(answer)) {
                return Poll::Ready(verdict);
            }
        }
    }
}

impl Answers {
    pub(in crate::rate_limit) fn iter(&self) -> impl Iterator<Item = &Answer> {
        self.first.iter().chain(&self.later)
    }

    /// What the first rule said.
    pub(in crate::rate_limit) fn into_first(self) -> Option<Answer> {
        self.first
    }

    fn push(&mut self, answer: Answer) {
        if self.first.is_none() {
            self.first = Some(answer);
        } else {
            self.later.push(answer);
        }
    }
}

/// Where requests go uncounted, or unserved, because the backend does not answer.
static UNCOUNTED: WarnSite = WarnSite::new("rate_limit: acquire");
