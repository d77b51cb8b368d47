//! Calling the handler, and what becomes of what it answers.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE, HOST, RANGE},
    response,
};
use http_body::Body;
use tower_service::Service;

use super::{
    answer::forwarded,
    body::{ResponseBody, copy_aside},
    case::{Base, Case, Wanted},
    engine::{Capture, Deposit, Held, Limits, Page, Place, Stake},
    outcome::{CacheOutcome, OutcomeKind},
    record::{Entry, Flag, Flags, Tags},
    semantics::{
        NotStored,
        accept_encoding::normalise_accept_encoding,
        age, coding,
        conditional::{self, ask_whether_valid, take_preconditions},
        dates,
        directives::ResponseDirectives,
        freshness::Source,
        hygiene,
        merge::{self},
        status::{CacheStatus, Forward, Forwarded, Handling},
        storable::{self, Exchange, Storable},
        targeted::governing,
        vary::{VaryNames, VaryProblem},
    },
    tags, unary,
    url::{TagName, Target, tag_digest},
    visit::Visit,
};
use crate::{
    body::RequestBody,
    clock::{Monotonic, Timestamp, monotonic_now},
};

/// A call of the handler that is to be made.
pub(super) struct Fetch {
    pub(super) wanted: Wanted,
    pub(super) stake: Stake,
    /// What is fetched was not there before this; or why it is not to be stored.
    pub(super) started: Result<Timestamp, NotStored>,
}

impl Fetch {
    /// What may stand in for an error may have been purged while the handler was at work.
    async fn drop_what_was_purged(&mut self, case: &Case) {
        let base = self.wanted.base.as_ref();
        if let Some(base) = base.filter(|base| base.may_stand_in)
            && !case.is_present(&base.held).await
        {
            self.wanted.base = None;
        }
    }
}

impl<S> Visit<S> {
    /// The handler's answer, as if there were no cache but for what the client is told.
    pub(super) async fn pass<Q, B>(
        mut self,
        outcome: CacheOutcome,
        why: Forward,
    ) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>>,
    {
        self.await_ready().await?;
        let request = Request::from_parts(self.case.ask.request.clone(), self.case.ask.body());
        let response = self.inner.call(request).await?;
        let mut response = response.map(ResponseBody::passed);
        let note = self.case.note(forwarded(why, outcome), outcome);
        note.write_on(&mut response);
        Ok(response)
    }

    /// Calls the handler, and stores what it answers.
    pub(super) async fn call<Q, B>(
        mut self,
        mut fetch: Fetch,
    ) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>>,
        B: Body<Data = Bytes> + Send + 'static,
    {
        if let Some(lead) = &fetch.stake.lead {
            self.handover.set(lead.audience(), fetch.stake.elsewhere());
        }
        loop {
            self.await_ready().await?;
            let asked = self.moment();
            let base = fetch.wanted.base.as_ref();
            let request = self.request(base.map(|base| &base.held));
            let response = match self.inner.call(request).await {
                Ok(response) => response,
                Err(error) => {
                    fetch.drop_what_was_purged(&self.case).await;
                    let answer = self.stand_in(&mut fetch, None);
                    fetch.stake.abandon(NotStored::HandlerFailed);
                    return answer.ok_or(error);
                }
            };
            self.is_ready = false;
            let is_failure = is_failure(response.status())
                || self.case.ask.is_call() && unary::is_failure(response.headers());
            if is_failure {
                fetch.drop_what_was_purged(&self.case).await;
            }
            if is_failure && let Some(answer) = self.stand_in(&mut fetch, Some(response.status())) {
                fetch.stake.abandon(NotStored::HandlerFailed);
                return Ok(answer);
            }
            if response.status() != StatusCode::NOT_MODIFIED {
                return Ok(self.fetched(fetch, response, asked));
            }
            let Some(Base { held: base, .. }) = fetch.wanted.base.take() else {
                return Ok(self.fetched(fetch, response, asked));
            };
            if self.case.still_holds(&base, response.headers()).await {
                return Ok(self.revalidated(fetch, base, response, asked));
            }
            // It was purged meanwhile, or the handler means another one: all of it, then.
        }
    }

