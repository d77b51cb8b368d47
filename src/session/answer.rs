//! What a response says of its session: the cookie, what caches must know, or that something failed.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, VARY},
};

use super::{
    SessionError, SessionErrorKind,
    job::Job,
    outcome::Outcome,
    rejection,
    rule::{OnGone, OnOutage},
    settle::{Settled, Work},
    state::State,
    visit::Visit,
};
use crate::{
    observe::WarnSite,
    respond::{Rejection, Respond},
};

/// A response that waits for its session.
pub(super) struct Finish<B, R> {
    visit: Arc<Visit>,
    respond: Arc<R>,
    response: Response<B>,
    is_login: bool,
    work: Option<Work>,
}

impl<B, R> Finish<B, R> {
    /// Closes the session to further changes and decides what is to be written.
    pub(super) fn new(visit: Arc<Visit>, respond: Arc<R>, response: Response<B>) -> Self {
        let (head, body) = response.into_parts();
        let work = visit.seal(&head);
        Self {
            is_login: matches!(work, Work::SignIn(_)),
            work: Some(work),
            visit,
            respond,
            response: Response::from_parts(head, body),
        }
    }

    /// Writes it. What a handler has decided on is written even if its client has gone.
    pub(super) fn job(&mut self) -> Job<Settled> {
        let visit = Arc::clone(&self.visit);
        match self.work.take() {
            None | Some(Work::Rest) => Job::Done(Some(Settled::Rested)),
            Some(Work::Lose) => Job::Done(Some(Settled::Lost)),
            Some(work @ Work::Slide(..)) => Job::inline(visit.settle(work)),
            Some(work) => Job::spawned(visit.settle(work)),
        }
    }
}

impl<B, R: Respond<B>> Finish<B, R> {
    /// The response, or an answer in its place.
    pub(super) fn answer(self, settled: Option<Settled>) -> Response<B> {
        let Self {
            visit,
            respond,
            mut response,
            is_login,
            ..
        } = self;
        let settled =
            settled.unwrap_or_else(|| Settled::Failed(SessionErrorKind::Indeterminate.into()));
        outcome(&visit, &settled).record(&visit.rule);
        if let Some(error) = visit.failure() {
            NOT_READ.warn(error);
        }
        if let Settled::Failed(error) = &settled {
            NOT_WRITTEN.warn(error);
        }
        if let Some(rejection) = replaces(&visit, &settled, is_login) {
            response = rejection.answer(&*respond, &visit.request.to_parts());
        }
        visit.send_cookie(&settled, response.headers_mut());
        visit.mark(response)
    }
}

impl Visit {
    /// Says that a response depends on its session, if it does.
    pub(super) fn mark<B>(self: &Arc<Self>, mut response: Response<B>) -> Response<B> {
        if self.is_accessed() {
            let headers = response.headers_mut();
            add_vary(headers, self.rule.family().transport.vary());
            headers
                .entry(CACHE_CONTROL)
                .or_insert(HeaderValue::from_static("no-store"));
            response.extensions_mut().insert(self.accessed());
        }
        response
    }

    /// Tells the client its token, or that it has none any more; in all other cases nothing.
    fn send_cookie(&self, settled: &Settled, headers: &mut HeaderMap) {
        let transport = &self.rule.family().transport;
        if !self.rule.route().sends_cookie {
            return;
        }
        if let Settled::Issued(issue) = settled {
            transport.issue(&self.presented, &issue.token, issue.max_age, headers);
        } else if self.read(|state| state.is_destroyed) {
            transport.remove(headers);
        } else {
            return;
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Whether a route's rule or a failure puts another answer in the place of the response.
fn replaces(visit: &Visit, settled: &Settled, is_login: bool) -> Option<Rejection> {
    let rule = &visit.rule;
    match settled {
        Settled::Lost if rule.route().on_gone == OnGone::Reject => Some(rejection::gone(rule)),
        Settled::Conflict => Some(rejection::conflict(rule)),
        Settled::LoginRefused(refusal) => Some(rejection::login_refused(rule, *refusal)),
        Settled::Failed(_) if is_login || rule.route().on_outage == OnOutage::Reject => {
            Some(rejection::unavailable(rule))
        }
        _ => None,
    }
}

fn outcome(visit: &Visit, settled: &Settled) -> Outcome {
    match settled {
        Settled::Rested if visit.failure().is_some() => Outcome::Outage,
        Settled::Rested if visit.read(|state| state.is_destroyed) => Outcome::Destroyed,
        Settled::Rested if visit.read(State::is_untouched) => Outcome::Untouched,
        Settled::Rested => Outcome::Read,
        Settled::Slid => Outcome::Slid,
        Settled::Saved => Outcome::Saved,
        Settled::Issued(issue) if issue.is_new => Outcome::Created,
        Settled::Issued(_) => Outcome::Renewed,
        Settled::Lost => Outcome::Gone,
        Settled::Conflict => Outcome::Conflict,
        Settled::LoginRefused(_) => Outcome::LoginRefused,
        Settled::Failed(_) => Outcome::Outage,
    }
}

/// Whether a request may run whose route needs a user.
pub(super) struct Verdict(Result<bool, SessionError>);

impl Verdict {
    pub(super) async fn on(visit: Arc<Visit>) -> Self {
        Self(
            visit
                .load()
                .await
                .map(|()| visit.read(|state| state.user().is_some())),
        )
    }

    /// What it is told if it may not.
    pub(super) fn rejection(self, visit: &Visit) -> Option<Rejection> {
        match self.0 {
            Ok(true) => None,
            Ok(false) => {
                Outcome::Unauthenticated.record(&visit.rule);
                Some(rejection::unauthenticated(&visit.rule))
            }
            Err(error) => {
                Outcome::Outage.record(&visit.rule);
                NOT_READ.warn(&error);
                Some(rejection::unavailable(&visit.rule))
            }
        }
    }
}

/// Adds a name to `Vary`, unless it is there (RFC 9110 §12.5.5).
fn add_vary(headers: &mut HeaderMap, name: HeaderName) {
    let is_there = headers.get_all(VARY).iter().any(|line| {
        let names = line.as_bytes().split(|byte| *byte == b',');
        names
            .map(<[u8]>::trim_ascii)
            .any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_str().as_bytes()))
    });
    if !is_there {
        headers.append(VARY, name.into());
    }
}

/// Where what a request changed was lost.
static NOT_WRITTEN: WarnSite = WarnSite::new("session: commit");

/// Where nobody could say whose a request is.
static NOT_READ: WarnSite = WarnSite::new("session: load");
