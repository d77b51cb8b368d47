//! How a layer answers a request that it does not let through.
//!
//! The layer says *what* is wrong in a [`Rejection`]; a [`Respond`] says it to the client.
//! [`ProblemDetails`], the default, writes `application/problem+json` (RFC 9457), and a gRPC status
//! where the request is a gRPC call. [`PlainText`] and [`GrpcStatus`] always write one thing. A
//! closure writes whatever you like:
//!
//! ```
//! use axum::{body::Body, http::{Response, request::Parts}};
//! use tower_stash::respond::Rejection;
//!
//! fn apologise(rejection: &Rejection, request: &Parts) -> Response<Body> {
//!     let page = format!("<h1>Sorry</h1><p>{}: {}</p>", request.method, rejection.title());
//!     let mut response = Response::new(Body::from(page));
//!     *response.status_mut() = rejection.status();
//!     response
//! }
//! ```
//!
//! Whatever it writes, the layer then adds what clients and caches must see (`Retry-After`,
//! `Cache-Control: no-store`, `RateLimit`) and puts the [`Rejection`] into the response's
//! extensions, where layers outside and tests find it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LINK, RETRY_AFTER},
    request::Parts,
};
use serde_json::{Map, Value, to_writer};

use crate::grpc;
pub use crate::grpc::GrpcCode;

/// What is wrong with a request that a layer does not let through.
///
/// Nothing in it was written by a client.
#[derive(Clone, Debug)]
pub struct Rejection {
    layer: &'static str,
    rule: Arc<str>,
    status: StatusCode,
    grpc_code: GrpcCode,
    problem_type: Cow<'static, str>,
    title: Cow<'static, str>,
    wait: Wait,
    violated_policies: Vec<Arc<str>>,
    members: Map<String, Value>,
    is_described: bool,
}

/// What a rejection says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Nothing.
    Untold,
    /// The same request can succeed after this long.
    After(Duration),
    /// The same request can never succeed.
    Forever,
}