    async fn await_ready<Q>(&mut self) -> Result<(), S::Error>
    where
        S: Service<Request<RequestBody<Q>>>,
    {
        if !self.is_ready {
            poll_fn(|cx| self.inner.poll_ready(cx)).await?;
            self.is_ready = true;
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment {
            here: monotonic_now(),
            there: self.case.shared.core.purges.now(),
        }
    }

    /// What the handler is asked: for all of it, whatever the client has already.
    fn request<Q>(&self, base: Option<&Held>) -> Request<RequestBody<Q>> {
        let mut parts = self.case.ask.request.clone();
        let headers = &mut parts.headers;
        let ask = &self.case.ask;
        if !ask.is_call() {
            // A refresh on behalf of a HEAD is for the whole as well.
            parts.method = Method::GET;
            take_preconditions(headers);
            headers.remove(RANGE);
            normalise_accept_encoding(headers);
        }
        if let Some(shown) = &self.case.ask.shape().narrow {
            let hidden: Vec<_> = headers
                .keys()
                .filter(|name| *name != HOST && !shown.contains(name))
                .filter(|name| !(ask.is_call() && unary::is_of_protocol(name)))
                .cloned()
                .collect();
            for name in hidden {
                headers.remove(name);
            }
        }
        if let Some(base) = base.filter(|_| !ask.is_call()) {
            ask_whether_valid(headers, &base.entry.headers);
        }
        Request::from_parts(parts, ask.body())
    }

    /// What is stored in the place of an error, if that may be.
    fn stand_in<B>(
        &self,
        fetch: &mut Fetch,
        status: Option<StatusCode>,
    ) -> Option<Response<ResponseBody<B>>> {
        let base = fetch.wanted.base.take_if(|base| base.may_stand_in)?.held;
        let age = self.case.age(&base);
        let status = CacheStatus {
            handling: Handling::Forwarded(Forwarded {
                why: fetch.wanted.why,
                status,
                is_stored: false,
                is_collapsed: false,
            }),
            ttl: None,
            detail: Some(NotStored::HandlerFailed.as_str()),
        };
        Some(
            self.case
                .serve(base, age, status, OutcomeKind::StaleIfError),
        )
    }

    /// Answers from a stored response that a 304 has refreshed, and stores that.
    fn revalidated<B>(
        &self,
        fetch: Fetch,
        base: Held,
        response: Response<B>,
        asked: Moment,
    ) -> Response<ResponseBody<B>> {
        let received = self.moment();
        let (parts, _) = response.into_parts();
        let mut entry = (*base.entry).clone();
        merge::update(&mut entry.headers, &parts.headers, &[]);
        let exchange = self.exchange(
            entry.status,
            &entry.headers,
            &parts.extensions,
            asked,
            received,
        );
        let judged = storable::judge(&exchange, self.case.ask.shape());
        let judged = judged.and_then(|storable| {
            let tags = self.tags(&parts)?;
            if varies_more(&parts, &fetch.wanted.found.place) {
                return Err(NotStored::VaryHidden);
            }
            Ok((storable, tags.with(&base.entry.tags)))
        });
        let age = age::initial(&parts.headers, asked.there, received.there);
        let mut is_stored = false;
        let kept = Held {
            entry: Arc::new(entry.clone()),
            ..base.clone()
        };
        match (judged, fetch.started) {
            (Ok((storable, tags)), Ok(started)) => {
                is_stored = true;
                for name in &storable.dropped {
                    entry.headers.remove(name);
                }
                let storable = Storable { age, ..storable };
                let made = self.entry(
                    &storable,
                    entry.status,
                    entry.headers,
                    base.entry.born,
                    received,
                    asked,
                );
                let entry = Entry {
                    checked: started,
                    tags,
                    // The body stays as it is stored.
                    flags: made.flags.with_if(Flag::Gzip, base.is_packed()),
                    ..made
                };
                let elsewhere = fetch.stake.elsewhere();
                let deposit = Deposit {
                    settings: self.case.shared.settings.clone(),
                    asking: Arc::clone(&self.case.ask) as _,
                    place: fetch.wanted.found.place,
                    page: fetch.wanted.found.page,
                    merged: true,
                    replaced: Some(base.version),
                    entry,
                    received: received.here,
                    vary: Vec::new(),
                    parts: Vec::new(),
                    is_compressible: false,
                    stake: fetch.stake,
                };
                let body = base.body;
                let trailers = base.entry.trailers.clone();
                elsewhere.spawn(async move { deposit.store(&[body], trailers).await });
            }
            (Err(reason), _) => fetch.stake.abandon(reason),
            (Ok(_), Err(_)) => drop(fetch.stake),
        }
        let status = CacheStatus {
            handling: Handling::Forwarded(Forwarded {
                why: fetch.wanted.why,
                status: Some(StatusCode::NOT_MODIFIED),
                is_stored,
                is_collapsed: false,
            }),
            ttl: None,
            detail: None,
        };
        self.case.serve(kept, age, status, OutcomeKind::Revalidated)
    }

    /// What the handler has answered, which is stored while it goes to the client.
    fn fetched<B>(
        &self,
        fetch: Fetch,
        response: Response<B>,
        asked: Moment,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let received = self.moment();
        let (mut parts, body) = response.into_parts();
        let why = fetch.wanted.why;
        let Fetch {
            wanted: Wanted { found, .. },
            mut stake,
            started,
        } = fetch;
        let stored = started.and_then(|started| self.storable(&parts, asked, received, started));
        let (mut response, not_stored) = match stored {
            Err(reason) => {
                if started.is_err() {
                    stake.release();
                } else if parts.status.is_server_error() {
                    stake.abandon(NotStored::HandlerFailed);
                } else {
                    stake.abandon(reason);
                }
                let response = Response::from_parts(parts, ResponseBody::passed(body));
                (response, Some(reason))
            }
            Ok((storable, entry, vary)) => {
                if storable.is_coalescable {
                    stake.arrive();
                } else {
                    stake.release();
                }
                let shape = self.case.ask.shape();
                let is_compressible = self.is_compressible(&parts);
                if is_compressible {
                    coding::tell_of_codings(&mut parts.headers);
                }
                let limits = Limits {
                    length: shape.body_limit,
                    declared: declared_length(&parts.headers),
                    is_of_call: self.case.ask.is_call(),
                };
                let replaced = match (&found.place, found.page) {
                    (Place::Url(_), Page::Something(version) | Page::Tombstone(version)) => {
                        Some(version)
                    }
                    (Place::Url(_), _) => None,
                    (Place::Variant { .. }, _) => found.held.map(|held| held.version),
                };
                let deposit = Deposit {
                    stake,
                    settings: self.case.shared.settings.clone(),
                    asking: Arc::clone(&self.case.ask) as _,
                    place: found.place,
                    page: found.page,
                    merged: false,
                    replaced,
                    entry,
                    received: received.here,
                    vary: vary.iter().cloned().collect(),
                    parts: shape
                        .key_parts
                        .iter()
                        .map(|part| part.name.clone())
                        .collect(),
                    is_compressible,
                };
                let capture = Capture::new(deposit, limits);
                (self.copied(parts, body, capture), None)
            }
        };
        let outcome = CacheOutcome {
            not_stored,
            ..CacheOutcome::new(OutcomeKind::Miss)
        };
        self.case
            .note(forwarded(why, outcome), outcome)
            .write_on(&mut response);
        response
    }

    /// The response, unless the client has it already.
    fn copied<B>(
        &self,
        parts: response::Parts,
        body: B,
        capture: Capture,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let ask = &self.case.ask;
        if !ask.is_client_satisfied(parts.status, &parts.headers) {
            return Response::from_parts(parts, ResponseBody::copied(body, capture));
        }
        copy_aside(body, capture);
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = conditional::not_modified_headers(&parts.headers);
        response
    }

    /// What is stored of a response.
    fn storable(
        &self,
        parts: &response::Parts,
        asked: Moment,
        received: Moment,
        started: Timestamp,
    ) -> Result<(Storable, Entry, VaryNames), NotStored> {
        if parts.headers.contains_key(CONTENT_LENGTH) && declared_length(&parts.headers).is_none() {
            return Err(NotStored::Malformed);
        }
        let shape = &*self.case.ask.storing();
        if self.case.ask.is_call() {
            unary::judge_head(parts.status, &parts.headers)?;
        }
        let exchange = self.exchange(
            parts.status,
            &parts.headers,
            &parts.extensions,
            asked,
            received,
        );
        let storable = storable::judge(&exchange, shape)?;
        let vary = VaryNames::read(&parts.headers).map_err(|problem| match problem {
            VaryProblem::Star => NotStored::VaryStar,
            VaryProblem::Credentials => NotStored::VaryCredentials,
            VaryProblem::TooMany => NotStored::VaryTooMany,
            VaryProblem::Malformed => NotStored::Malformed,
        })?;
        if let Some(shown) = &shape.narrow
            && !vary.iter().all(|name| shown.contains(name))
        {
            return Err(NotStored::VaryHidden);
        }
        let tags = self.tags(parts)?;
        let mut headers = hygiene::stored(&parts.headers, &storable.dropped);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, dates::format(received.there));
        }
        let entry = Entry {
            tags,
            ..self.entry(&storable, parts.status, headers, started, received, asked)
        };
        Ok((storable, entry, vary))
    }

    fn is_compressible(&self, parts: &response::Parts) -> bool {
        let shape = self.case.ask.shape();
        if !shape.compresses || self.case.ask.is_call() {
            return false;
        }
        let headers = &parts.headers;
        let forbids = governing(headers, &shape.profile.targeted)
            .directives
            .no_transform
            || ResponseDirectives::read(headers).no_transform;
        coding::is_compressible(parts.status, headers, forbids)
    }

    fn tags(&self, parts: &response::Parts) -> Result<Tags, NotStored> {
        let named = tags::read(&parts.extensions, &parts.headers).map_err(|_| NotStored::Tags)?;
        if named.is_empty() {
            return Ok(Tags::default());
        }
        let target = Target::of(&self.case.ask.request, self.case.ask.shape());
        let target = target.map_err(|_| NotStored::Tags)?;
        let digester = &self.case.shared.core.digester;
        let tags = named.iter().map(|tag| {
            let name = match tag {
                tags::Tag::Plain(name) => TagName::Plain(name),
                tags::Tag::Group(name) => TagName::Group {
                    origin: target.origin(),
                    name: name.as_bytes(),
                },
            };
            tag_digest(&name, digester)
        });
        Ok(tags.collect())
    }

    fn exchange<'a>(
        &'a self,
        status: StatusCode,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
        asked: Moment,
        received: Moment,
    ) -> Exchange<'a> {
        Exchange {
            method: &Method::GET,
            has_authorization: self.case.ask.has_authorization(),
            has_cookie: self.case.ask.has_cookie(),
            forbids_storing: self.case.ask.directives.no_store,
            asked_session: storable::has_asked_session(&self.case.ask.request.extensions),
            status,
            headers,
            extensions,
            requested: asked.there,
            received: received.there,
        }
    }

    fn entry(
        &self,
        storable: &Storable,
        status: StatusCode,
        headers: HeaderMap,
        born: Timestamp,
        received: Moment,
        asked: Moment,
    ) -> Entry {
        let flags = Flags::none()
            .with_if(Flag::AlwaysValidated, storable.flags.must_validate)
            .with_if(Flag::NeverStale, storable.flags.is_never_stale)
            .with_if(Flag::ForAll, storable.flags.is_for_all)
            .with_if(Flag::Coalescable, storable.is_coalescable)
            .with_if(Flag::Heuristic, storable.source == Source::Heuristic);
        Entry {
            status,
            flags,
            born,
            checked: born,
            age: storable.age,
            lifetime: storable.lifetime,
            while_revalidate: storable.while_revalidate,
            if_error: storable.if_error,
            kept: storable.kept,
            fill_time: received.here.saturating_duration_since(asked.here),
            // Known when it is known where it is stored.
            check: self.case.ask.url_key().check(),
            shape: self.case.ask.shape_id(),
            tags: Tags::default(),
            headers,
            trailers: None,
        }
    }
}

/// An instant, and the backend's time at it.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    here: Monotonic,
    there: Timestamp,
}

/// Whether a 304 says that the response is chosen by more than is known, so that it is in the wrong
/// place.
fn varies_more(parts: &response::Parts, place: &Place) -> bool {
    let Ok(vary) = VaryNames::read(&parts.headers) else {
        return true;
    };
    let known: &[HeaderName] = match place {
        Place::Url(_) => &[],
        Place::Variant { head, .. } => &head.headers,
    };
    !vary.iter().all(|name| known.contains(name))
}

/// RFC 5861 §4.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let length = lines.next().filter(|_| lines.next().is_none())?;
    length.to_str().ok()?.parse().ok()
}
