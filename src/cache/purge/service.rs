//! Purging, for operators and other programs, over HTTP.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::time::timeout;
use tower_service::Service;

use super::{BearerToken, Purge, PurgeError, PurgeErrorKind, order::Order};
use crate::{
    observe::LayerName,
    respond::{GrpcCode, ProblemDetails, Rejection},
};

/// A service that purges what it is told to, by whoever shows its token.
///
/// It wants `POST`, `Authorization: Bearer <token>` and a JSON object: `{"tags": ["product:7"]}`,
/// `{"urls": ["https://shop.example/"]}`, `{"all": true}`, any of them together, and `"soft": true`
/// beside them for purges that leave responses stale. It answers 200 when all of it is done, and
/// repeats what that was. Else nothing or only a part was done, and the answer is a problem
/// (RFC 9457): 400 for a body that it does not understand, 401 without the token, 405, 408, 413 for
/// more than 64 KiB, 415, 422 for a URL that is not absolute or that the policy has no rule for, 503
/// where the backend does not answer. Then purge again: twice does no harm.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn main() -> Result<(), tower_stash::ConfigError> {
/// use axum::Router;
/// use tower_stash::{
///     backend::MemoryBackend,
///     cache::{BearerToken, CacheLayer, CacheRule, PurgeService},
/// };
///
/// let cache = CacheLayer::new(MemoryBackend::new(), CacheRule::new("site")?)?;
/// let token = BearerToken::new("dO5qyrS1vh1Ow2WQ7hJoLw2R4zC6g6Z0y6lT0pJq1yU=")?;
/// let admin: Router = Router::new()
///     .route_service("/purge", PurgeService::new(cache.purge(), token));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "axum"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct PurgeService {
    purge: Purge,
    token: BearerToken,
}

/// Why a request was not done.
enum Problem {
    Unauthorized {
        has_shown_any: bool,
    },
    Method,
    MediaType,
    TooLarge,
    Late,
    Broken,
    Malformed(String),
    /// The URL of this number, which begins with one.
    Url(usize, PurgeErrorKind),
    Unavailable,
}

impl PurgeService {
    /// The service that purges with this handle, for those who show this token.
    #[must_use]
    pub fn new(purge: Purge, token: BearerToken) -> Self {
        Self { purge, token }
    }

    /// Whether a request may be read at all.
    fn admit(&self, request: &Parts) -> Result<(), Problem> {
        let headers = &request.headers;
        if !self.token.is_in(headers) {
            let has_shown_any = headers.contains_key(http::header::AUTHORIZATION);
            return Err(Problem::Unauthorized { has_shown_any });
        }
        if request.method != Method::POST {
            return Err(Problem::Method);
        }
        if !is_json(headers) {
            return Err(Problem::MediaType);
        }
        let length = headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(Problem::TooLarge);
        }
        Ok(())
    }

    async fn purge(&self, order: &Order) -> Result<(), Problem> {
        let purge = if order.soft {
            self.purge.soft()
        } else {
            self.purge.clone()
        };
        // Before anything is done, so that a mistake is no half purge.
        for (index, url) in order.urls.iter().enumerate() {
            if let Err(error) = purge.url_key(url) {
                return Err(Problem::Url(index + 1, error.kind()));
            }
        }
        if order.all {
            purge.all().await?;
        }
        purge.tags(&order.tags).await?;
        for url in &order.urls {
            purge.url(url).await?;
        }
        Ok(())
    }
}

impl<B> Service<Request<B>> for PurgeService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        if let Err(problem) = self.admit(&parts) {
            return Box::pin(ready(Ok(problem.answer(&parts))));
        }
        let service = self.clone();
        Box::pin(async move {
            let answer = match read(body).await {
                Ok(order) => service.purge(&order).await.map(|()| done(&order)),
                Err(problem) => Err(problem),
            };
            Ok(answer.unwrap_or_else(|problem| problem.answer(&parts)))
        })
    }
}

/// Whether the body is JSON, as far as its sender says.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let media_type = media_type.as_bytes().split(|byte| *byte == b';').next();
    media_type.is_some_and(|media_type| {
        media_type
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}

async fn read<B>(body: B) -> Result<Order, Problem>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let read = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect());
    let body = read.await.map_err(|_| Problem::Late)?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Problem::TooLarge
        } else {
            Problem::Broken
        }
    })?;
    Order::read(&body.to_bytes()).map_err(Problem::Malformed)
}

fn done(order: &Order) -> Response<Full<Bytes>> {
    let body = order.to_json().to_string();
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<PurgeError> for Problem {
    fn from(_: PurgeError) -> Self {
        Self::Unavailable
    }
}

impl Problem {
    fn answer(self, request: &Parts) -> Response<Full<Bytes>> {
        let header = match &self {
            Self::Unauthorized { has_shown_any } => Some((
                WWW_AUTHENTICATE,
                // RFC 6750 §3.1.
                HeaderValue::from_static(if *has_shown_any {
                    "Bearer realm=\"purge\", error=\"invalid_token\""
                } else {
                    "Bearer realm=\"purge\""
                }),
            )),
            Self::Method => Some((ALLOW, HeaderValue::from_static("POST"))),
            _ => None,
        };
        let mut response = self.rejection().answer(&ProblemDetails, request);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn rejection(self) -> Rejection {
        let (status, code, title) = self.row();
        let rejection = Rejection::new(LayerName::Cache.as_str(), &RULE, status, code, title);
        match self {
            Self::TooLarge => rejection.with_member("detail", "it may have 65536 bytes"),
            Self::Malformed(detail) => rejection.with_member("detail", detail),
            Self::Url(number, kind) => {
                let reason = match kind {
                    PurgeErrorKind::NoRule => "the policy has no rule for it",
                    _ => "write http:// or https:// and a host",
                };
                let detail = format!("\"urls\", number {number}: {reason}; nothing was purged");
                rejection.with_member("detail", detail)
            }
            Self::Unavailable => rejection.with_retry_after(Duration::from_secs(1)),
            _ => rejection,
        }
    }

    fn row(&self) -> (StatusCode, GrpcCode, &'static str) {
        match self {
            Self::Unauthorized { .. } => (
                StatusCode::UNAUTHORIZED,
                GrpcCode::UNAUTHENTICATED,
                "Purging needs a token",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                GrpcCode::UNIMPLEMENTED,
                "Purging needs the method POST",
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                GrpcCode::INVALID_ARGUMENT,
                "What is to be purged is said in application/json",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                GrpcCode::RESOURCE_EXHAUSTED,
                "The body is too large",
            ),
            Self::Late => (
                StatusCode::REQUEST_TIMEOUT,
                GrpcCode::DEADLINE_EXCEEDED,
                "The body did not arrive in time",
            ),
            Self::Broken => (
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "The body did not arrive as a whole",
            ),
            Self::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                GrpcCode::INVALID_ARGUMENT,
                "The body does not say what is to be purged",
            ),
            Self::Url(..) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                GrpcCode::INVALID_ARGUMENT,
                "A URL cannot be purged",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                GrpcCode::UNAVAILABLE,
                "It is not known whether it was purged",
            ),
        }
    }
}

impl fmt::Debug for PurgeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeService").finish_non_exhaustive()
    }
}

/// In the place of a rule's name.
static RULE: LazyLock<Arc<str>> = LazyLock::new(|| "purge".into());

const MAX_BODY: usize = 64 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);