impl Rejection {
    /// A rejection by the rule of a layer, with this status and `about:blank` as its problem type.
    pub(crate) fn new(
        layer: &'static str,
        rule: &Arc<str>,
        status: StatusCode,
        grpc_code: GrpcCode,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            layer,
            rule: Arc::clone(rule),
            status,
            grpc_code,
            problem_type: Cow::Borrowed("about:blank"),
            title: title.into(),
            wait: Wait::Untold,
            violated_policies: Vec::new(),
            members: Map::new(),
            is_described: false,
        }
    }

    /// These limits do not admit the request: `quota-exceeded` of
    /// draft-ietf-httpapi-ratelimit-headers-11 §5.1.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn quota_exceeded(
        layer: &'static str,
        rule: &Arc<str>,
        limits: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        Self::new(
            layer,
            rule,
            StatusCode::TOO_MANY_REQUESTS,
            GrpcCode::RESOURCE_EXHAUSTED,
            "Request cannot be satisfied as assigned quota has been exceeded",
        )
        .with_type("https://iana.org/assignments/http-problem-types#quota-exceeded")
        .with_violated_policies(limits)
    }

    /// The backend does not answer, and the rule denies while it does not:
    /// `temporary-reduced-capacity` of draft-ietf-httpapi-ratelimit-headers-11 §5.2.
    #[cfg(any(feature = "rate-limit", feature = "session"))]
    pub(crate) fn outage(layer: &'static str, rule: &Arc<str>) -> Self {
        Self::new(
            layer,
            rule,
            StatusCode::SERVICE_UNAVAILABLE,
            GrpcCode::UNAVAILABLE,
            "Request cannot be satisfied due to temporary server capacity constraints",
        )
        .with_type("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
        .with_retry_after(Duration::from_secs(1))
    }

    /// The request does not say whose limits it counts in, and the rule insists.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn missing_key(layer: &'static str, rule: &Arc<str>) -> Self {
        Self::new(
            layer,
            rule,
            StatusCode::BAD_REQUEST,
            GrpcCode::INVALID_ARGUMENT,
            "Bad Request",
        )
        .with_member(
            "detail",
            "the request does not say whose limit it counts in",
        )
    }

    /// The same problem, of this type (a URI).
    #[cfg(any(
        test,
        feature = "idempotency",
        feature = "rate-limit",
        feature = "session"
    ))]
    pub(crate) fn with_type(mut self, problem_type: impl Into<Cow<'static, str>>) -> Self {
        self.problem_type = problem_type.into();
        self
    }

    /// The same problem, whose type is the address of a page about it; the response links to it
    /// (RFC 8288, `describedby`).
    #[cfg(feature = "idempotency")]
    pub(crate) fn with_described_type(self, address: String) -> Self {
        Self {
            is_described: true,
            ..self.with_type(address)
        }
    }

    /// The same problem, gone after this long.
    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.wait = Wait::After(wait);
        self
    }

    /// The same problem, which never goes away.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn permanent(mut self) -> Self {
        self.wait = Wait::Forever;
        self.with_member("permanent", true)
    }

    /// The same problem, because of these limits.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn with_violated_policies(
        mut self,
        names: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        self.violated_policies = names.into_iter().collect();
        self
    }

    /// The same problem with one more member in its description.
    pub(crate) fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Which layer rejects: `"rate_limit"`, for example.
    #[must_use]
    pub fn layer(&self) -> &'static str {
        self.layer
    }

    /// The name of the rule that rejects.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The HTTP status that says it best.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The gRPC status that says it best.
    #[must_use]
    pub fn grpc_code(&self) -> GrpcCode {
        self.grpc_code
    }

    /// The problem type, a URI that identifies this kind of problem (RFC 9457 §3.1.1).
    #[must_use]
    pub fn problem_type(&self) -> &str {
        &self.problem_type
    }

    /// A short text for people, the same for every problem of the type (RFC 9457 §3.1.3).
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How long until the same request can succeed, as far as is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.wait {
            Wait::After(wait) => Some(wait),
            Wait::Untold | Wait::Forever => None,
        }
    }

    /// Whether the same request can never succeed.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.wait == Wait::Forever
    }

    /// The limits that deny it, by the names under which `RateLimit-Policy` has them; none if it is
    /// not a matter of limits.
    pub fn violated_policies(&self) -> impl Iterator<Item = &str> {
        self.violated_policies.iter().map(|name| &**name)
    }

    /// The problem as a JSON object (RFC 9457 §3): `type`, `title`, `status`, and
    /// the members of its type.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut problem = Map::with_capacity(4 + self.members.len());
        problem.insert("type".into(), self.problem_type().into());
        problem.insert("title".into(), self.title().into());
        problem.insert("status".into(), self.status.as_u16().into());
        if !self.violated_policies.is_empty() {
            let names: Vec<&str> = self.violated_policies().collect();
            problem.insert("violated-policies".into(), names.into());
        }
        problem.extend(self.members.clone());
        problem.into()
    }

    /// [`to_json`](Self::to_json) as text, written into one buffer without the object in between: a
    /// client that keeps being denied must not be expensive.
    fn to_json_text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(PROBLEM_LENGTH);
        text.extend_from_slice(b"{\"type\":");
        to_writer(&mut text, self.problem_type())?;
        text.extend_from_slice(b",\"title\":");
        to_writer(&mut text, self.title())?;
        text.extend_from_slice(b",\"status\":");
        to_writer(&mut text, &self.status.as_u16())?;
        if !self.violated_policies.is_empty() {
            text.extend_from_slice(b",\"violated-policies\":[");
            for (index, name) in self.violated_policies().enumerate() {
                text.extend_from_slice(if index == 0 { b"" } else { b"," });
                to_writer(&mut text, name)?;
            }
            text.push(b']');
        }
        for (name, value) in &self.members {
            text.push(b',');
            to_writer(&mut text, name)?;
            text.push(b':');
            to_writer(&mut text, value)?;
        }
        text.push(b'}');
        Ok(text)
    }

    /// The answer to a request: what `respond` writes, with what clients and caches must see.
    pub(crate) fn answer<B>(self, respond: &impl Respond<B>, request: &Parts) -> Response<B> {
        let mut response = respond.respond(&self, request);
        let headers = response.headers_mut();
        // RFC 6585 §4: a 429 is not stored; neither is any other answer of ours.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // RFC 9110 §10.2.3: whole seconds.
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
        }
        if self.wait != Wait::Untold && grpc::is_grpc(headers) {
            grpc::push_back(headers, self.retry_after());
        }
        if self.is_described
            && let Ok(link) =
                HeaderValue::try_from(format!("<{}>; rel=\"describedby\"", self.problem_type()))
        {
            headers.append(LINK, link);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Seconds, rounded up, so that a client that waits so long has waited long enough.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(begun)
}

/// Writes the response to a rejected request.
///
/// `B` is the body type of the service that the layer wraps. A closure needs its types written out:
/// `|rejection: &Rejection, request: &Parts| …`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer with the body `{B}`",
    note = "a tonic server needs `.with_respond(GrpcStatus)`; elsewhere write a closure `|rejection: &Rejection, request: &Parts| -> Response<{B}>`"
)]
pub trait Respond<B>: Send + Sync + 'static {
    /// The response that tells the sender of this request what is wrong with it.
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B>;
}

impl<B, F> Respond<B> for F
where
    F: Fn(&Rejection, &Parts) -> Response<B> + Send + Sync + 'static,
{
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self(rejection, request)
    }
}

