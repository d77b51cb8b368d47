//! Unary gRPC calls: one message is asked, one is answered (gRPC over HTTP/2).
//!
//! gRPC has no method that is safe, and no word for what may be cached. So a call is looked up only
//! under a rule that [says so](super::CacheRule::with_grpc), and what is asked is in its message: that
//! is part of its key, with how it and its answer may be encoded.

mod frame;
mod intake;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Request, Response, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use http_body::Body;
use tower_service::Service;

pub(super) use self::frame::is_answer;
use self::intake::{Intake, Unread};
use super::{
    Bypass, CacheRule,
    answer::{Note, forwarded},
    ask::Ask,
    body::ResponseBody,
    case::Case,
    future::Handover,
    outcome::CacheOutcome,
    semantics::{NotStored, status::Forward, vary::selecting_value},
    shared::Shared,
    url::UrlKey,
    visit::Visit,
};
use crate::{
    body::RequestBody,
    grpc::{self, GrpcCode},
    key::KeyParts,
};

/// A call whose message was not read yet.
pub(super) struct Unary<S, Q> {
    pub(super) inner: S,
    pub(super) rule: CacheRule,
    /// What stands for the URL.
    pub(super) url: UrlKey,
    pub(super) parts: Parts,
    pub(super) body: Q,
    pub(super) shared: Arc<Shared>,
    pub(super) handover: Arc<Handover>,
}

/// Whether a request is a gRPC call in the form of HTTP/2. That of gRPC-Web has another content type,
/// and no trailers.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&[][..], |it| it.as_bytes());
    grpc::is_grpc(headers) && content_type.get(WEB_AT) != Some(&b'-')
}

/// What a call's response says of itself before its message is there.
pub(super) fn judge_head(status: StatusCode, headers: &HeaderMap) -> Result<(), NotStored> {
    if status != StatusCode::OK || !is_call(headers) {
        return Err(NotStored::Status);
    }
    match grpc::status(headers) {
        None | Some(GrpcCode::OK) => Ok(()),
        Some(_) => Err(NotStored::GrpcStatus),
    }
}

/// Whether a call failed in a way that a stored answer may stand in for: what 500, 502, 503 and 504
/// are in HTTP.
pub(super) fn is_failure(headers: &HeaderMap) -> bool {
    grpc::status(headers).is_some_and(|code| FAILURES.contains(&code))
}

/// Whether a handler needs this header to understand a call.
pub(super) fn is_of_protocol(name: &HeaderName) -> bool {
    KEYED.contains(name) || name.as_str() == "te"
}

impl<S, Q> Unary<S, Q> {
    pub(super) async fn answer<B>(self) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Body<Data = Bytes> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let Self {
            mut inner,
            rule,
            url,
            parts,
            body,
            shared,
            handover,
        } = self;
        let message = match Intake::new(body).message().await {
            Ok(message) => message,
            Err(Unread { reason, body }) => {
                let response = inner.call(Request::from_parts(parts, body)).await?;
                return Ok(passed(response, rule, reason, &shared));
            }
        };
        let digester = &shared.core.digester;
        let url = url.with_message(&form(&parts.headers), &message, digester);
        let ask = Ask::new(rule, url, parts, digester).with_message(message);
        let visit = Visit {
            inner,
            is_ready: true,
            case: Case {
                shared,
                ask: Arc::new(ask),
                has_client: true,
            },
            handover,
        };
        visit.answer().await
    }
}

fn passed<B>(
    response: Response<B>,
    rule: CacheRule,
    reason: Bypass,
    shared: &Shared,
) -> Response<ResponseBody<B>> {
    let outcome = CacheOutcome::passed(reason);
    let note = Note {
        rule,
        name: shared.settings.name.clone(),
        status: forwarded(Forward::Bypass, outcome),
        outcome,
        is_counted: true,
    };
    let mut response = response.map(ResponseBody::passed);
    note.write_on(&mut response);
    response
}

/// How a call's message and the answer to it may be encoded.
fn form(headers: &HeaderMap) -> KeyParts {
    KEYED.iter().fold(KeyParts::new(), |parts, name| {
        parts.with(selecting_value(headers, name).as_deref())
    })
}

/// Where `-web` stands in a content type.
const WEB_AT: usize = "application/grpc".len();

static KEYED: [HeaderName; 3] = [
    CONTENT_TYPE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

const FAILURES: [GrpcCode; 4] = [
    GrpcCode::UNKNOWN,
    GrpcCode::DEADLINE_EXCEEDED,
    GrpcCode::INTERNAL,
    GrpcCode::UNAVAILABLE,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_call_is_grpc_and_not_for_the_web() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; a",
        ] {
            assert!(is_call(&headers(&[("content-type", content_type)])));
        }
        for content_type in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "a/b",
            "",
        ] {
            assert!(!is_call(&headers(&[("content-type", content_type)])));
        }
        assert!(!is_call(&HeaderMap::new()));
    }

    #[test]
    fn a_head_is_stored_unless_it_says_that_the_call_failed() {
        let ok = headers(&[("content-type", "application/grpc")]);
        assert_eq!(judge_head(StatusCode::OK, &ok), Ok(()));
        assert_eq!(
            judge_head(StatusCode::NOT_FOUND, &ok),
            Err(NotStored::Status)
        );
        assert_eq!(
            judge_head(StatusCode::OK, &headers(&[("content-type", "text/html")])),
            Err(NotStored::Status)
        );
        for (status, judged) in [
            ("0", Ok(())),
            ("5", Err(NotStored::GrpcStatus)),
            ("x", Err(NotStored::GrpcStatus)),
        ] {
            let trailers_only = [
                ("content-type", "application/grpc"),
                ("grpc-status", status),
            ];
            assert_eq!(judge_head(StatusCode::OK, &headers(&trailers_only)), judged);
        }
    }

    #[test]
    fn how_an_answer_may_be_encoded_is_part_of_what_is_asked() {
        let digest = |lines: &[(&'static str, &'static str)]| {
            crate::key::Digester::default().digest(&form(&headers(lines)))
        };
        let plain = digest(&[("content-type", "application/grpc")]);
        assert_eq!(
            plain,
            digest(&[("content-type", "application/grpc"), ("grpc-timeout", "1S")])
        );
        assert_ne!(plain, digest(&[("content-type", "application/grpc+json")]));
        assert_ne!(
            plain,
            digest(&[
                ("content-type", "application/grpc"),
                ("grpc-accept-encoding", "gzip")
            ])
        );
    }
}
