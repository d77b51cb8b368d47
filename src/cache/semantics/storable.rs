//! Whether a response may be stored (RFC 9111 §3).
//!
//! `Vary` is judged in [`vary`](super::vary).

use std::time::Duration;

use http::{
    Extensions, HeaderMap, HeaderName, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ETAG, LAST_MODIFIED, SET_COOKIE, TRAILER},
};

use super::{
    age,
    directives::{ResponseDirectives, clamped},
    freshness::{self, Lifetime, Source, is_cacheable_by_default},
    not_stored::NotStored,
    targeted::{Governing, governing},
};
use crate::{
    cache::rule::{RequestCookies, SetCookie, Shape},
    clock::Timestamp,
    marks::NoStore,
    respond::Rejection,
};

/// A request and the head of the response to it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what was true of a request that is gone"
)]
pub(in crate::cache) struct Exchange<'a> {
    pub(in crate::cache) method: &'a Method,
    pub(in crate::cache) has_authorization: bool,
    pub(in crate::cache) has_cookie: bool,
    /// Whether the request says `no-store`.
    pub(in crate::cache) forbids_storing: bool,
    /// Whether the session of the request was asked, where the session layer is outside.
    pub(in crate::cache) asked_session: bool,
    pub(in crate::cache) status: StatusCode,
    pub(in crate::cache) headers: &'a HeaderMap,
    pub(in crate::cache) extensions: &'a Extensions,
    pub(in crate::cache) requested: Timestamp,
    pub(in crate::cache) received: Timestamp,
}

/// How a response is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Storable {
    /// How old it was when it came.
    pub(in crate::cache) age: Duration,
    /// How long it is fresh, from the age of zero.
    pub(in crate::cache) lifetime: Duration,
    pub(in crate::cache) source: Source,
    /// For how long after that it may be given while a new one is fetched.
    pub(in crate::cache) while_revalidate: Duration,
    /// For how long after that it may stand in for an error.
    pub(in crate::cache) if_error: Duration,
    /// For how long after that it is kept to be validated.
    pub(in crate::cache) kept: Duration,
    pub(in crate::cache) flags: Flags,
    /// Whether those who wait for this response may be given it (section 2.11 of the design): it is
    /// fresh now, and needs no validation.
    pub(in crate::cache) is_coalescable: bool,
    /// Headers that are not stored.
    pub(in crate::cache) dropped: Vec<HeaderName>,
}

/// What holds for a stored response at each use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Flags {
    /// §5.2.2.4: it is used only after validation.
    pub(in crate::cache) must_validate: bool,
    /// §4.2.4: it is not used when it is stale, but for windows that it declares itself.
    pub(in crate::cache) is_never_stale: bool,
    /// It may be given to requests with `Authorization`.
    pub(in crate::cache) is_for_all: bool,
}

impl Flags {
    /// As they are stored.
    pub(in crate::cache) const fn bits(self) -> u8 {
        self.must_validate as u8 | (self.is_never_stale as u8) << 1 | (self.is_for_all as u8) << 2
    }

    /// Those of these bits; others mean nothing.
    pub(in crate::cache) const fn from_bits(bits: u8) -> Self {
        Self {
            must_validate: bits & 1 != 0,
            is_never_stale: bits & 2 != 0,
            is_for_all: bits & 4 != 0,
        }
    }
}

/// Whether this rule stores the response, and how.
///
/// # Errors
///
/// The first reason against it.
pub(in crate::cache) fn judge(
    exchange: &Exchange<'_>,
    shape: &Shape,
) -> Result<Storable, NotStored> {
    judge_request(exchange)?;
    judge_marks(exchange)?;
    judge_status(exchange.status, shape)?;
    let governing = governing(exchange.headers, &shape.profile.targeted);
    judge_directives(exchange.status, &governing.directives)?;
    judge_credentials(exchange, &governing, shape)?;
    judge_body(exchange.headers, shape)?;
    let dropped = judge_cookies(exchange.headers, &governing.directives, shape)?;
    let lifetime = judge_freshness(exchange, &governing, shape)?;

    let directives = &governing.directives;
    let age = age::initial(exchange.headers, exchange.requested, exchange.received);
    let flags = Flags {
        must_validate: directives.no_cache,
        is_never_stale: forbids_stale(directives),
        is_for_all: is_for_authorized(directives),
    };
    let storable = Storable {
        age,
        lifetime: lifetime.duration,
        source: lifetime.source,
        while_revalidate: while_revalidate(exchange.status, directives, shape),
        if_error: if_error(exchange.status, directives, shape),
        kept: kept(exchange.headers, shape),
        flags,
        is_coalescable: lifetime.duration > age && !flags.must_validate,
        dropped,
    };
    if storable.is_of_use() {
        Ok(storable)
    } else {
        Err(NotStored::NoValidator)
    }
}