/// Answers with `application/problem+json` (RFC 9457), and gRPC calls with a gRPC status.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemDetails;

impl ProblemDetails {
    /// Answers gRPC calls that are denied under this code, as
    /// [`GrpcStatus::with_denial_code`] does.
    #[must_use]
    pub const fn with_denial_code(self, code: GrpcCode) -> DenialCode<Self> {
        DenialCode {
            respond: self,
            code,
        }
    }
}

impl<B: From<Bytes> + Default> Respond<B> for ProblemDetails {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        if grpc::is_grpc(&request.headers) {
            return GrpcStatus.respond(rejection, request);
        }
        // Nothing that is written can fail to be JSON, and a buffer takes all of it.
        let problem = rejection.to_json_text().unwrap_or_default();
        with_body(rejection, request, "application/problem+json", problem)
    }
}

/// Answers with the rejection's title as `text/plain`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainText;

impl<B: From<Bytes> + Default> Respond<B> for PlainText {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        with_body(
            rejection,
            request,
            "text/plain; charset=utf-8",
            format!("{}\n", rejection.title()),
        )
    }
}

/// Answers with a gRPC status, whatever the request is; for services whose body
/// cannot be made from bytes.
///
/// The status says more than its code: when to call again (`grpc-retry-pushback-ms`, for clients
/// that retry by themselves, and `google.rpc.RetryInfo`), and which limits denied the call
/// (`google.rpc.QuotaFailure`).
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl GrpcStatus {
    /// Answers denied calls under this code; by default [`GrpcCode::RESOURCE_EXHAUSTED`].
    ///
    /// Many clients retry [`GrpcCode::UNAVAILABLE`] by themselves and nothing else. With that code
    /// they wait as long as `grpc-retry-pushback-ms` says, and come back:
    ///
    /// ```
    /// use tower_stash::respond::{GrpcCode, GrpcStatus};
    ///
    /// let respond = GrpcStatus.with_denial_code(GrpcCode::UNAVAILABLE);
    /// ```
    ///
    /// A call that never fits its limit keeps its own code: nobody should retry it.
    #[must_use]
    pub const fn with_denial_code(self, code: GrpcCode) -> DenialCode<Self> {
        DenialCode {
            respond: self,
            code,
        }
    }
}

impl<B: Default> Respond<B> for GrpcStatus {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        grpc::trailers_only(&request.headers, rejection.grpc_code(), rejection)
    }
}

/// Answers gRPC calls that are denied under another code; see [`GrpcStatus::with_denial_code`].
#[derive(Clone, Copy, Debug)]
pub struct DenialCode<R> {
    respond: R,
    code: GrpcCode,
}

impl<R> DenialCode<R> {
    fn code(&self, rejection: &Rejection) -> GrpcCode {
        let code = rejection.grpc_code();
        if code == GrpcCode::RESOURCE_EXHAUSTED && !rejection.is_permanent() {
            return self.code;
        }
        code
    }
}

impl<B: Default> Respond<B> for DenialCode<GrpcStatus> {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        grpc::trailers_only(&request.headers, self.code(rejection), rejection)
    }
}

impl<B: From<Bytes> + Default> Respond<B> for DenialCode<ProblemDetails> {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        if grpc::is_grpc(&request.headers) {
            return grpc::trailers_only(&request.headers, self.code(rejection), rejection);
        }
        self.respond.respond(rejection, request)
    }
}

/// A response with this text; to HEAD with none (RFC 9110 §9.3.2), but with its length: a server that
/// sees an empty body may say 0, which the answer to GET is not (RFC 9110 §8.6).
fn with_body<B: From<Bytes> + Default>(
    rejection: &Rejection,
    request: &Parts,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<B> {
    let text = text.into();
    let length = HeaderValue::from(text.len());
    let is_head = request.method == Method::HEAD;
    let mut response = Response::new(if is_head { B::default() } else { B::from(text) });
    *response.status_mut() = rejection.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if is_head {
        headers.insert(CONTENT_LENGTH, length);
    }
    response
}

/// Room for a problem with a few limits, so that the text of most is written without growing.
const PROBLEM_LENGTH: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection() -> Rejection {
        Rejection::new(
            "rate_limit",
            &"rule".into(),
            StatusCode::TOO_MANY_REQUESTS,
            GrpcCode::RESOURCE_EXHAUSTED,
            "A \"quoted\" title",
        )
        .with_type("https://example.com/problem#a")
    }

    #[test]
    fn the_text_of_a_problem_is_the_problem() {
        let bare = rejection();
        let full = rejection()
            .permanent()
            .with_member("detail", "why")
            .with_violated_policies(["rule.a".into(), "rule.b".into()]);
        for rejection in [bare, full] {
            let text = rejection.to_json_text().unwrap();
            let problem: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(problem, rejection.to_json());
        }
    }
}
