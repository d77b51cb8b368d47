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
    hygiene,
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

impl Flags {}

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
    if has_too_long_body || hygiene::size(headers) > HEADERS_LIMIT {
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

/// A time that can be added to others without end.
fn bounded(time: Duration) -> Duration {
    time.min(clamped(u64::MAX))
}

const ENDLESS: [&[u8]; 2] = [b"text/event-stream", b"multipart/x-mixed-replace"];

/// 32 KiB.
const HEADERS_LIMIT: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, Response};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cache::{
            rule::{CacheRule, Profile},
            semantics::directives::RequestDirectives,
        },
        marks,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rule() -> CacheRule {
        CacheRule::new("test").unwrap()
    }

    fn compliant() -> CacheRule {
        rule().with_profile(Profile::compliance())
    }

    fn headers(lines: Lines<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn judged(
        rule: &CacheRule,
        asked: Lines<'_>,
        response: &Response<()>,
    ) -> Result<Storable, NotStored> {
        let asked = headers(asked);
        let exchange = Exchange {
            method: &Method::GET,
            has_authorization: asked.contains_key("authorization"),
            has_cookie: asked.contains_key("cookie"),
            forbids_storing: RequestDirectives::read(&asked).no_store,
            asked_session: false,
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
            requested: NOW,
            received: NOW,
        };
        judge(&exchange, rule.shape())
    }

    fn response(status: u16, lines: Lines<'_>) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers(lines);
        response
    }

    fn stored(rule: &CacheRule, lines: Lines<'_>) -> Result<Storable, NotStored> {
        judged(rule, &[], &response(200, lines))
    }

    fn refusal(rule: &CacheRule, lines: Lines<'_>) -> Option<NotStored> {
        stored(rule, lines).err()
    }

    #[test]
    fn a_fresh_response_to_a_get_is_stored() {
        let expected = Storable {
            age: Duration::ZERO,
            lifetime: secs(60),
            source: Source::MaxAge,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            kept: Duration::ZERO,
            flags: Flags::default(),
            is_coalescable: true,
            dropped: Vec::new(),
        };
        assert_eq!(stored(&rule(), &[FRESH]), Ok(expected));
    }

    #[test]
    fn a_response_to_another_method_is_not() {
        let response = response(200, &[FRESH]);
        let request = Request::new(());
        for method in [Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS] {
            let exchange = Exchange {
                method: &method,
                has_authorization: false,
                has_cookie: false,
                forbids_storing: false,
                asked_session: false,
                status: response.status(),
                headers: response.headers(),
                extensions: request.extensions(),
                requested: NOW,
                received: NOW,
            };
            let refused = judge(&exchange, rule().shape());
            assert_eq!(refused, Err(NotStored::Method));
        }
    }

    #[test]
    fn a_request_may_forbid_it() {
        let asked = [("cache-control", "No-Store")];
        let refused = judged(&compliant(), &asked, &response(200, &[FRESH]));
        assert_eq!(refused, Err(NotStored::RequestNoStore));
    }

    #[test]
    fn marks_forbid_it() {
        let marked = |mark: fn(&mut Extensions)| {
            let mut response = response(200, &[FRESH]);
            mark(response.extensions_mut());
            judged(&compliant(), &[], &response).err()
        };
        let no_store = marked(|it| _ = it.insert(marks::NoStore::new()));
        assert_eq!(no_store, Some(NotStored::Marked));
        let replay = marked(|it| _ = it.insert(marks::Replayed::new()));
        assert_eq!(replay, Some(NotStored::Replay));
        assert_eq!(
            marked(|it| _ = it.insert(marks::SessionAccessed::new())),
            None
        );
        let session = marked(|it| {
            let mark = marks::SessionAccessed::new();
            mark.mark();
            it.insert(mark);
        });
        assert_eq!(session, Some(NotStored::Session));
        let denial = marked(|it| {
            let name = "name".into();
            let code = crate::grpc::GrpcCode::UNAVAILABLE;
            it.insert(Rejection::new(
                "layer",
                &name,
                StatusCode::OK,
                code,
                "title",
            ));
        });
        assert_eq!(denial, Some(NotStored::Denial));
    }

    #[test]
    fn a_session_that_was_asked_outside_forbids_it() {
        let response = response(200, &[FRESH]);
        let exchange = Exchange {
            method: &Method::GET,
            has_authorization: false,
            has_cookie: false,
            forbids_storing: false,
            asked_session: true,
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
            requested: NOW,
            received: NOW,
        };
        assert_eq!(judge(&exchange, rule().shape()), Err(NotStored::Session));
    }

    #[test]
    fn some_statuses_are_never_stored() {
        for status in [100, 101, 103, 304, 429, 600, 999] {
            let refused = judged(&compliant(), &[], &response(status, &[FRESH]));
            assert_eq!(refused.err(), Some(NotStored::Status), "{status}");
        }
        let refused = judged(&compliant(), &[], &response(206, &[FRESH]));
        assert_eq!(refused.err(), Some(NotStored::Partial));
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599,
        ] {
            assert!(
                judged(&rule(), &[], &response(status, &[FRESH])).is_ok(),
                "{status}"
            );
        }
    }

    #[test]
    fn a_rule_stores_the_statuses_that_it_lists() {
        let ours = rule().with_statuses([StatusCode::OK, StatusCode::PARTIAL_CONTENT]);
        assert_eq!(refusal(&ours, &[FRESH]), None);
        for (status, refused) in [(404, NotStored::Status), (206, NotStored::Partial)] {
            let judged = judged(&ours, &[], &response(status, &[FRESH]));
            assert_eq!(judged, Err(refused));
        }
    }

    #[test]
    fn private_and_no_store_forbid_it_whatever_the_rule_says() {
        let ours = compliant()
            .with_override_ttl(secs(60))
            .with_credentials_covered();
        for (line, refused) in [
            ("private", NotStored::Private),
            ("Private=\"\"", NotStored::Private),
            ("max-age=60, pRivate", NotStored::Private),
            ("no-store", NotStored::NoStore),
            ("max-age=60, no-store=1", NotStored::NoStore),
            ("max-age=60; private", NotStored::Malformed),
            ("private=\"a, max-age=60", NotStored::Malformed),
        ] {
            assert_eq!(
                refusal(&ours, &[("cache-control", line)]),
                Some(refused),
                "{line}"
            );
            assert_eq!(
                refusal(&ours, &[FRESH, ("cache-control", line)]),
                Some(refused),
                "{line}"
            );
        }
    }

    #[test]
    fn a_targeted_field_speaks_for_cache_control() {
        let lines = [
            ("cache-control", "no-store, private"),
            ("stash-cache-control", "max-age=60"),
        ];
        assert_eq!(refusal(&rule(), &lines), None);
        let lines = [FRESH, ("stash-cache-control", "no-store")];
        assert_eq!(refusal(&rule(), &lines), Some(NotStored::NoStore));
        let lines = [FRESH, ("cdn-cache-control", "private")];
        assert_eq!(refusal(&rule(), &lines), None);
        assert_eq!(refusal(&compliant(), &lines), Some(NotStored::Private));
    }

    #[test]
    fn must_understand_lifts_no_store_where_the_status_is_known() {
        let line = [("cache-control", "max-age=60, must-understand, no-store")];
        assert_eq!(refusal(&rule(), &line), None);
        let unknown = [("cache-control", "max-age=60, must-understand")];
        for status in [299, 418, 599] {
            let refused = judged(&rule(), &[], &response(status, &unknown));
            assert_eq!(refused, Err(NotStored::Status), "{status}");
        }
        let private = [("cache-control", "max-age=60, must-understand, private")];
        assert_eq!(refusal(&rule(), &private), Some(NotStored::Private));
    }

    fn with(rule: &CacheRule, asked: &'static str, line: &str) -> Option<NotStored> {
        let lines = [("cache-control", line)];
        judged(rule, &[(asked, "x")], &response(200, &lines)).err()
    }

    #[test]
    fn a_response_to_authorization_is_stored_only_if_it_says_so() {
        for ours in [rule(), compliant()] {
            let refused = with(&ours, "authorization", "max-age=60");
            assert_eq!(refused, Some(NotStored::Authorization));
            for line in [
                "max-age=60, public",
                "s-maxage=60",
                "max-age=60, must-revalidate",
            ] {
                assert_eq!(with(&ours, "authorization", line), None, "{line}");
            }
            for line in ["max-age=60, proxy-revalidate", "max-age=60, public=x"] {
                let refused = with(&ours, "authorization", line);
                assert_eq!(refused, Some(NotStored::Authorization), "{line}");
            }
            let covered = ours.with_credentials_covered();
            assert_eq!(with(&covered, "authorization", "max-age=60"), None);
        }
    }

    #[test]
    fn a_narrow_handler_is_not_asked_for_who_has_authorization() {
        let narrow = compliant().with_narrow([]);
        let refused = with(&narrow, "authorization", "max-age=60, public");
        assert_eq!(refused, Some(NotStored::Authorization));
        let covered = narrow.with_credentials_covered();
        assert_eq!(with(&covered, "authorization", "max-age=60"), None);
    }

    #[test]
    fn a_response_to_cookies_is_stored_only_if_it_says_so_where_the_profile_minds() {
        let refused = with(&rule(), "cookie", "max-age=60");
        assert_eq!(refused, Some(NotStored::CookieInRequest));
        let refused = with(&rule(), "cookie", "max-age=60, must-revalidate");
        assert_eq!(refused, Some(NotStored::CookieInRequest));
        for line in ["max-age=60, public", "s-maxage=60"] {
            assert_eq!(with(&rule(), "cookie", line), None, "{line}");
        }
        let targeted = [("stash-cache-control", "max-age=60")];
        let asked = [("cookie", "x")];
        assert!(judged(&rule(), &asked, &response(200, &targeted)).is_ok());
        for ours in [
            compliant(),
            rule().with_credentials_covered(),
            rule().with_narrow([]),
        ] {
            assert_eq!(with(&ours, "cookie", "max-age=60"), None);
        }
        let shown = rule().with_narrow([COOKIE]);
        assert_eq!(
            with(&shown, "cookie", "max-age=60"),
            Some(NotStored::CookieInRequest)
        );
    }

    #[test]
    fn a_response_that_sets_a_cookie_is_stored_as_the_profile_says() {
        let lines = [
            ("cache-control", "public, max-age=60"),
            ("set-cookie", "a=b"),
        ];
        assert_eq!(refusal(&rule(), &lines), Some(NotStored::SetCookie));
        assert_eq!(
            stored(&compliant(), &lines).unwrap().dropped,
            [] as [HeaderName; 0]
        );
        let strips = Profile::safe().with_set_cookie(SetCookie::Strip);
        let dropped = stored(&rule().with_profile(strips), &lines)
            .unwrap()
            .dropped;
        assert_eq!(dropped, [SET_COOKIE]);
    }

    #[test]
    fn the_fields_that_directives_name_are_dropped() {
        let lines = [(
            "cache-control",
            "max-age=60, private=\"x-user\", no-cache=\"x-b\"",
        )];
        let kept = stored(&rule(), &lines).unwrap();
        assert_eq!(kept.dropped, ["x-user", "x-b"]);
        assert!(kept.is_coalescable && !kept.flags.must_validate);
    }

    #[test]
    fn what_is_too_long_or_has_no_end_is_not_stored() {
        let ours = rule().with_body_limit(100);
        for (length, refused) in [
            ("100", None),
            ("101", Some(NotStored::TooLarge)),
            ("x", None),
            ("-1", None),
        ] {
            assert_eq!(
                refusal(&ours, &[FRESH, ("content-length", length)]),
                refused
            );
        }
        let long = "x".repeat(HEADERS_LIMIT - "x-longcache-controlmax-age=60".len());
        let lines = [FRESH, ("x-long", &*long)];
        assert_eq!(refusal(&rule(), &lines), None);
        let lines = [FRESH, ("x-long", &*long), ("a", "")];
        assert_eq!(refusal(&rule(), &lines), Some(NotStored::TooLarge));
        for stream in [
            "text/event-stream",
            "Text/Event-Stream ; charset=utf-8",
            "multipart/x-mixed-replace;boundary=a",
        ] {
            let lines = [FRESH, ("content-type", stream)];
            assert_eq!(
                refusal(&rule(), &lines),
                Some(NotStored::EventStream),
                "{stream}"
            );
        }
        assert_eq!(
            refusal(&rule(), &[FRESH, ("content-type", "text/event-streams")]),
            None
        );
        assert_eq!(
            refusal(&rule(), &[FRESH, ("trailer", "x")]),
            Some(NotStored::Trailers)
        );
    }

    #[test]
    fn what_says_nothing_of_its_freshness_is_not_stored() {
        let etag = ("etag", "\"a\"");
        assert_eq!(refusal(&rule(), &[]), Some(NotStored::NoFreshness));
        assert_eq!(refusal(&rule(), &[etag]), Some(NotStored::NoFreshness));
        assert_eq!(refusal(&compliant(), &[]), Some(NotStored::NoFreshness));
        let guessed = stored(&compliant(), &[etag]).unwrap();
        assert_eq!(
            (guessed.lifetime, guessed.source),
            (Duration::ZERO, Source::Nobody)
        );
        assert!(!guessed.is_coalescable);
    }

    #[test]
    fn what_is_never_fresh_is_stored_for_validation_only() {
        let etag = ("etag", "\"a\"");
        for line in ["no-cache", "max-age=60, no-cache", "max-age=0"] {
            let line = ("cache-control", line);
            assert_eq!(
                refusal(&rule(), &[line]),
                Some(match line.1 {
                    "no-cache" => NotStored::NoFreshness,
                    _ => NotStored::NoValidator,
                })
            );
            let kept = stored(&rule(), &[line, etag]).unwrap();
            assert_eq!(kept.kept, secs(600));
            assert!(!kept.is_coalescable);
        }
        let old = ("age", "60");
        assert_eq!(
            refusal(&rule(), &[FRESH, old]),
            Some(NotStored::NoValidator)
        );
        assert!(!stored(&rule(), &[FRESH, old, etag]).unwrap().is_coalescable);
        let window = ("cache-control", "stale-while-revalidate=1");
        assert!(stored(&rule(), &[FRESH, window, old]).is_ok());
        let no_time_left = rule().with_profile(Profile::safe().with_kept(Duration::ZERO));
        let refused = refusal(&no_time_left, &[etag, ("cache-control", "no-cache")]);
        assert_eq!(refused, Some(NotStored::NoValidator));
    }

    #[test]
    fn an_error_is_stored_only_while_it_is_fresh() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        for lines in [
            &[modified][..],
            &[("expires", "0"), modified],
            &[("cache-control", "no-cache"), modified],
        ] {
            let refused = judged(&compliant(), &[], &response(503, lines));
            assert_eq!(refused, Err(NotStored::NoFreshness));
        }
        let fresh = [FRESH, modified];
        let kept = judged(&compliant(), &[], &response(503, &fresh)).unwrap();
        assert_eq!((kept.lifetime, kept.if_error), (secs(60), Duration::ZERO));
        let ours = rule().with_negative_ttl(StatusCode::SERVICE_UNAVAILABLE, secs(2));
        assert_eq!(
            judged(&ours, &[], &response(503, &[])).unwrap().lifetime,
            secs(2)
        );
    }

    /// The windows behind freshness, in seconds.
    fn windows(rule: &CacheRule, line: &str) -> (u64, u64) {
        let lines = [("cache-control", line), ("etag", "\"a\"")];
        let kept = stored(rule, &lines).unwrap();
        (kept.while_revalidate.as_secs(), kept.if_error.as_secs())
    }

    #[test]
    fn a_response_may_be_stale_as_it_says_or_else_as_the_rule_says() {
        let ours = rule()
            .with_stale_while_revalidate(secs(3))
            .with_stale_if_error(secs(4));
        let both = "max-age=1, stale-while-revalidate=5, stale-if-error=6";
        assert_eq!(windows(&ours, both), (5, 6));
        assert_eq!(windows(&ours, "max-age=1"), (3, 4));
        assert_eq!(windows(&rule(), "max-age=1"), (0, 0));
        assert_eq!(windows(&compliant(), "max-age=1"), (0, 3_600));
        assert_eq!(
            windows(
                &ours,
                "max-age=1, stale-while-revalidate=x, stale-if-error=0"
            ),
            (0, 0)
        );
        let endless = rule()
            .with_stale_while_revalidate(Duration::MAX)
            .with_stale_if_error(Duration::MAX);
        assert_eq!(windows(&endless, "max-age=1"), (1 << 31, 1 << 31));
    }

    #[test]
    fn what_forbids_stale_leaves_no_windows() {
        let ours = compliant()
            .with_stale_while_revalidate(secs(3))
            .with_stale_if_error(secs(4));
        for forbids in ["no-cache", "must-revalidate", "proxy-revalidate"] {
            let line = format!("max-age=1, {forbids}, stale-while-revalidate=5, stale-if-error=6");
            assert_eq!(windows(&ours, &line), (0, 0), "{forbids}");
            assert_eq!(
                windows(&ours, &format!("max-age=1, {forbids}")),
                (0, 0),
                "{forbids}"
            );
        }
        assert_eq!(windows(&ours, "s-maxage=1"), (0, 0));
        // What stands beside `s-maxage` is meant for those who heed it.
        assert_eq!(
            windows(
                &ours,
                "s-maxage=1, stale-while-revalidate=5, stale-if-error=6"
            ),
            (5, 0)
        );
    }

    #[test]
    fn flags_say_what_holds_at_each_use() {
        let flags = |line| {
            let lines = [("cache-control", line), ("etag", "\"a\"")];
            let flags = stored(&rule(), &lines).unwrap().flags;
            (flags.must_validate, flags.is_never_stale, flags.is_for_all)
        };
        assert_eq!(flags("max-age=1"), (false, false, false));
        assert_eq!(flags("max-age=1, no-cache"), (true, true, false));
        assert_eq!(flags("max-age=1, proxy-revalidate"), (false, true, false));
        assert_eq!(flags("max-age=1, must-revalidate"), (false, true, true));
        assert_eq!(flags("max-age=1, public"), (false, false, true));
        assert_eq!(flags("s-maxage=1"), (false, true, true));
    }

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        assert_eq!(NotStored::CookieInRequest.to_string(), "cookie_in_request");
    }

    fn lines() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let line = prop::sample::select(vec![
            FRESH,
            ("cache-control", "public"),
            ("cache-control", "s-maxage=5"),
            ("cache-control", "must-revalidate"),
            ("cache-control", "must-understand"),
            (
                "cache-control",
                "stale-while-revalidate=5, stale-if-error=7",
            ),
            ("stash-cache-control", "max-age=5"),
            ("expires", "Sun, 06 Nov 2094 08:49:37 GMT"),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("etag", "\"a\""),
            ("age", "3"),
            ("set-cookie", "a=b"),
        ]);
        prop::collection::vec(line, 0..5)
    }

    proptest! {
        #[test]
        fn no_line_that_forbids_makes_more_stored_or_fresher(
            lines in lines(),
            status in 200_u16..600,
            forbids in prop::sample::select(vec![
                "no-store", "private", "no-cache", "max-age=0", "must-revalidate=\"x\"", "\"", "proxy-revalidate",
            ]),
        ) {
            let ours = compliant().with_stale_while_revalidate(secs(9));
            let before = judged(&ours, &[], &response(status, &lines));
            let more = [lines.as_slice(), &[("cache-control", forbids)]].concat();
            let after = judged(&ours, &[], &response(status, &more));
            // What says nothing may have no freshness, and be there for validation.
            if let (Ok(before), Ok(after)) = (&before, &after) {
                prop_assert!(after.lifetime <= before.lifetime);
                prop_assert!(after.while_revalidate <= before.while_revalidate);
                prop_assert!(after.if_error <= before.if_error);
                prop_assert!(after.flags.must_validate || !before.flags.must_validate);
                prop_assert!(after.flags.is_never_stale || !before.flags.is_never_stale);
            }
            if before.is_err() && let Ok(after) = after {
                prop_assert_eq!(after.lifetime, Duration::ZERO);
            }
        }

        #[test]
        fn nothing_makes_it_panic(
            lines in prop::collection::vec((
                prop::sample::select(vec!["cache-control", "expires", "age", "date", "stash-cache-control", "content-length", "content-type", "last-modified"]),
                "[ -~]{0,30}",
            ), 0..6),
            status in 100_u16..1000,
            ttl in any::<Duration>(),
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let profile = Profile::compliance().with_kept(ttl).with_stale_if_error(ttl).with_heuristics(u32::MAX, ttl);
            for rule in [rule().with_ttl(ttl), rule().with_profile(profile).with_stale_while_revalidate(ttl)] {
                let _ = judged(&rule, &[], &response(status, &lines));
            }
        }
    }
}