/// Whether the marks of a request or a response say that a session was asked.
#[cfg(feature = "session")]
pub(in crate::cache) fn has_asked_session(extensions: &Extensions) -> bool {
    let mark = extensions.get::<crate::marks::SessionAccessed>();
    mark.is_some_and(crate::marks::SessionAccessed::is_accessed)
}

/// Without sessions nothing depends on one.
#[cfg(not(feature = "session"))]
pub(in crate::cache) fn has_asked_session(_: &Extensions) -> bool {
    false
}

impl Storable {
    /// Whether there will be a request that this response serves, or a validation that saves it.
    fn is_of_use(&self) -> bool {
        let end_of_use = self.lifetime + self.while_revalidate.max(self.if_error);
        !self.kept.is_zero() || (!self.flags.must_validate && end_of_use > self.age)
    }
}

/// §3: the method is understood, and `no-store` is not in the request.
fn judge_request(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    if exchange.method != Method::GET {
        return Err(NotStored::Method);
    }
    if exchange.forbids_storing {
        return Err(NotStored::RequestNoStore);
    }
    Ok(())
}

fn judge_marks(exchange: &Exchange<'_>) -> Result<(), NotStored> {
    let extensions = exchange.extensions;
    if extensions.get::<NoStore>().is_some() {
        return Err(NotStored::Marked);
    }
    if extensions.get::<Rejection>().is_some() {
        return Err(NotStored::Denial);
    }
    #[cfg(feature = "idempotency")]
    if extensions.get::<crate::marks::Replayed>().is_some() {
        return Err(NotStored::Replay);
    }
    if exchange.asked_session || has_asked_session(extensions) {
        return Err(NotStored::Session);
    }
    Ok(())
}

/// §3: the status is final; RFC 6585 §4 for 429. A 304 is no response to a request without
/// conditions, and parts are not stored.
fn judge_status(status: StatusCode, shape: &Shape) -> Result<(), NotStored> {
    if status == StatusCode::PARTIAL_CONTENT {
        return Err(NotStored::Partial);
    }
    let is_listed = shape
        .statuses
        .as_ref()
        .is_none_or(|listed| listed.contains(&status));
    let is_final = (200..600).contains(&status.as_u16());
    let is_never_stored =
        status == StatusCode::NOT_MODIFIED || status == StatusCode::TOO_MANY_REQUESTS;
    if is_listed && is_final && !is_never_stored {
        Ok(())
    } else {
        Err(NotStored::Status)
    }
}

fn judge_directives(status: StatusCode, directives: &ResponseDirectives) -> Result<(), NotStored> {
    if directives.is_malformed {
        return Err(NotStored::Malformed);
    }
    // §5.2.2.3: it lifts `no-store` for those who know what the status asks of caches.
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.is_private {
        return Err(NotStored::Private);
    }
    Ok(())
}

/// §3.5 for `Authorization`; the rule's profile for cookies.
fn judge_credentials(
    exchange: &Exchange<'_>,
    governing: &Governing,
    shape: &Shape,
) -> Result<(), NotStored> {
    if shape.covers_credentials {
        return Ok(());
    }
    let directives = &governing.directives;
    // A handler that is shown no credentials is not to be asked on behalf of who has them.
    let is_for_authorized = is_for_authorized(directives) && shape.narrow.is_none();
    if exchange.has_authorization && !is_for_authorized {
        return Err(NotStored::Authorization);
    }
    let minds_cookies = shape.profile.request_cookies == RequestCookies::Mind;
    let says_all = directives.is_public || directives.s_maxage.is_some() || governing.is_targeted;
    if exchange.has_cookie && minds_cookies && !says_all && !is_hidden(&COOKIE, shape) {
        return Err(NotStored::CookieInRequest);
    }
    Ok(())
}

/// What can be told of the body from its head.
fn judge_body(headers: &HeaderMap, shape: &Shape) -> Result<(), NotStored> {
    if headers.contains_key(TRAILER) {
        return Err(NotStored::Trailers);
    }
    if is_event_stream(headers) {
        return Err(NotStored::EventStream);
    }
    let limit = u64::try_from(shape.body_limit).unwrap_or(u64::MAX);
    let has_too_long_body = declared_length(headers).is_some_and(|length| length > limit);
    if has_too_long_body || length_of(headers) > HEADERS_LIMIT {
        return Err(NotStored::TooLarge);
    }
    Ok(())
}

/// The headers that are not stored.
fn judge_cookies(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    shape: &Shape,
) -> Result<Vec<HeaderName>, NotStored> {
    let mut dropped = directives.fields.clone();
    if headers.contains_key(SET_COOKIE) {
        match shape.profile.set_cookie {
            SetCookie::Refuse => return Err(NotStored::SetCookie),
            SetCookie::Keep => {}
            SetCookie::Strip => dropped.push(SET_COOKIE),
        }
    }
    Ok(dropped)
}

