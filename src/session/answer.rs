//! What a response says of its session: the cookie, what caches must know, or that something failed.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, VARY},
};

use super::{
    SessionErrorKind,
    job::Job,
    outcome::Outcome,
    rejection,
    rule::{OnGone, OnOutage},
    settle::Settled,
    visit::{NOT_LOADED, Visit},
    work::Work,
};
use crate::{
    observe::WarnSite,
    respond::{Rejection, Respond},
};

/// A response that is held back until its session is written.
pub(super) struct HeldResponse<B, R> {
    visit: Arc<Visit>,
    respond: Arc<R>,
    response: Response<B>,
    is_login: bool,
}

impl<B, R> HeldResponse<B, R> {
    /// Closes the session to further changes, and begins to write what there is of them.
    pub(super) fn hold(
        visit: Arc<Visit>,
        respond: Arc<R>,
        response: Response<B>,
    ) -> (Self, Job<Settled>) {
        let (parts, body) = response.into_parts();
        let work = visit.seal(&parts);
        let is_login = matches!(work, Work::LogIn(_));
        let job = visit.begin(work);
        let held = Self {
            visit,
            respond,
            response: Response::from_parts(parts, body),
            is_login,
        };
        (held, job)
    }
}

impl<B, R: Respond<B>> HeldResponse<B, R> {
    /// The response, or an answer in its place; `None` if the runtime ended before it was settled.
    pub(super) fn release(self, settled: Option<Settled>) -> Response<B> {
        let Self {
            visit,
            respond,
            mut response,
            is_login,
        } = self;
        let settled =
            settled.unwrap_or_else(|| Settled::Failed(SessionErrorKind::Indeterminate.into()));
        Outcome::of(&visit, &settled).record(&visit.rule);
        if let Some(error) = visit.failure() {
            NOT_LOADED.warn(error);
        }
        if let Settled::Failed(error) = &settled {
            NOT_WRITTEN.warn(error);
        }
        if let Some(rejection) = replacement(&visit, &settled, is_login) {
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

/// The answer that a route's rule or a failure puts in the place of the response.
fn replacement(visit: &Visit, settled: &Settled, is_login: bool) -> Option<Rejection> {
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