/// §3: it says how long it is fresh, or its status lets others say it. What says `no-cache` is
/// good for validation all the same, and so is anything where freshness may be guessed.
fn judge_freshness(
    exchange: &Exchange<'_>,
    governing: &Governing,
    shape: &Shape,
) -> Result<Lifetime, NotStored> {
    let status = exchange.status;
    let received = exchange.received;
    let found = freshness::lifetime(status, exchange.headers, governing, received, shape);
    let directives = &governing.directives;
    let may_be_validated = status.as_u16() < 500
        && has_validator(exchange.headers)
        && (is_cacheable_by_default(status) || directives.is_public)
        && (directives.no_cache || shape.profile.heuristics.is_some());
    let nobody = Lifetime {
        duration: Duration::ZERO,
        source: Source::Nobody,
    };
    let lifetime = found.or(may_be_validated.then_some(nobody));
    let is_error = status.as_u16() >= 500;
    // An error that is not fresh is of use to nobody.
    lifetime
        .filter(|lifetime| !is_error || !lifetime.duration.is_zero())
        .ok_or(NotStored::NoFreshness)
}

/// RFC 5861 §3. `s-maxage` forbids stale responses (§5.2.2.10), but not one that the same response
/// asks for beside it.
fn while_revalidate(
    status: StatusCode,
    directives: &ResponseDirectives,
    shape: &Shape,
) -> Duration {
    if directives.no_cache || directives.must_revalidate || directives.proxy_revalidate {
        return Duration::ZERO;
    }
    if let Some(declared) = directives.stale_while_revalidate {
        return declared;
    }
    if directives.s_maxage.is_some() || status.as_u16() >= 500 {
        return Duration::ZERO;
    }
    bounded(shape.stale_while_revalidate.unwrap_or_default())
}

/// RFC 5861 §4.
fn if_error(status: StatusCode, directives: &ResponseDirectives, shape: &Shape) -> Duration {
    if forbids_stale(directives) {
        return Duration::ZERO;
    }
    if let Some(declared) = directives.stale_if_error {
        return declared;
    }
    // One error is no better than another.
    if status.as_u16() >= 500 {
        return Duration::ZERO;
    }
    let ours = shape.stale_if_error;
    bounded(ours.unwrap_or(shape.profile.stale_if_error))
}

/// What cannot be validated is kept for no validation.
fn kept(headers: &HeaderMap, shape: &Shape) -> Duration {
    if !has_validator(headers) {
        return Duration::ZERO;
    }
    bounded(shape.profile.kept)
}

/// §4.2.4.
fn forbids_stale(directives: &ResponseDirectives) -> bool {
    directives.no_cache
        || directives.must_revalidate
        || directives.proxy_revalidate
        || directives.s_maxage.is_some()
}

/// §3.5.
fn is_for_authorized(directives: &ResponseDirectives) -> bool {
    directives.is_public || directives.must_revalidate || directives.s_maxage.is_some()
}

/// Whether the handler does not see this header of a request.
fn is_hidden(name: &HeaderName, shape: &Shape) -> bool {
    let shown = shape.narrow.as_ref();
    shown.is_some_and(|shown| !shown.contains(name))
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// Whether we know what this status asks of caches: the final ones of RFC 9110 §15 that ask nothing
/// special, and those of RFC 4918, RFC 6585, RFC 7725 and RFC 8470 that a server sends.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205
            | 300..=303
            | 307
            | 308
            | 400..=417
            | 421
            | 422
            | 425
            | 426
            | 428
            | 431
            | 451
            | 500..=505
            | 511
    )
}

/// A type without end: it would be kept for nothing.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let types = headers.get_all(CONTENT_TYPE).into_iter();
    let mut essences = types.map(|value| {
        let mut parts = value.as_bytes().split(|byte| *byte == b';');
        parts.next().unwrap_or_default().trim_ascii()
    });
    essences.any(|essence| {
        ENDLESS
            .iter()
            .any(|endless| essence.eq_ignore_ascii_case(endless))
    })
}

/// What `Content-Length` says, up to a bound that no body limit reaches; the body is counted anyway.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    length.parse().ok()
}

/// How long the headers are in the form of HTTP/1.1, without the ends of the lines.
fn length_of(headers: &HeaderMap) -> usize {
    let lengths = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    lengths.sum()
}

/// A time that can be added to others without end.
fn bounded(time: Duration) -> Duration {
    time.min(clamped(u64::MAX))
}

const ENDLESS: [&[u8]; 2] = [b"text/event-stream", b"multipart/x-mixed-replace"];

/// 32 KiB.
const HEADERS_LIMIT: usize = 32 * 1024;
